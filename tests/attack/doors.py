"""Links and paths that lead to where nothing may be read or written."""

from __future__ import annotations

import os
import socket
import threading
from base64 import b64encode
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import quote

from tests.attack.target import OUTSIDE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.attack.target import Attack, Lines, Target

_PRIVATE = (
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "0",
    "0.0.0.0",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "017700000001",
    "127.0.0.1.",
    "127.255.255.254",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.0.1",
    "169.254.169.254",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:a9fe:a9fe]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b::169.254.169.254]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[2002:a9fe:a9fe::1]",
    "[2001:0:7f00:1::]",
    "[fe80::1]",
    "[fe80::1%25lo]",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[ff02::1]",
    "[::127.0.0.1]",
    "[2001:db8::1]",
    "[100::1]",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "a.localhost",
    "printer.local",
    "metadata.google.internal",
    "intranet",
    "router.lan",
    "x.home.arpa",
    "①②⑦.⓪.⓪.①",
    "127。0。0。1",
    "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
    "127.0.0.1%00.example.org",
    "127.0.0.1%2eexample.org",
    "user@127.0.0.1",
    "example.org@127.0.0.1",
    "example.org:x@127.0.0.1",
    "127.0.0.1#@example.org",
    "127.0.0.1\\@example.org",
    "example.org\\@127.0.0.1",
    "127.0.0.1?@example.org",
    "[::1].example.org",
    "0x7f.1",
    "0300.0250.1",
    "3232235521",
    "127.0.0.1\t",
    "1.1.1.1 127.0.0.1",
)
_FORMS = ("https://{}:{port}/a.wav", "http://{}:{port}/a.wav", "https://{}/a.wav")
_SCHEMES = (
    "ftp://127.0.0.1/a.wav",
    "gopher://127.0.0.1:{port}/_x",
    "dict://127.0.0.1:{port}/x",
    "file://127.0.0.1/etc/passwd",
    "unix:///run/x.sock",
    "jar:https://127.0.0.1/a!/b",
    "//127.0.0.1:{port}/a.wav",
    "https:///127.0.0.1:{port}/a.wav",
    "https:127.0.0.1:{port}/a.wav",
    "HTTPS://127.0.0.1:{port}/",
    "https://127.0.0.1:0/a.wav",
    "https://127.0.0.1:65536/a.wav",
    "https://127.0.0.1:-1/a.wav",
    "https://127.0.0.1:{port}\r\nHost: x/a.wav",
    "https://",
)


@contextmanager
def listening() -> Iterator[tuple[int, list[str]]]:
    """Listen on loopback, both families; the list has who came."""
    came: list[str] = []
    with ExitStack() as stack:
        port = 0
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            with suppress(OSError):
                taken = stack.enter_context(socket.create_server((address, port), family=family))
                port = taken.getsockname()[1]
                threading.Thread(target=_count, args=(taken, came), daemon=True).start()
        yield port, came


def _count(taken: socket.socket, came: list[str]) -> None:
    with suppress(OSError):
        while True:
            visitor, address = taken.accept()
            came.append(str(address))
            visitor.close()


def attack_links(attack: Attack) -> None:
    """Have links to private places fetched, by both tools that fetch."""
    with attack.target() as target, listening() as (port, came):
        server = target.start()
        links = [form.format(host, port=port) for host in _PRIVATE for form in _FORMS]
        links += [each.format(port=port) for each in _SCHEMES]
        with attack.book.row(
            "links", "forms of private, mapped, translated and disguised addresses, by two tools"
        ) as row:
            for link in attack.some(links):
                for tool, more in (
                    ("analyze_audio", {}),
                    ("submit_outpaint", {"tags": "", "extend_after_duration": 1}),
                ):
                    outcome = server.outcome(tool, {"audio": link} | more)
                    row.check(outcome.is_refusal, f"{tool} {link}: {outcome.words[:200]}")
            row.check(not came, f"connections: {came[:5]}")
            row.check(server.serves(target.song), "a good recording is not analyzed any more")


def bad_paths(target: Target) -> list[str]:
    """Return paths to what may not be read, and make those that have to exist."""
    music, secret = target.music, target.secret
    (music / "link.wav").symlink_to(secret)
    (music / "dangling.wav").symlink_to(music / "nothing.wav")
    (music / "loop.wav").symlink_to(music / "loop.wav")
    (music / "folder-link").symlink_to(target.outside)
    (music / "device.wav").symlink_to("/dev/zero")
    (music / "folder.wav").mkdir()
    os.mkfifo(music / "pipe.wav")
    with socket.socket(socket.AF_UNIX) as own:
        own.bind(str(music / "socket.wav"))
    up = "../" * 30
    name = f"{target.outside.name}/secret.wav"
    return [
        str(secret),
        secret.as_uri(),
        f"file://localhost{secret}",
        f"../{name}",
        f"{music}/../{name}",
        f"./../{name}",
        f"song.wav/../../{name}",
        f"{music}/./.././{name}",
        f"{music}//..//{name}",
        up + str(secret)[1:],
        f"file://{music}/..%2f{name}",
        f"file://{music}/%2e%2e/{name}",
        f"..%2f{name}",
        quote(str(secret), safe=""),
        f"..\\{name}",
        f"..\uff0f{name}",
        f"\uff0e\uff0e/{name}",
        f"{music}/..\x00/{name}",
        f"{secret}\x00.wav",
        f"{music}/song.wav\x00/../../{name}",
        "link.wav",
        "dangling.wav",
        "loop.wav",
        "folder-link/secret.wav",
        "device.wav",
        "folder.wav",
        "pipe.wav",
        "socket.wav",
        str(music),
        "/dev/zero",
        "/dev/stdin",
        "/dev/fd/0",
        "/dev/tty",
        "/proc/self/environ",
        "/proc/self/mem",
        "/proc/self/fd/0",
        "/proc/self/root" + str(secret),
        "/proc/self/cwd/x.wav",
        "/proc/1/environ",
        "/etc/passwd",
        "/etc/shadow",
        "~/.ssh/id_rsa",
        "~root/.bashrc",
        "$HOME/x.wav",
        "`id`",
        "$(id).wav",
        "|id",
        "-",
        "--help",
        "",
        " ",
        ".",
        "..",
        "/",
        "//",
        "\\\\host\\share\\a.wav",
        "C:\\Windows\\x.wav",
        "file:///etc/passwd",
        "file://evil.example/etc/passwd",
        "file:etc/passwd",
        str(target.data / "outpaint.sqlite3"),
        f"{target.data}/../{name}",
        "a" * 40_000,
        "a/" * 10_000 + "b.wav",
        "\ufeff" + str(secret),
        "\u202e" + str(secret),
        "op_" + "0" * 20,
        f"op_../../{name}",
        "op_",
        "data:,x",
        "data:audio/wav;base64,!!!",
        "data:audio/wav;base64," + b64encode(b"RIFF").decode(),
        "data:text/html;base64,PGh0bWw+",
    ]


def attack_paths(attack: Attack) -> None:
    """Read and write by name where nobody may."""
    with attack.target() as target:
        server = target.start()
        paths = bad_paths(target)
        with attack.book.row(
            "paths", "traversal, links, devices, pipes, sockets, /proc, encodings, by two tools"
        ) as row:
            for path in attack.some(paths):
                for tool, more in (("analyze_audio", {}), ("submit_outpaint", {"tags": "", "dry_run": True})):
                    outcome = server.outcome(tool, {"audio": path} | more)
                    row.check(outcome.is_refusal, f"{tool} {path[:90]!r}: {outcome.words[:200]}")
            for folder in (str(target.outside), "..", "folder-link", "/", "/proc/self/root", "~", "/etc"):
                outcome = server.outcome("list_audio", {"folder": folder})
                row.check("secret" not in outcome.words, f"list_audio {folder}: {outcome.words[:200]}")
        _written(attack, target, server)
    _permissions(attack)


def _written(attack: Attack, target: Target, server: Lines) -> None:
    before = _everything(target.outside)
    with attack.book.row("paths", "names to save under that lead out, or to what is there") as row:
        request_id = _extended(server)
        longer = target.longer
        server.outcome("get_outpaint_result", {"request_id": request_id, "wait_seconds": 45})
        (taken,) = [path for path in longer.iterdir() if path.suffix == ".wav"]
        content = taken.read_bytes()
        (longer / "out").symlink_to(target.outside)
        (longer / "victim.wav").symlink_to(target.secret)
        names = [
            f"../{target.outside.name}/new.wav",
            str(target.outside / "new.wav"),
            "out/new.wav",
            "victim.wav",
            taken.name,
            str(taken),
            ".wav",
            "..",
            ".",
            "/",
            "a\x00.wav",
            "../new.wav",
            "..%2fnew.wav",
            "..\\new.wav",
            "~/new.wav",
            "/dev/full",
            "/proc/self/fd/1",
            "a" * 5_000 + ".wav",
            f"{target.music}/song.wav",
            f"{target.data}/outpaint.sqlite3",
            "x/../../outside/new.wav",
            "-rf.wav",
            "con.wav",
            "\u202evaw.wav",
        ]
        for name in names:
            server.outcome(
                "get_outpaint_result", {"request_id": request_id, "save_as": name, "wait_seconds": 45}
            )
            row.check(_everything(target.outside) == before, f"save_as {name[:90]!r} wrote outside")
            row.check(taken.read_bytes() == content, f"save_as {name[:90]!r} overwrote a file")
        row.check(server.serves(target.song), "a good recording is not analyzed any more")


def _permissions(attack: Attack) -> None:
    """Let the server run where the umask hides nothing."""
    with attack.target() as target:
        code = "import os; os.umask(0); from outpaint_mcp.cli.main import main; main([])"
        server = target.start(options={"arguments": ["-c", code]})
        request_id = _extended(server)
        result = server.outcome("get_outpaint_result", {"request_id": request_id, "wait_seconds": 45})
        with attack.book.row(
            "paths", "what others can enter, read or write of the data folder, with no umask"
        ) as row:
            row.check("path" in result.data, f"nothing was delivered: {result.words[:200]}")
            for path in (target.data, *target.data.rglob("*")):
                mode = path.stat().st_mode & 0o777
                row.check(not mode & 0o077, f"{path.relative_to(target.folder)} has mode {mode:o}")


def _extended(server: Lines) -> str:
    submission = server.outcome(
        "submit_outpaint", {"audio": "song.wav", "tags": "", "extend_after_duration": 1}
    )
    return str(submission.data["request_id"])


def _everything(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def is_outside(seconds: object) -> bool:
    """Whether a length is that of the recording that must not be read."""
    return isinstance(seconds, int | float) and abs(seconds - OUTSIDE_SECONDS) < 0.5
