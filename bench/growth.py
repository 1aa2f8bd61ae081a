"""How cost grows with what the journal holds: lists, submissions and the database's size.

`python -m bench.growth` from the project's root; some minutes. Everything is measured through the service in this
process, as a tool call meets it, without a protocol around it. Nothing is carried out meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from outpaint_mcp.cli.demo_music import compose_piece
from outpaint_mcp.cli.wording import TERMINAL
from outpaint_mcp.config import Settings
from outpaint_mcp.models import Status, SubmitRequest
from outpaint_mcp.principals import PERSON
from outpaint_mcp.service.lifespan import open_service
from outpaint_mcp.storage.database import Database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from outpaint_mcp.service.service import OutpaintService


@dataclass(frozen=True, slots=True)
class _Row:
    """A line of the table; `target` is the most, in the unit of `value`."""

    what: str
    value: float
    unit: str
    target: float

    def __str__(self) -> str:
        met = "yes" if self.value < self.target else "**no**"
        return f"| {self.what} | {self.value:,.1f} {self.unit} | < {self.target:g} {self.unit} | {met} |"


def fill(path: Path, request_id: str, copies: int) -> None:
    """Copy a request within a journal, with all that is stored of it; the copies are older, a minute apart.

    The only part that depends on how requests are stored: in tables with a `request_id`, times in columns `…_at`.
    """
    with closing(Database(path)) as database, database.write("everything") as connection:
        connection.execute("PRAGMA defer_foreign_keys = ON")
        tables = [
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        for table in tables:
            about = connection.execute(f"PRAGMA table_info({table})").fetchall()
            columns = [each["name"] for each in about if (each["pk"], each["type"]) != (1, "INTEGER")]
            if "request_id" not in columns:
                continue
            names = ", ".join(columns)
            found = f"SELECT {names} FROM {table} WHERE request_id = ?"  # noqa: S608 - names of our own schema
            for row in connection.execute(found, (request_id,)).fetchall():
                connection.executemany(
                    f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(columns))})",  # noqa: S608
                    (_copy(dict(row), request_id, number) for number in range(1, copies + 1)),
                )


def _copy(row: dict[str, Any], request_id: str, number: int) -> list[object]:
    new_id = f"op_{number:020x}"
    row |= {column: row[column] - 60 * number for column in row if column.endswith("_at") and row[column]}
    row |= {"dedup_key": f"{number:032x}"} if "dedup_key" in row else {}
    return [value.replace(request_id, new_id) if isinstance(value, str) else value for value in row.values()]


@asynccontextmanager
async def _service(folder: Path, *, ended: int = 0, queued: int = 0) -> AsyncIterator[OutpaintService]:
    """Open a service on a journal with so many requests, each like one that was really made."""
    music = folder / "Music"
    music.mkdir(parents=True)
    settings = Settings(input_dirs=(music,), output_dir=folder / "Longer", data_dir=folder / "data")
    await asyncio.to_thread(compose_piece, music / "piece.wav")
    if ended or queued:
        async with open_service(settings, vocabulary=TERMINAL, runs=bool(ended)) as service:
            request_id = await _submit(service, -100)
            if ended:
                await service.result(PERSON, request_id, wait_seconds=60)
        await asyncio.to_thread(fill, _file(folder), request_id, (ended or queued) - 1)
    async with open_service(settings, vocabulary=TERMINAL, runs=False) as service:
        yield service


def _file(folder: Path) -> Path:
    return folder / "data" / "outpaint.sqlite3"


async def _median_ms(rounds: int, ask: Callable[[int], Awaitable[object]]) -> float:
    taken = []
    for number in range(-1, rounds):  # one to warm up
        since = time.perf_counter()
        await ask(number)
        taken.append(time.perf_counter() - since)
    return 1000 * float(np.median(taken[1:]))


async def _submit(service: OutpaintService, number: int) -> str:
    request = SubmitRequest.of(audio="piece.wav", tags=f"number {number}", extend_after_duration=5)
    return (await service.submit(PERSON, request)).request_id


async def _with_many_ended(folder: Path, requests: int, rounds: int) -> list[_Row]:
    async with _service(folder, ended=requests) as service:
        size = _file(folder).stat().st_size / 1e6
        newest = await _median_ms(rounds, lambda _: service.list(PERSON, limit=20))
        none = await _median_ms(rounds, lambda _: service.list(PERSON, limit=20, status=Status.CANCELLED))
        submission = await _median_ms(rounds, lambda number: _submit(service, number))
    return [
        _Row(f"{requests:,} requests: the 20 newest", newest, "ms", 20),
        _Row(f"{requests:,} requests: one status of which there is none", none, "ms", 20),
        _Row(f"{requests:,} requests: the database", size, "MB", 150),
        _Row(f"{requests:,} requests: a submission, the look at the file included", submission, "ms", 60),
    ]


async def _with_many_open(folder: Path, requests: int, rounds: int) -> list[_Row]:
    async with _service(folder, queued=requests) as service:
        listed = await _median_ms(rounds, lambda _: service.list(PERSON, limit=20))
    return [_Row(f"{requests:,} open: the 20 newest", listed, "ms", 50)]


async def _at_once(folder: Path, requests: int) -> list[_Row]:
    async with _service(folder) as service:
        since = time.perf_counter()
        ids = await asyncio.gather(*(_submit(service, number) for number in range(requests)))
        seconds = time.perf_counter() - since
    if len(set(ids)) != requests:
        raise AssertionError(len(set(ids)))
    return [_Row(f"{requests:,} submissions at once: all answered", seconds, "s", 60)]


async def _measure(asked: argparse.Namespace) -> list[_Row]:
    with TemporaryDirectory() as scratch:
        here = Path(scratch)
        return [
            *await _with_many_ended(here / "ended", asked.ended, asked.rounds),
            *await _with_many_open(here / "open", asked.open, asked.rounds),
            *await _at_once(here / "at once", asked.at_once),
        ]


def main() -> int:
    """Measure, print a table, and exit with 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--ended", type=int, default=100_000, help="requests in the journal (%(default)s)")
    parser.add_argument("--open", type=int, default=2_000, help="requests that are open (%(default)s)")
    parser.add_argument("--at-once", type=int, default=2_000, help="submissions at once (%(default)s)")
    parser.add_argument("--rounds", type=int, default=15, help="times that each is measured (%(default)s)")
    rows = asyncio.run(_measure(parser.parse_args()))
    print("| | median | target | met |\n|---|---|---|---|")
    print(*rows, sep="\n")
    return int(any(row.value >= row.target for row in rows))


if __name__ == "__main__":
    sys.exit(main())
