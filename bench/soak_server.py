"""The server process of `bench.soak`: many requests at a time, each with two who wait for it."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import math
import multiprocessing
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from outpaint_mcp.errors import OutpaintError
from outpaint_mcp.export_options import ExportOptions
from outpaint_mcp.models import SubmitRequest
from outpaint_mcp.principals import Principal
from outpaint_mcp.providers.base import RemoteTiming
from outpaint_mcp.providers.remote.schedule import PollSchedule
from outpaint_mcp.server.wording import TOOLS
from outpaint_mcp.service.lifespan import Surroundings, open_service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

    from outpaint_mcp.config import Settings
    from outpaint_mcp.reports.models import ResultReport
    from outpaint_mcp.service.service import OutpaintService

AT_A_TIME = 40
AFTER_SECONDS = 2
CALLS_PER_SECOND = 10.0

_AS_MADE = ExportOptions(restore_source=False)
_WARM_UP = 0.2
_SILENCE_SECONDS = 300.0


class UpdateSignal(NamedTuple):
    """What the server process tells of one request.

    Attributes:
        report: None where the submission was refused.
    """

    seed: int
    report: ResultReport | None
    rss_mib: float


class Rest(NamedTuple):
    """What the server process tells of itself when nothing is under way.

    Attributes:
        held_mib: of it, what is left when the allocator has given back what it only kept for later.
    """

    rss_mib: float
    held_mib: float
    objects: int
    open_files: int


def warm_up_of(count: int) -> int:
    """After how many of so many requests memory has to stay where it is."""
    return math.ceil(_WARM_UP * count)


def served(settings: Settings, source: Path, count: int) -> Iterator[UpdateSignal | Rest]:
    """Run the server, in a process of its own, so that nobody else's memory is counted."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe(duplex=False)
    server = spawn.Process(target=_serve, args=(settings, source, count, theirs))
    server.start()
    theirs.close()
    try:
        for number in range(1, count + 3):
            if not ours.poll(_SILENCE_SECONDS):
                raise TimeoutError(f"nothing was heard for {_SILENCE_SECONDS:.0f} s")
            news: UpdateSignal | Rest = ours.recv()
            if number % 50 == 0:
                print(f"{number}/{count}, {news.rss_mib:.1f} MiB", file=sys.stderr)
            yield news
        server.join(_SILENCE_SECONDS)
    finally:
        server.kill()
        server.join()


def _serve(settings: Settings, source: Path, count: int, told: Connection) -> None:
    asyncio.run(_carry_out(settings, source, count, told))


async def _carry_out(settings: Settings, source: Path, count: int, told: Connection) -> None:
    places = asyncio.Semaphore(AT_A_TIME)

    async def one(seed: int) -> None:
        async with places:
            report = await _see_through(service, _request(source, seed))
        told.send(UpdateSignal(seed, report, _rss_mib()))

    warm_up = warm_up_of(count)
    # A pace that fits a service beside us.
    schedule = PollSchedule(first_seconds=0.1, last_seconds=1.0, calls_per_second=CALLS_PER_SECOND)
    surroundings = Surroundings(timing=RemoteTiming(schedule=schedule))
    async with open_service(settings, vocabulary=TOOLS, surroundings=surroundings) as service:
        for seeds in (range(warm_up), range(warm_up, count)):
            async with asyncio.TaskGroup() as group:
                for seed in seeds:
                    group.create_task(one(seed))
            told.send(_rest())


def _request(source: Path, seed: int) -> SubmitRequest:
    return SubmitRequest(
        audio=str(source), tags="drums, bass", extend_after_duration=AFTER_SECONDS, seed=seed
    )


async def _see_through(service: OutpaintService, request: SubmitRequest) -> ResultReport | None:
    """Submit a request and wait for it twice at the same time, as two hosts may."""
    principal = Principal(str(request.seed))
    try:
        submission = await service.submit(principal, request)
    except OutpaintError:
        return None
    while True:
        report, status = await asyncio.gather(
            service.result(principal, submission.request_id, wait_seconds=45, options=_AS_MADE, details=True),
            service.status(principal, submission.request_id, wait_seconds=45),
        )
        if report.status.is_final and status.status is report.status:
            return report


def _rest() -> Rest:
    rss_mib = _rss_mib()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return Rest(rss_mib, _rss_mib(), len(gc.get_objects()), len(list(Path("/proc/self/fd").iterdir())))


def _rss_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
