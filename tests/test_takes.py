"""Several takes of one request: asked, followed, paid, cancelled and delivered as one."""

# ruff: noqa: ASYNC240 - small files in a folder of the test's own

from __future__ import annotations

import asyncio
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from tests.stores import end, new_request
from tests.warm import around

from outpaint_mcp.audio.sides import Side
from outpaint_mcp.audio.verdict.records import Addition, Fault, FaultKind, Reused, Seam, Survival, Verdict
from outpaint_mcp.errors import DeliveryFailed, InvalidRequest, SourceError
from outpaint_mcp.export_options import ExportOptions
from outpaint_mcp.models import CancelOutcome, Status, SubmitRequest
from outpaint_mcp.principals import PERSON
from outpaint_mcp.reports import requests
from outpaint_mcp.reports.takes import compared, figures
from outpaint_mcp.server.wording import TOOLS
from outpaint_mcp.service.lifespan import open_service
from outpaint_mcp.service.submission import _dedup_key
from outpaint_mcp.service.takes import as_one
from outpaint_mcp.sources import LocalFile, RemoteUrl
from outpaint_mcp.storage.records import CancelWish, Delivery, RequestProgress, RequestRecord

if TYPE_CHECKING:
    from tests.conftest import MakeSong

    from outpaint_mcp.config import Settings
    from outpaint_mcp.service.service import OutpaintService
    from outpaint_mcp.storage.store import Store

pytestmark = pytest.mark.anyio

WAIT_SECONDS = 120


def take(status: Status, number: int = 1, **values: float | str | RequestProgress | None) -> RequestRecord:
    known = {
        "provider": "local",
        "audio": "a",
        "title": "t",
        "extend_before_duration": 0.0,
        "extend_after_duration": 30.0,
        "parent_request_id": None,
        "take_of": "op_0",
        "takes": 2,
        "expected_duration_seconds": None,
        "created_at": 0.0,
        "caller": "",
        "estimated_cost_usd": None,
        "cost_usd": None,
        "basis": None,
        "error": None,
        "error_kind": None,
        "error_hint": None,
        "error_field": None,
        "is_accepted": True,
        "expected_cost_usd": None,
        "odd_cost": None,
        "live": None if status.is_final else RequestProgress(status=status),
        "ended_at": None,
        "outcome": None,
        "deliveries": {},
        "planned_paths": {},
    }
    return RequestRecord(request_id=f"op_{number}", status=status, **{**known, **values})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("first", "second", "both"),
    [
        (Status.IN_QUEUE, Status.IN_QUEUE, Status.IN_QUEUE),
        (Status.COMPLETED, Status.IN_QUEUE, Status.IN_PROGRESS),
        (Status.FAILED, Status.IN_PROGRESS, Status.IN_PROGRESS),
        (Status.FAILED, Status.COMPLETED, Status.COMPLETED),
        (Status.UNKNOWN, Status.FAILED, Status.UNKNOWN),
        (Status.CANCELLED, Status.FAILED, Status.FAILED),
        (Status.CANCELLED, Status.CANCELLED, Status.CANCELLED),
    ],
)
def test_takes_together_stand_where_the_person_would_say_they_do(
    first: Status, second: Status, both: Status
) -> None:
    assert as_one([take(first), take(second, 2)]).status is both
    assert as_one([take(second), take(first, 2)]).status is both


def test_what_takes_cost_is_summed_and_unknown_while_it_is_of_one() -> None:
    dear = take(Status.COMPLETED, estimated_cost_usd=0.25, cost_usd=0.2)
    assert as_one([dear, take(Status.COMPLETED, 2, estimated_cost_usd=0.25)]).cost_usd is None
    whole = as_one([dear, take(Status.COMPLETED, 2, estimated_cost_usd=0.25, cost_usd=0.1)])
    assert whole.estimated_cost_usd == 0.5
    assert whole.cost_usd == pytest.approx(0.3)


def test_what_went_wrong_is_reported_take_by_take() -> None:
    whole = as_one([take(Status.FAILED, error="No."), take(Status.FAILED, 2, error="Never.")])
    assert whole.error == "Take 1: No. Take 2: Never."


def test_what_went_wrong_is_of_the_kind_that_decided_the_status() -> None:
    cancelled = take(Status.CANCELLED, error="No.", error_kind="OutpaintError")
    failed = take(Status.FAILED, 2, error="Never.", error_kind="UnsupportedAudio")
    assert as_one([cancelled, failed]).error_kind == "UnsupportedAudio"


def test_progress_counts_all_takes_and_the_words_name_the_first_that_is_open() -> None:
    listening = RequestProgress(status=Status.IN_PROGRESS, progress=0.5, step="listening")
    live = as_one([take(Status.COMPLETED), take(Status.IN_PROGRESS, 2, live=listening)]).live
    assert live is not None
    assert (live.status, live.progress, live.step) == (Status.IN_PROGRESS, 0.75, "take 2 of 2, listening")
    assert as_one([take(Status.COMPLETED), take(Status.FAILED, 2)]).live is None


def test_a_take_that_waits_for_the_person_has_the_word() -> None:
    waiting = RequestProgress(status=Status.IN_PROGRESS, step="billed", awaits_agreement=True)
    together = as_one([take(Status.IN_PROGRESS), take(Status.IN_PROGRESS, 2, live=waiting)])
    assert together.awaits_agreement
    assert together.live
    assert together.live.step == "take 2 of 2, billed"


def test_what_all_takes_were_expected_to_cost_is_told_where_one_has_cost_more() -> None:
    dear = take(Status.COMPLETED, 2, cost_usd=5.0, expected_cost_usd=0.25)
    assert as_one([take(Status.COMPLETED, cost_usd=0.5), dear]).expected_cost_usd == 0.75
    assert as_one([take(Status.COMPLETED, cost_usd=0.5)] * 2).expected_cost_usd is None


def test_the_place_in_the_queue_is_the_first_takes_while_none_has_begun() -> None:
    waiting = [
        take(Status.IN_QUEUE, number, live=RequestProgress(status=Status.IN_QUEUE, queue_position=number + 3))
        for number in (1, 2)
    ]
    together, begun = as_one(waiting).live, as_one([take(Status.COMPLETED), waiting[1]]).live
    assert together is not None
    assert begun is not None
    assert (together.status, together.queue_position) == (Status.IN_QUEUE, 4)
    assert (begun.status, begun.queue_position) == (Status.IN_PROGRESS, None)


def test_what_has_been_billed_by_now_counts_ended_takes_and_open_ones() -> None:
    ended = take(Status.COMPLETED, cost_usd=0.25)
    running = RequestProgress(status=Status.IN_PROGRESS, cost_usd=0.5)
    live = as_one([ended, take(Status.IN_PROGRESS, 2, live=running)]).live
    assert live is not None
    assert live.cost_usd == 0.75


def test_a_request_is_accepted_once_all_its_takes_are() -> None:
    accepted, waiting = take(Status.IN_QUEUE), take(Status.IN_QUEUE, 2, is_accepted=False)
    assert as_one([accepted, accepted]).is_accepted
    assert not as_one([accepted, waiting]).is_accepted


async def test_takes_are_one_request_with_a_file_each_the_best_first(
    service: OutpaintService, song: Path
) -> None:
    submission = await service.submit(
        PERSON, SubmitRequest.of(audio=str(song), tags="", extend_after_duration=2, seed=7, takes=3)
    )
    assert "3 takes" in submission.message
    result = await service.result(PERSON, submission.request_id, wait_seconds=WAIT_SECONDS)
    assert result.status is Status.COMPLETED
    assert result.takes is not None
    assert {each.seed for each in result.takes} == {7, 8, 9}
    assert result.takes[0].path == result.path
    assert result.takes[0].seed == result.seed
    names = {Path(each.path or "").name for each in result.takes}
    assert names == {f"song, extended 2s after, take {number}.wav" for number in (1, 2, 3)}
    assert all(each.verdict for each in result.takes)
    assert "take" in result.message.lower()

    (listed,) = (await service.list(PERSON)).requests
    assert (listed.request_id, listed.status, listed.path) == (submission.request_id, Status.COMPLETED, None)
    assert {(each.request_id, each.path) for each in listed.takes or ()} == {
        (each.request_id, each.path) for each in result.takes
    }
    assert submission.request_id not in {each.request_id for each in result.takes}


async def test_a_take_is_the_same_as_the_request_with_its_seed(service: OutpaintService, song: Path) -> None:
    asked = {"audio": str(song), "tags": "", "extend_after_duration": 1.0}
    takes = await service.submit(PERSON, SubmitRequest.of(**asked, seed=7, takes=2))
    alone = await service.submit(PERSON, SubmitRequest.of(**asked, seed=8))
    result = await service.result(PERSON, takes.request_id, wait_seconds=WAIT_SECONDS)
    second = next(each for each in result.takes or [] if each.seed == 8)
    single = await service.result(PERSON, alone.request_id, wait_seconds=WAIT_SECONDS)
    assert single.takes is None
    assert Path(second.path or "").read_bytes() == Path(single.path or "").read_bytes()


async def test_every_take_can_be_fetched_by_its_own_id(service: OutpaintService, song: Path) -> None:
    submission = await service.submit(
        PERSON, SubmitRequest.of(audio=str(song), tags="", extend_after_duration=1, seed=1, takes=2)
    )
    result = await service.result(PERSON, submission.request_id, wait_seconds=WAIT_SECONDS)
    assert result.takes is not None
    for each in result.takes:
        alone = await service.result(PERSON, each.request_id)
        assert (alone.request_id, alone.path, alone.takes) == (each.request_id, each.path, None)
        assert each.request_id in submission.message


async def test_a_take_can_be_extended_by_its_own_id_and_the_whole_means_the_best(
    service: OutpaintService, song: Path
) -> None:
    submission = await service.submit(
        PERSON, SubmitRequest.of(audio=str(song), tags="", extend_after_duration=1, seed=1, takes=2)
    )
    result = await service.result(PERSON, submission.request_id, wait_seconds=WAIT_SECONDS)
    assert result.takes is not None
    best, second = result.takes
    more = await service.submit(
        PERSON, SubmitRequest.of(audio=second.request_id, tags="", extend_after_duration=1)
    )
    assert more.expected_duration_seconds == 5.0
    of_the_best = await service.submit(PERSON, SubmitRequest.of(audio=submission.request_id, tags="", seed=3))
    listed = {each.request_id: each.parent_request_id for each in (await service.list(PERSON)).requests}
    assert listed[more.request_id] == second.request_id
    assert listed[of_the_best.request_id] == best.request_id
    number = [each.request_id for each in service._store.journal.takes(submission.request_id)].index(
        best.request_id
    )
    assert f"Extends take {number + 1} ({best.request_id}), the best of 2." in of_the_best.message
    assert f"Extends take {3 - (number + 1)} of 2." in more.message


async def test_cancelling_one_take_leaves_the_others_alone(settings: Settings, store: Store) -> None:
    new = new_request(takes=3)
    store.journal.add(new)
    async with open_service(settings, vocabulary=TOOLS, runs=False, surroundings=around()) as service:
        cancellation = await service.cancel(PERSON, new.ids[0])
    assert (cancellation.request_id, cancellation.outcome) == (new.ids[0], CancelOutcome.CANCELLED)
    takes = store.journal.takes(new.request_id)
    assert [each.status for each in takes] == [Status.CANCELLED, Status.IN_QUEUE, Status.IN_QUEUE]


async def test_cancelling_a_request_cancels_all_its_takes(
    service: OutpaintService, make_song: MakeSong
) -> None:
    long = make_song(seconds=120)
    submission = await service.submit(
        PERSON, SubmitRequest.of(audio=str(long), tags="", extend_after_duration=200, seed=1, takes=4)
    )
    cancellation = await service.cancel(PERSON, submission.request_id)
    assert cancellation.outcome is CancelOutcome.CANCELLED
    assert (await service.status(PERSON, submission.request_id)).status is Status.CANCELLED


async def test_the_same_takes_asked_again_are_the_same_request(service: OutpaintService, song: Path) -> None:
    request = SubmitRequest.of(audio=str(song), tags="", extend_after_duration=1, seed=1, takes=2)
    first, again = await service.submit(PERSON, request), await service.submit(PERSON, request)
    assert (again.request_id, again.is_repeat) == (first.request_id, True)
    await service.result(PERSON, first.request_id, wait_seconds=WAIT_SECONDS)


async def test_a_source_that_none_of_the_takes_can_use_starts_nothing(
    service: OutpaintService, song: Path
) -> None:
    song.write_bytes(b"no music")
    with pytest.raises(SourceError):
        await service.submit(PERSON, SubmitRequest.of(audio=str(song), tags="", takes=2))
    assert (await service.list(PERSON)).requests == []


@pytest.mark.parametrize(("start", "end", "kept"), [(1, 0, 2.0), (0, 2, 2.0), (1, 2.5, 1.5)])
async def test_carrying_on_from_a_point_leaves_the_rest_of_the_source_out(
    service: OutpaintService, song: Path, start: float, end: float, kept: float
) -> None:
    submission = await service.submit(
        PERSON,
        SubmitRequest.of(
            audio=str(song),
            tags="",
            extend_after_duration=1,
            source_start_seconds=start,
            source_end_seconds=end,
        ),
    )
    assert submission.expected_duration_seconds == kept + 1
    result = await service.result(PERSON, submission.request_id, wait_seconds=WAIT_SECONDS)
    assert result.path is not None, result.error
    whole, rate = soundfile.read(song, dtype="int16")
    longer, _ = soundfile.read(result.path, dtype="int16")
    used = whole[int(start * rate) : int((end or 3) * rate)]
    assert len(longer) == len(used) + rate
    assert np.array_equal(longer[: len(used)], used)
    assert list(result.path and Path(result.path).parent.iterdir()) == [Path(result.path)]


async def test_a_part_that_the_source_does_not_have_is_refused_before_anything_is_started(
    service: OutpaintService, song: Path
) -> None:
    with pytest.raises(InvalidRequest, match="The part to extend begins at 83 s"):
        await service.submit(PERSON, SubmitRequest.of(audio=str(song), tags="", source_start_seconds=83))
    assert (await service.list(PERSON)).requests == []


async def test_a_take_that_was_thrown_away_does_not_take_the_others_along(
    service: OutpaintService, song: Path, settings: Settings
) -> None:
    submission = await service.submit(
        PERSON, SubmitRequest.of(audio=str(song), tags="", extend_after_duration=2, seed=7, takes=3)
    )
    result = await service.result(PERSON, submission.request_id, wait_seconds=WAIT_SECONDS)
    assert result.takes is not None
    kept, *others = result.takes
    for other in others:
        Path(other.path or "").unlink()
    again = await service.result(PERSON, submission.request_id)
    assert again.path == kept.path
    assert again.takes is not None
    assert all("moved or deleted" in (each.error or "") for each in again.takes[1:])
    assert not any(Path(other.path or "").exists() for other in others)
    assert (await service.analyze(PERSON, submission.request_id))[0].duration_seconds == 5
    Path(kept.path or "").unlink()
    all_again = await service.result(PERSON, submission.request_id, wait_seconds=WAIT_SECONDS)
    assert {each.path for each in all_again.takes or ()} == {each.path for each in result.takes}
    for each in result.takes:
        Path(each.path or "").unlink()
        shutil.rmtree(settings.data_dir / "jobs" / each.request_id)
    with pytest.raises(DeliveryFailed, match="moved or deleted"):
        await service.result(PERSON, submission.request_id)


async def test_takes_that_are_the_same_music_are_reported_as_such(
    service: OutpaintService, song: Path
) -> None:
    soundfile.write(song, np.zeros((3 * 16_000, 2)), 16_000)
    submission = await service.submit(
        PERSON, SubmitRequest.of(audio=str(song), tags="", extend_after_duration=1, seed=7, takes=2)
    )
    result = await service.result(PERSON, submission.request_id, wait_seconds=WAIT_SECONDS)
    assert "All takes are the same" in result.message


def delivered(number: int, *reused: Reused) -> Delivery:
    return Delivery(
        path=f"/{number}.wav",
        sha256=str(number),
        size_bytes=1,
        duration_seconds=90.0,
        before_seconds=0.0,
        after_seconds=30.0,
        seed=number,
        verdict=Verdict(90.0, Survival(found=True, bit_exact=True), reused=reused),
    )


def test_takes_that_measure_equally_well_are_told_apart_by_what_they_play() -> None:
    takes = [delivered(1, Reused(113, 143)), delivered(2, Reused(27, 42), Reused(60, 75))]
    said = compared(takes)
    assert said.startswith("Take 1 plays 1:53–2:23; take 2 plays 0:27–0:42, then 1:00–1:15")  # noqa: RUF001 - as printed
    assert "equally well" not in said
    assert "take 1 first" in said
    assert "measure equally well" in compared([delivered(1), delivered(2)])


def test_another_seed_is_not_advised_where_all_takes_are_the_same() -> None:
    def advice(*digests: str, seeds_differ: bool = True) -> str:
        faulty = [delivered(number) for number, _ in enumerate(digests, 1)]
        found = {
            f"op_{number}": replace(
                each,
                audio_sha256=digest,
                seeds_differ=seeds_differ,
                verdict=replace(each.verdict, faults=(Fault(FaultKind.CLICK, Side.AFTER, 3.0),)),
            )
            for number, (each, digest) in enumerate(zip(faulty, digests, strict=True), 1)
            if each.verdict
        }
        takes = [take(Status.COMPLETED, number) for number, _ in enumerate(digests, 1)]
        report = requests.delivered(as_one(takes), TOOLS, takes, found, {}, ExportOptions())
        return report.verdict or ""

    assert "another seed" in advice("a")
    assert "another seed" in advice("a", "b")
    assert "another seed" not in advice("a", "a")
    assert "another seed" not in advice("a", seeds_differ=False)


def test_figures_have_signs_and_limits_and_what_is_known_of_the_whole() -> None:
    one = delivered(1)
    assert one.verdict is not None
    seams = (Seam(Side.AFTER, 60.0, click=0.4), Seam(None, 70.0, click=1.4))
    additions = (Addition(side=Side.AFTER, asked_seconds=30.0, actual_seconds=30.0),)
    heard = replace(one.verdict, additions=additions, seams=seams, seams_checked=5, lufs=-15.9)
    measured = figures(replace(one, verdict=heard))
    assert measured is not None
    assert measured["after"]["click"] == 0.4  # type: ignore[index]
    assert (measured["seams_checked"], measured["lufs"]) == (5, -15.9)
    assert len(str(measured["limits"])) < 100


async def test_what_is_left_of_a_request_is_cancelled_where_a_take_has_ended(
    settings: Settings, store: Store
) -> None:
    new = new_request(takes=2)
    store.journal.add(new)
    end(store, new.ids[0], Status.FAILED)
    async with open_service(settings, vocabulary=TOOLS, runs=False, surroundings=around()) as service:
        cancellation = await service.cancel(PERSON, new.request_id)
        assert cancellation.outcome is CancelOutcome.CANCELLED
        assert cancellation.status.is_final
        assert "take 2" in cancellation.message.lower()
    takes = store.journal.takes(new.request_id)
    assert [each.status for each in takes] == [Status.FAILED, Status.CANCELLED]


async def test_a_request_of_which_a_take_refuses_to_be_cancelled_is_not_called_cancelled(
    settings: Settings, store: Store
) -> None:
    new = new_request(takes=2)
    store.journal.add(new)
    job = store.queue.claim("here", "local")
    assert job is not None
    async with open_service(settings, vocabulary=TOOLS, runs=False, surroundings=around()) as service:
        cancelling = asyncio.create_task(service.cancel(PERSON, new.request_id))
        while store.queue.cancel_wish(job.request_id) is not CancelWish.WANTED:  # noqa: ASYNC110 - another task
            await asyncio.sleep(0.01)
        store.queue.refuse_to_cancel(job.lease)
        assert (await cancelling).outcome is CancelOutcome.NOT_CANCELLABLE
    assert sorted(each.status for each in store.journal.takes(new.request_id)).count(Status.CANCELLED) == 1


async def test_the_status_says_where_each_take_is_by_its_own_id(service: OutpaintService, song: Path) -> None:
    submission = await service.submit(
        PERSON, SubmitRequest.of(audio=str(song), tags="", extend_after_duration=1, seed=7, takes=2)
    )
    status = await service.status(PERSON, submission.request_id, wait_seconds=WAIT_SECONDS)
    for request_id in [take.request_id for take in service._store.journal.takes(submission.request_id)]:
        assert f"({request_id}) completed" in status.message


def test_requests_that_differ_in_anything_that_is_asked_are_not_identical() -> None:
    request = SubmitRequest.of(audio="x", tags="lofi", lyrics="la", seed=7)
    source = RemoteUrl("https://files.example/a.mp3")
    asked = _dedup_key(request, source, "runcomfy", "ann")
    assert asked == _dedup_key(request, source, "runcomfy", "ann")
    others: list[dict[str, float | str]] = [
        {"takes": 2},
        {"source_start_seconds": 1.0},
        {"source_end_seconds": 1.0},
        {"extend_before_duration": 1.0},
        {"extend_after_duration": 31.0},
        {"tags": "jazz"},
        {"lyrics": "lo"},
        {"seed": 8},
    ]
    keys = {_dedup_key(request.model_copy(update=other), source, "runcomfy", "ann") for other in others}
    assert len(keys - {asked}) == len(others)
    elsewhere = RemoteUrl("https://files.example/b.mp3")
    by_others = {
        _dedup_key(request, elsewhere, "runcomfy", "ann"),
        _dedup_key(request, source, "local", "ann"),
        _dedup_key(request, source, "runcomfy", "bob"),
    }
    assert len(by_others - {asked}) == 3


def test_an_earlier_result_that_was_delivered_again_is_the_same_audio(tmp_path: Path) -> None:
    request = SubmitRequest.of(audio="x", tags="lofi", lyrics="la", seed=7)
    path = tmp_path / "longer.wav"
    keys = set()
    for modified in (1, 2):
        path.write_bytes(b"RIFF")
        os.utime(path, (modified, modified))
        keys.add(_dedup_key(request, LocalFile(path, is_exact=True), "local", "", parent_id="op_0"))
    assert len(keys) == 1
