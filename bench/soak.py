"""Hundreds of requests through the desk to a hosted service in trouble: what becomes of each, and of the memory.

`python -m bench.soak` from the project's root; Linux. A server process with the hosted provider works on the
contract fake over a real socket, which answers 13 % of all calls with an error, or not at all. Every request has a
seed of its own, by which the fake's jobs, the journal and the files are held against each other afterwards.
"""

from __future__ import annotations

import argparse
import hashlib
import sqlite3
import sys
import time
from collections import Counter, defaultdict
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

import httpx
import numpy as np
import soundfile
from bench.soak_server import (
    AFTER_SECONDS,
    AT_A_TIME,
    CALLS_PER_SECOND,
    Rest,
    UpdateSignal,
    served,
    warm_up_of,
)
from tests.fakes.runcomfy import TOKEN, FakeRunComfy, Flaky, Switches

from outpaint_mcp.cli.demo_music import compose_piece
from outpaint_mcp.config import Settings
from outpaint_mcp.providers.runcomfy.model import LIMITS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fakes.runcomfy import Job

    from outpaint_mcp.reports.models import ResultReport

_FLAKY = Flaky(server_error=0.05, too_many=0.05, dropped=0.02, hang=0.01, seed=1)
_SOURCE_SECONDS, _SAMPLE_RATE = 3, 16_000
_MAX_GROWTH_MIB = 10.0
_TOLERANCE_SECONDS = 1e-3
# What stays of a completed request for a week: its file, and the service's own.
_DELIVERABLE = {"output.wav", "made.wav"}


class _Entry(NamedTuple):
    """A request as the server's database has it."""

    request_id: str
    seed: int
    status: str
    cost_usd: float | None
    remote_id: str | None


class _Seen(NamedTuple):
    """What a run leaves behind."""

    news: list[UpdateSignal]
    rests: list[Rest]
    fake: FakeRunComfy
    asked_at: dict[str, list[float]]
    records: list[_Entry]
    outputs: dict[str, bytes]
    left_over: list[str]
    seconds: float


def main() -> int:
    """Run, print a table, and exit with 1 where a promise is broken."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=500, help="how many (%(default)s)")
    chosen = parser.parse_args()
    with TemporaryDirectory() as here:
        seen = _run(chosen.requests, Path(here))
        broken = list(_broken_promises(seen, chosen.requests))
        print(_table(seen))
    print("\n".join(f"BROKEN: {each}" for each in broken) or "Every promise was kept.")
    return 1 if broken else 0


def _run(count: int, here: Path) -> _Seen:
    source = here / "Music" / "piece.wav"
    _compose(source)
    switches = Switches(sample_rate=_SAMPLE_RATE, balance_usd=1e6, flaky=_FLAKY)
    with FakeRunComfy(switches=switches) as fake:
        asked_at: dict[str, list[float]] = {"status": [], "result": []}
        fake.on("status", lambda _: asked_at["status"].append(time.monotonic()))
        fake.on("result", lambda _: asked_at["result"].append(time.monotonic()))
        settings = Settings(
            input_dirs=(source.parent,),
            output_dir=here / "Longer",
            data_dir=here / "data",
            provider="runcomfy",
            token=TOKEN,
            runcomfy_base=fake.base,
        )
        since = time.monotonic()
        told = list(served(settings, source, count))
        seconds = time.monotonic() - since
        fake.switches = replace(switches, flaky=None)
        outputs = {job.request_id: _output(fake, job) for job in fake.jobs.values() if job.is_over}
    records = _entries(here / "data")
    completed = {each.request_id for each in records if each.status == "completed"}
    left_over = [
        str(each.relative_to(here))
        for each in (here / "data" / "jobs").glob("*/*")
        if each.parent.name not in completed or each.name not in _DELIVERABLE
    ]
    news = [each for each in told if isinstance(each, UpdateSignal)]
    rests = [each for each in told if isinstance(each, Rest)]
    return _Seen(news, rests, fake, asked_at, records, outputs, left_over, seconds)


def _compose(path: Path) -> None:
    path.parent.mkdir()
    compose_piece(path)
    samples, rate = soundfile.read(path, frames=3 * _SOURCE_SECONDS * _SAMPLE_RATE, dtype="int16")
    step = rate // _SAMPLE_RATE  # what is heard is no matter here
    soundfile.write(path, samples[::step][: _SOURCE_SECONDS * _SAMPLE_RATE], _SAMPLE_RATE)


def _output(fake: FakeRunComfy, job: Job) -> bytes:
    """The service's own file, fetched as anybody can."""
    origin = fake.base.removesuffix("/v1")
    answer = httpx.get(f"{origin}/outputs/{job.request_id}.{job.container}?{job.sign()}")
    return answer.raise_for_status().content


def _entries(data_dir: Path) -> list[_Entry]:
    with closing(sqlite3.connect(f"file:{data_dir}/outpaint.sqlite3?mode=ro", uri=True)) as connection:
        rows = connection.execute(
            "SELECT jobs.request_id, caller, status, jobs.cost_usd, remote_id FROM requests"
            " JOIN jobs USING (request_id) LEFT JOIN steps USING (request_id)"
        )
        return [_Entry(request_id, int(caller), *rest) for request_id, caller, *rest in rows]


def _broken_promises(seen: _Seen, count: int) -> Iterator[str]:
    jobs: defaultdict[object, list[Job]] = defaultdict(list)
    for job in seen.fake.jobs.values():
        jobs[job.inputs["seed"]].append(job)
    reports = {each.seed: each.report for each in seen.news}
    if sorted(each.seed for each in seen.records) != list(range(count)) or len(reports) != count:
        yield f"{count} requests were made, {len(seen.records)} are in the journal, {len(reports)} ended"
    for record in seen.records:
        for what in _wrong_with(record, reports.get(record.seed), jobs[record.seed], seen.outputs):
            yield f"seed {record.seed}, {record.request_id}, {record.status}: {what}"
    sent = _posts(seen.fake)
    carried_out = sum(sent.values()) - sent[429]
    states = Counter(each.status for each in seen.records)
    if carried_out > count:
        yield f"{count} requests, but {carried_out} submissions that were not refused"
    if sum(sent.values()) - sent[429] - sent[200] != states["unknown"]:
        yield f"{states['unknown']} requests are unknown, but submissions were answered {dict(sent)}"
    yield from (f"the contract was broken: {each}" for each in seen.fake.violations)
    yield from (f"left over: {each}" for each in seen.left_over)
    warm, end = seen.rests
    if end.held_mib - warm.held_mib > _MAX_GROWTH_MIB:
        yield f"memory grew by {end.held_mib - warm.held_mib:.1f} MiB after the warm-up"


def _wrong_with(
    record: _Entry, report: ResultReport | None, jobs: list[Job], outputs: dict[str, bytes]
) -> Iterator[str]:
    """Hold one request against what the service has of it."""
    if len(jobs) > 1:
        yield f"was taken on {len(jobs)} times"
    if report is not None and report.status != record.status:
        yield f"was told to be {report.status}"
    match record.status, [job.status for job in jobs]:
        case ("completed", ["completed"]):
            if record.remote_id != jobs[0].request_id or record.cost_usd != jobs[0].cost_usd:
                yield "the service's id or cost of it is another"
            if report is None:
                yield "the submission was refused"
            else:
                yield from _wrong_with_file(report, jobs[0], outputs[jobs[0].request_id])
        case ("failed", []) | ("unknown", [] | [_]):
            pass  # what is unknown may have been taken on
        case (status, states):
            yield f"{status} here, {states or 'unheard of'} there"


def _wrong_with_file(report: ResultReport, job: Job, output: bytes) -> Iterator[str]:
    content = Path(report.path or "").read_bytes()
    if content != output:
        yield "the file is not the one that the service made"
    if hashlib.sha256(content).hexdigest() != report.sha256 or len(content) != report.size_bytes:
        yield "the file is not the one that was told"
    samples, sample_rate = soundfile.read(report.path)
    # A model is asked for a little more than is wanted, to be cut to the frame; this is its own file.
    seconds, asked = len(samples) / sample_rate, _SOURCE_SECONDS + AFTER_SECONDS + LIMITS.margin_seconds
    for said in (report.duration_seconds or 0.0, job.seconds, asked):
        if abs(seconds - said) > _TOLERANCE_SECONDS:
            yield f"the file lasts {seconds:.3f} s, not {said:.3f}"


def _posts(fake: FakeRunComfy) -> Counter[int]:
    """Submissions by the HTTP status of their answer; 0 for none."""
    return Counter(call.status for call in fake.calls if call.endpoint == "submit")


def _busiest_second(times: list[float]) -> int:
    at = np.sort(times)
    return int(max(np.searchsorted(at, at + 1) - np.arange(len(at))))


def _table(seen: _Seen) -> str:
    states = Counter(each.status for each in seen.records)
    by_seed = Counter(job.inputs["seed"] for job in seen.fake.jobs.values())
    unknown_but_taken_on = sum(by_seed[each.seed] for each in seen.records if each.status == "unknown")
    sent, faults = _posts(seen.fake), sum(call.status != 200 for call in seen.fake.calls)
    warm, end = seen.rests
    slope_kib = 1024 * (end.held_mib - warm.held_mib) / (len(seen.news) - warm_up_of(len(seen.news)))
    asked_at = seen.asked_at["status"], seen.asked_at["status"] + seen.asked_at["result"]
    rows = {
        f"requests, {AT_A_TIME} at a time": len(seen.records),
        "took": f"{seen.seconds:.0f} s, {seen.seconds / len(seen.records):.2f} s each",
        "completed": states["completed"],
        "failed": states["failed"],
        "unknown": f"{states['unknown']}, of which the service had taken on {unknown_but_taken_on}",
        "calls, and how many met a fault": f"{len(seen.fake.calls)}, {faults}",
        "submissions: answered, refused as too many, no usable answer": f"{sent[200]}, {sent[429]}, "
        f"{sum(sent.values()) - sent[200] - sent[429]}",
        "accepted by the service": len(seen.fake.jobs),
        "repeated": sum(times - 1 for times in by_seed.values()),
        f"looks at a status in the busiest second, and for results too, at a pace of {CALLS_PER_SECOND:g}": ", ".join(
            map(str, map(_busiest_second, asked_at))
        ),
        "RSS after the warm-up, at the end, at most in between": f"{warm.rss_mib:.1f}, {end.rss_mib:.1f}, "
        f"{max(each.rss_mib for each in seen.news):.1f} MiB",
        "of it held, after the warm-up and at the end": f"{warm.held_mib:.1f}, {end.held_mib:.1f} MiB,"
        f" {slope_kib:+.1f} KiB a request",
        "Python's objects, after the warm-up and at the end": f"{warm.objects}, {end.objects}",
        "open files, after the warm-up and at the end": f"{warm.open_files}, {end.open_files}",
    }
    return "\n".join(["| | |\n|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])


if __name__ == "__main__":
    sys.exit(main())
