"""The database as a crash, a sync client or a tired disk leaves it."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from tests.e2e.rpc import ServerGoneError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.attack.book import Row
    from tests.attack.target import Attack, Target

_NAME = "outpaint.sqlite3"
_DAMAGES = (
    "zeroed head",
    "zeroed page",
    "random page",
    "cut in half",
    "one byte",
    "text",
    "another program's",
    "newer",
    "a folder",
    "a link to nothing",
    "no table",
    "a column less",
)
_FALSE_ADVICE = "Make room"


def attack(attack: Attack) -> None:
    """Damage it while nobody runs, and hold it locked."""
    with attack.book.row(
        "database", "damage of every kind before the start: said as what it is, a copy kept"
    ) as row:
        for how in attack.some(_DAMAGES):
            with attack.target() as target:
                _begin(target)
                path = target.data / _NAME
                before = _damage(how, path, attack)
                _look(target, row, how)
                kept = [each.read_bytes() for each in target.data.rglob("*") if each.is_file()]
                row.check(before is None or before in kept, f"{how}: what was there is nowhere any more")
    with attack.book.row("database", "locked by another program: said, and served once it is let go") as row:
        _look_while_locked(attack, row)


def _look_while_locked(attack: Attack, row: Row) -> None:
    with attack.target() as target:
        _begin(target)
        with _locked(target.data / _NAME):
            server = target.start()
            outcome = server.outcome("list_outpaints", seconds=120)
            row.check(outcome.is_refusal or not outcome.is_error, outcome.words[:300])
            row.check(_FALSE_ADVICE not in outcome.words, outcome.words[:300])
        row.check(not server.outcome("list_outpaints").is_error, "not served afterwards")


def _begin(target: Target) -> None:
    server = target.start()
    server.outcome("list_outpaints")
    server.outcome("submit_outpaint", {"audio": "song.wav", "tags": "", "extend_after_duration": 1})
    server.end()


def _look(target: Target, row: Row, how: str) -> None:
    try:
        server = target.start()
        outcome = server.outcome("list_outpaints", seconds=120)
        server.kill()
    except ServerGoneError:
        done = target.command("list")
        words = done.stderr + done.stdout
        row.check(done.returncode and "Traceback" not in words and len(words) > 20, f"{how}: {words[-300:]}")
        return
    row.check(not outcome.is_error or outcome.is_refusal, f"{how}: {outcome.words[:300]}")
    row.check(not outcome.is_error or _FALSE_ADVICE not in outcome.words, f"{how}: {outcome.words[:300]}")
    row.check("Traceback" not in server.said, f"{how}: {server.said[-500:]}")


def _damage(how: str, path: Path, attack: Attack) -> bytes | None:
    """Do it; returns what has to be somewhere afterwards."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for each in path.parent.glob(f"{_NAME}-*"):
        each.unlink()
    raw = bytearray(path.read_bytes())
    match how:
        case "zeroed head":
            raw[:100] = bytes(100)
        case "zeroed page":
            raw[4096:8192] = bytes(4096)
        case "random page":
            raw[4096:8192] = attack.rng.randbytes(4096)
        case "cut in half":
            del raw[len(raw) // 2 :]
        case "one byte":
            del raw[1:]
        case "text":
            raw[:] = b"my shopping list\n" * 100
        case _:
            return _replace(how, path)
    path.write_bytes(raw)
    return bytes(raw)


def _replace(how: str, path: Path) -> bytes | None:
    match how:
        case "a folder":
            path.unlink()
            path.mkdir()
            return None
        case "a link to nothing":
            path.unlink()
            path.symlink_to(path.parent / "nothing")
            return None
        case "another program's":
            path.unlink()
            statement = "CREATE TABLE requests (mine TEXT)"
        case "newer":
            statement = "PRAGMA user_version = 2000000000"
        case "no table":
            statement = "DROP TABLE requests"
        case _:
            statement = "ALTER TABLE requests RENAME COLUMN created_at TO no_such_column"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute(statement)
        connection.commit()
    return None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")
