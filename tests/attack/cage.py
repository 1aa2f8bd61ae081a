"""A worker that a recording has taken over."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from tests.attack import taken_over
from tests.attack.doors import listening
from tests.attack.target import write_song
from tests.fakes.runcomfy import TOKEN

if TYPE_CHECKING:
    from tests.attack.target import Attack, Lines, Target
    from tests.e2e.rpc import Json

_OTHER_KEY = "sk-another-programs-key"
_REPORT = re.compile(re.escape(taken_over.MARK) + r"(\[.*\])")


def attack(attack: Attack) -> None:
    """Let every recording take its worker over, and see how far that comes."""
    with attack.target() as target, listening() as (port, came):
        server = _start(target)
        (target.folder / "path/places.json").write_text(json.dumps(_places(target, server, port)))
        tools = ("analyze_audio", "submit_outpaint", "dry_run")
        for number, tool in enumerate(tools):
            write_song(target.music / f"taker-{number}.wav", 2.0, hz=300 + number)
            _call(server, tool, f"taker-{number}.wav")
        row_title = (
            "a decoder taken over, in each kind of worker: files, processes, network, programs, variables"
        )
        with attack.book.row("worker", row_title) as row:
            row.check(server.is_alive(), "the server answers no longer")
            server.kill()
            reports = [json.loads(each) for each in _REPORT.findall(server.said)]
            row.check(len(reports) >= len(tools) - 1, f"{len(reports)} reports; {server.said[-400:]}")
            for tried, reached in reports:
                row.tried += tried - len(reached)
                for each in reached:
                    row.check(held=False, what=each)
            row.check(not came, f"connections: {came[:3]}")


def _start(target: Target) -> Lines:
    home, path = target.folder / "home", target.folder / "path"
    for each in (home / ".ssh", home / ".config/runcomfy", path):
        each.mkdir(parents=True)
    (home / ".ssh/id_rsa").write_text("a private key")
    (home / ".config/runcomfy/token.json").write_text(json.dumps({"token": TOKEN}))
    (home / ".bashrc").write_text("")
    target.longer.mkdir()
    write_song(target.longer / "mine.wav", 1.0)
    write_song(target.music / "another.wav", 1.0)
    shutil.copy(Path(taken_over.__file__), path / "sitecustomize.py")
    return target.start(
        HOME=str(home),
        PYTHONPATH=str(path),
        OUTPAINT_PROVIDER="local",
        RUNCOMFY_API_TOKEN=TOKEN,
        OPENAI_API_KEY=_OTHER_KEY,
        AWS_SECRET_ACCESS_KEY=_OTHER_KEY,
    )


def _places(target: Target, server: Lines, port: int) -> Json:
    home, pid = target.folder / "home", server.process.pid
    mine = [str(each) for each in (target.secret, target.music / "another.wav", target.longer / "mine.wav")]
    private = [str(each) for each in (home / ".ssh/id_rsa", home / ".config/runcomfy/token.json")]
    journal = str(target.data / "outpaint.sqlite3")
    folders = [
        str(each) for each in (home, target.music, target.longer, target.data, target.outside, "/", "/etc")
    ]
    return {
        "secrets": [TOKEN, _OTHER_KEY],
        "read": [*mine, *private, journal, "/etc/passwd", "/proc/1/environ"],
        "write": [
            *mine,
            str(home / ".bashrc"),
            journal,
            str(target.folder / "new.txt"),
            str(home / "new.txt"),
        ],
        "list": folders,
        "link": mine,
        "rename": mine,
        "make": folders[:-2],
        "pids": [pid],
        "port": port,
    }


def _call(server: Lines, tool: str, name: str) -> None:
    asked: Json = {"audio": name}
    if tool != "analyze_audio":
        asked |= {"tags": "", "extend_after_duration": 1, "dry_run": tool == "dry_run"}
    outcome = server.outcome("analyze_audio" if tool == "analyze_audio" else "submit_outpaint", asked)
    if tool == "submit_outpaint" and not outcome.is_error:
        waiting = {"request_id": outcome.data["request_id"], "wait_seconds": 20}
        server.outcome("get_outpaint_result", waiting)
