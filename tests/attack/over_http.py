"""HTTP, as another user of the machine, a web page, or a program without end would call it."""

from __future__ import annotations

import hashlib
import json
import resource
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
from tests.attack.target import clean_environment, memory_mib, wait_until
from tests.fakes.issuer import AUDIENCE, FakeIssuer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.attack.target import Attack, Target

_ACCEPT = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
_FEW_FILES = 256
_GOOD_SECONDS = 10.0
_MIB = 1 << 20


def call(method: str = "initialize", **params: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Return a JSON-RPC request."""
    first = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or first}


@dataclass(frozen=True, slots=True)
class Site:
    """A server over HTTP.

    Attributes:
        said: the file that its stderr goes to.
    """

    process: subprocess.Popen[bytes]
    port: int
    key: str
    said: Any

    @property
    def url(self) -> str:
        """Where it is, without the key."""
        return f"http://127.0.0.1:{self.port}/mcp"

    @property
    def bearer(self) -> dict[str, str]:
        """The header that its owner sends."""
        return _ACCEPT | {"Authorization": f"Bearer {self.key}"}

    def post(self, message: Any = None, *, headers: dict[str, str] | None = None, at: str = "") -> int:  # noqa: ANN401
        """Post a message; returns the status, 0 where there was none."""
        content = message if isinstance(message, bytes) else json.dumps(message or call()).encode()
        with suppress(httpx.HTTPError), httpx.Client(timeout=_GOOD_SECONDS, trust_env=False) as client:
            return client.post(self.url + at, content=content, headers=headers or self.bearer).status_code
        return 0

    def serves(self) -> bool:
        """Whether its owner is served, in time."""
        return self.post() == 200

    def raw(self, content: bytes, *, seconds: float = 3.0) -> bytes:
        """Send bytes; returns the first that come back."""
        with (
            suppress(OSError),
            socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as connection,
        ):
            connection.sendall(content)
            return connection.recv(4096)
        return b""


@contextmanager
def site(target: Target, *options: str, files: int | None = None, **more: str) -> Iterator[Site]:
    """Serve over HTTP; with a bound on open files if there is one."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    said = (target.folder / "stderr").open("w+b")
    process = subprocess.Popen(
        [sys.executable, "-m", "outpaint_mcp", "serve", "--http", "--port", str(port), *options],
        env=clean_environment() | target.environment(**more),
        stdin=subprocess.DEVNULL,
        stdout=said,
        stderr=said,
    )
    if files:
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (files, files))
    try:
        wait_until(lambda: _is_serving(port) or process.poll() is not None)
        path = target.data / "http-key"
        yield Site(process, port, path.read_text().strip() if path.exists() else "x" * 43, said)
    finally:
        process.kill()
        process.wait()
        said.close()


def _is_serving(port: int) -> bool:
    """Whether HTTP is answered; the port alone is tried by the server itself first."""
    with suppress(httpx.HTTPError):
        httpx.get(f"http://127.0.0.1:{port}/", trust_env=False, timeout=1)
        return True
    return False


def attack(attack: Attack) -> None:
    """Call without the key, from a web page, and with what is no HTTP."""
    with attack.target() as target, site(target) as server:
        _strangers(attack, target, server)
        _pages(attack, server)
        _wire(attack, server)
    _callers(attack)
    _refused_starts(attack)


def _strangers(attack: Attack, target: Target, server: Site) -> None:
    with attack.book.row(
        "HTTP", "callers without the key, with a wrong one, and with one in the wrong place"
    ) as row:
        row.check((target.data / "http-key").exists(), "there is no key")
        row.check(server.serves(), "its owner is not served")
        row.check(
            server.post(headers=_ACCEPT, at=f"/{server.key}") == 200, "the key in the address does not serve"
        )
        key = server.key
        wrong = (
            "",
            "x",
            key[:-1],
            key + "x",
            key.swapcase(),
            "x" * 43,
            "None",
            "null",
            "*",
            key[:20],
            "a" * 10_000,
        )
        for each in wrong:
            for headers in (
                {"Authorization": f"Bearer {each}".strip()},
                {"Authorization": f"Basic {each}".strip()},
                {"X-Api-Key": key},
            ):
                row.check(server.post(headers=_ACCEPT | headers) in {400, 401, 403, 431}, f"{headers}"[:90])
            row.check(
                server.post(headers=_ACCEPT, at=f"/{each}x") in {400, 401, 403, 404}, f"/mcp/{each}x"[:90]
            )
            row.check(
                server.post(headers=_ACCEPT, at=f"?key={each}&token={key}") in {401, 403}, f"?key={each}"[:90]
            )
        for tool, arguments in (
            ("analyze_audio", {"audio": "song.wav"}),
            ("submit_outpaint", {"audio": "song.wav", "tags": ""}),
            ("list_outpaints", {}),
            ("list_audio", {}),
        ):
            message = call("tools/call", name=tool, arguments=arguments)
            row.check(server.post(message, headers=_ACCEPT) in {401, 403}, f"{tool} without the key")
        mode = (target.data / "http-key").stat().st_mode & 0o777
        row.check(mode == 0o600, f"the key's file has mode {mode:o}")
        row.check(target.data.stat().st_mode & 0o777 == 0o700, "others can enter the data folder")
        server.said.seek(0)
        row.check(server.said.read().count(server.key.encode()) <= 1, "the key is in the log more than once")


def _pages(attack: Attack, server: Site) -> None:
    with attack.book.row(
        "HTTP", "a web page: foreign Host and Origin, simple requests, preflights, with the key too"
    ) as row:
        hosts = (
            "evil.example",
            f"evil.example:{server.port}",
            "127.0.0.1.evil.example",
            "0.0.0.0",
            "[::]",
            "10.0.0.1",
            "",
            "a" * 5_000,
        )
        for host in hosts:
            row.check(
                server.post(headers=server.bearer | {"Host": host}) in {400, 403, 421, 431},
                f"Host {host[:50]!r}",
            )
        origins = (
            "https://evil.example",
            "null",
            "file://",
            f"http://evil.example:{server.port}",
            "http://127.0.0.1.evil.example",
            "x",
        )
        for origin in origins:
            row.check(
                server.post(headers=server.bearer | {"Origin": origin}) in {400, 403}, f"Origin {origin}"
            )
        for media in (
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "",
        ):
            status = server.post(
                headers=server.bearer | {"Content-Type": media, "Origin": "https://evil.example"}
            )
            row.check(status in {400, 403, 415}, f"Content-Type {media!r}: {status}")
        with httpx.Client(timeout=_GOOD_SECONDS, trust_env=False) as client:
            for origin in origins:
                preflight = {"Origin": origin, "Access-Control-Request-Method": "POST"}
                answer = client.options(server.url, headers=preflight)
                row.check("access-control-allow-origin" not in answer.headers, f"preflight from {origin}")
            for method in ("GET", "PUT", "DELETE", "PATCH", "HEAD", "TRACE"):
                row.check(client.request(method, server.url).status_code >= 400, method)


def _wire(attack: Attack, server: Site) -> None:
    body = json.dumps(call()).encode()
    host = f"Host: 127.0.0.1:{server.port}\r\n".encode()
    auth = f"Authorization: Bearer {server.key}\r\n".encode()
    usual = b"Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n" + auth
    length = f"Content-Length: {len(body)}\r\n".encode()
    heads = (
        host + host.replace(b"127.0.0.1", b"evil.example") + usual + length,
        host + usual + length + b"Transfer-Encoding: chunked\r\n",
        host + usual + b"Content-Length: 1\r\n" + length,
        host + usual + b"Content-Length: -1\r\n",
        host + usual + b"Content-Length: 1e9\r\n",
        host + usual + b"Transfer-Encoding: chunked, identity\r\n",
        host + usual + b"Transfer-Encoding : chunked\r\n" + length,
        usual + length,
        host + usual + b" folded: x\r\n" + length,
        host + usual + b"x\x00y: z\r\n" + length,
        host + usual + b"x" * 200_000 + b": y\r\n" + length,
        host + usual + b"x: y\r\n" * 2_000_000 + length,
    )
    lines = (
        b"POST /mcp HTTP/1.1",
        b"POST  /mcp HTTP/1.1",
        b"\x16\x03\x01\x02\x00",
        b"POST /mcp",
        b"\r\n" * 5_000,
    )
    with attack.book.row(
        "HTTP", "smuggling, two Hosts, lengths that contradict each other, heads without end"
    ) as row:
        for head in heads:
            answer = server.raw(lines[0] + b"\r\n" + head + b"\r\n" + body)
            row.check(not answer.startswith(b"HTTP/1.1 200"), f"{head[-90:]!r}: {answer[:60]!r}")
        for line in lines[1:]:
            answer = server.raw(line + b"\r\n" + host + usual + length + b"\r\n" + body)
            row.check(not answer.startswith(b"HTTP/1.1 200"), f"{line[:50]!r}: {answer[:60]!r}")
        for raw in (
            b"",
            b"{",
            b"[]",
            b"null",
            b"\xff\xfe",
            b"[" * 100_000,
            b'{"jsonrpc":"2.0","id":1,"method":"\\ud83d"}',
        ):
            row.check(server.post(raw) in {400, 413, 422}, f"body {raw[:40]!r}: {server.post(raw)}")
        row.check(server.serves(), "its owner is not served afterwards")


def _callers(attack: Attack) -> None:
    """Call a team's server with keys and tokens that are no good, and reach for what is another's."""
    alice, bob, late = (f"outpaint_{name * 43}" for name in "abc")
    entries = [
        f"{name}={hashlib.sha256(key.encode()).hexdigest()}" for name, key in (("alice", alice), ("bob", bob))
    ]
    entries.append(f"late={hashlib.sha256(late.encode()).hexdigest()};expires=2020-01-01")
    options = ("--allow-host", "127.0.0.1", "--allow-origin", "https://outpaint.example.org")
    with (
        attack.book.row(
            "HTTP", "a team's callers: keys and tokens that are no good, and another's session"
        ) as row,
        FakeIssuer() as issuer,
        attack.target() as target,
        site(
            target,
            *options,
            OUTPAINT_API_KEYS=",".join(entries),
            OUTPAINT_OAUTH_ISSUER=issuer.url,
            OUTPAINT_PUBLIC_URL=AUDIENCE.removesuffix("/mcp"),
        ) as server,
    ):

        def status(given: str, message: object = None, **headers: str) -> int:
            return server.post(message, headers=_ACCEPT | {"Authorization": given} | headers)

        for good in (alice, bob, issuer.token(), issuer.token("ES256")):
            row.check(status(f"Bearer {good}") == 200, "a caller is not served")
        hour_ago = int(time.time()) - 3600
        bad = [
            *(
                late,
                alice[:-1],
                alice + "x",
                alice.upper(),
                entries[0],
                entries[0].split("=")[1],
                "alice",
                "",
                "x",
            ),
            *(issuer.unsigned(), issuer.signed_with_the_public_key(), issuer.signed_by_somebody_else()),
            *(issuer.token(aud="https://evil.example/mcp"), issuer.token(aud=None), issuer.token(aud=[])),
            *(issuer.token(iss="https://evil.example"), issuer.token(exp=hour_ago), issuer.token(exp=None)),
            *(issuer.token(nbf=hour_ago + 7200), issuer.token(sub=None), issuer.token(key_id="made-up")),
            *(
                issuer.token("RS384"),
                issuer.token("PS256"),
                issuer.token()[:-4],
                "a.b.c",
                "e30.e30.",
                ".." * 4000,
            ),
        ]
        for given in bad:
            for scheme in ("Bearer", "bearer", "Basic", "Token"):
                row.check(
                    status(f"{scheme} {given}".strip()) in {400, 401, 403, 431}, f"{scheme} {given}"[:90]
                )
        for host, origin in (
            ("evil.example", ""),
            ("localhost", ""),
            ("", "null"),
            ("", "https://evil.example"),
        ):
            headers = {name: value for name, value in (("Host", host), ("Origin", origin)) if value}
            row.check(status(f"Bearer {alice}", **headers) in {403, 421}, f"with {headers}")
        with httpx.Client(headers=_ACCEPT, timeout=_GOOD_SECONDS, trust_env=False) as client:
            opened = client.post(server.url, json=call(), headers={"Authorization": f"Bearer {alice}"})
            for session in (opened.headers["mcp-session-id"], "0" * 32):
                for given in (bob, issuer.token()):
                    for method in ("POST", "GET", "DELETE"):
                        answer = client.request(
                            method,
                            server.url,
                            json=call("ping"),
                            headers={"Authorization": f"Bearer {given}", "Mcp-Session-Id": session},
                        )
                        row.check(
                            answer.status_code == 404, f"{method} in another's session: {answer.status_code}"
                        )
        server.said.seek(0)
        said = server.said.read().decode()
        row.check(not any(secret in said for secret in (alice, bob, late)), "a key is in the log")
        row.check(issuer.violations == [], f"the issuer was sent {issuer.violations}")


def _refused_starts(attack: Attack) -> None:
    token = {"RUNCOMFY_API_TOKEN": "rc-x", "OUTPAINT_PROVIDER": "runcomfy"}
    keys = {"OUTPAINT_API_KEYS": "alice=" + "0" * 64}
    with attack.book.row(
        "HTTP", "starts that would let strangers spend or reach in: refused with the reason"
    ) as row:
        for arguments, more in (
            (("--no-key",), token | {"OUTPAINT_MAX_COST_USD": "1"}),
            ((), token),
            (("--host", "0.0.0.0"), {}),
            (("--host", "::"), {}),
            (("--host", "127.0.0.2"), {}),
            (("--host", "example.org"), {}),
            (("--host", "10.0.0.1", "--no-key"), {}),
            (("--host", "0.0.0.0", "--allow-host", "x.example", "--allow-origin", "https://x.example"), {}),
            (("--host", "0.0.0.0", "--allow-host", "*", "--allow-origin", "*"), keys),
            (("--host", "0.0.0.0"), keys),
            (("--no-key",), keys),
            ((), {"OUTPAINT_API_KEYS": "alice=in-the-clear"}),
            ((), {"OUTPAINT_OAUTH_ISSUER": "http://issuer.example"}),
        ):
            with attack.target() as target:
                try:
                    done = target.command("serve", "--http", "--port", "1", *arguments, **more)
                except subprocess.TimeoutExpired:
                    row.check(held=False, what=f"{arguments} {sorted(more)}: it serves")
                    continue
                row.check(done.returncode and len(done.stderr) > 40, f"{arguments}: {done.stderr[-200:]}")
                row.check("Traceback" not in done.stderr + done.stdout, f"{arguments}: {done.stderr[-200:]}")


def attack_exhaustion(attack: Attack) -> None:
    """Take up connections, memory and sessions; its owner is to be served meanwhile."""
    with attack.target() as target, site(target, files=_FEW_FILES) as server, ExitStack() as held:
        with attack.book.row(
            "exhaustion", "more half headers than its 256 open files, without the key"
        ) as row:
            for _ in range(attack.count(600)):
                _open(held, server, b"POST /mcp HTTP/1.1\r\nHost: 127")
            row.check(wait_until(server.serves, seconds=40), "its owner is not served")
        _bounds(attack, target, server)
    with attack.target() as target, site(target) as server:
        with (
            attack.book.row("exhaustion", "bodies of 3.9 MB, with the key, that never end") as row,
            ExitStack() as held,
        ):
            for _ in range(attack.count(200)):
                head = f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nAuthorization: Bearer {server.key}\r\n"
                head += "Content-Type: application/json\r\nContent-Length: 4000000\r\n\r\n"
                _open(held, server, head.encode() + b" " * 3_900_000)
            row.check(wait_until(server.serves, seconds=40), "its owner is not served")
            row.at_most(memory_mib(server.process.pid), 300, "MiB", "server")
        with attack.book.row("exhaustion", "sessions that are begun and left, with the key") as row:
            began = time.monotonic()
            with httpx.Client(timeout=_GOOD_SECONDS, trust_env=False) as client:
                for _ in range(attack.count(2_000)):
                    answer = client.post(server.url, json=call(), headers=server.bearer)
                    row.check(answer.status_code == 200, f"status {answer.status_code}")
            row.check(server.serves(), f"its owner is not served after {time.monotonic() - began:.0f} s")
            row.at_most(memory_mib(server.process.pid), 350, "MiB", "server")
        with attack.book.row(
            "exhaustion", "one body of 64 MiB, and a data: URI beyond the limit: refused with words"
        ) as row:
            big = json.dumps(
                call("tools/call", name="analyze_audio", arguments={"audio": "x" * (64 * _MIB)})
            ).encode()
            row.check(server.post(big) in {413, 0}, "64 MiB were taken")
            audio = "data:audio/wav;base64," + "A" * (6 * _MIB)
            with httpx.Client(timeout=_GOOD_SECONDS, trust_env=False) as client:
                message = call("tools/call", name="analyze_audio", arguments={"audio": audio})
                answer = client.post(server.url, json=message, headers=server.bearer)
            row.check(
                answer.status_code == 413 and "error" in answer.text and "MiB" in answer.text,
                answer.text[:200],
            )
            row.check(server.serves(), "its owner is not served")


def _bounds(attack: Attack, target: Target, server: Site) -> None:
    with attack.book.row("exhaustion", "what the half headers made it write") as row:
        size = (target.folder / "stderr").stat().st_size
        row.check(size < _MIB, f"{size} bytes of stderr")
        row.at_most(memory_mib(server.process.pid), 300, "MiB", "server")


def _open(held: ExitStack, server: Site, content: bytes) -> None:
    with suppress(OSError):
        connection = held.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=1))
        connection.settimeout(0.2)
        connection.sendall(content)
