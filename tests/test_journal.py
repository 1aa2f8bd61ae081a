"""The journal: what was written down is there, in order, and final states are final."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from outpaint_mcp.errors import RequestNotFound
from outpaint_mcp.models import Status, SubmitRequest
from outpaint_mcp.results import ExportOptions
from outpaint_mcp.storage.database import Database
from outpaint_mcp.storage.journal import Journal, is_request_id
from outpaint_mcp.storage.records import Delivery, RequestRecord

if TYPE_CHECKING:
    from pathlib import Path

    from outpaint_mcp.config import Settings

DELIVERY = Delivery(
    path="/music/song, extended 30s after.wav",
    sha256="ab" * 32,
    size_bytes=123,
    duration_seconds=33.0,
    before_seconds=0.0,
    after_seconds=30.0,
    seed=7,
    note="Well made.",
)

WHOLE, MP3 = ExportOptions(), ExportOptions(format="mp3")


class Clock:
    """Shows the time that it is set to, in Unix seconds."""

    def __init__(self) -> None:
        self.time = 1_000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def journal(database: Database, clock: Clock) -> Journal:
    return Journal(database, now=clock)


def add(
    journal: Journal, title: str = "song", *, parent: str | None = None, provider: str = "local"
) -> RequestRecord:
    record, is_new = journal.add(
        SubmitRequest.of(audio=f"/music/{title}.wav", tags="lofi", extend_before_duration=1.5, lyrics="la"),
        provider=provider,
        shown_audio=f"/music/{title}.wav",
        title=title,
        parent_request_id=parent,
        expected_duration_seconds=34.5,
    )
    assert is_new
    return record


def test_a_new_request_is_written_down_as_it_was_made(journal: Journal) -> None:
    record = add(journal)
    assert is_request_id(record.request_id)
    assert journal.get(record.request_id) == record
    assert record == RequestRecord(
        request_id=record.request_id,
        provider="local",
        status=Status.IN_QUEUE,
        audio="/music/song.wav",
        title="song",
        extend_before_duration=1.5,
        extend_after_duration=30,
        parent_request_id=None,
        take_of=None,
        takes=1,
        expected_duration_seconds=34.5,
        created_at=1_000.0,
        caller="",
        estimated_cost_usd=None,
        cost_usd=None,
        basis=None,
        error=None,
        deliveries={},
        planned_paths={},
    )


def test_another_process_finds_it_at_once(journal: Journal, settings: Settings) -> None:
    record = add(journal)
    other = Database(settings.data_dir / "outpaint.sqlite3")
    assert Journal(other).get(record.request_id) == record
    other.close()


def test_ids_differ(journal: Journal) -> None:
    assert len({add(journal).request_id for _ in range(50)}) == 50


def test_only_what_looks_like_an_id_is_one() -> None:
    assert is_request_id("op_0123456789abcdef0123")
    for other in (
        "",
        "op_",
        "0123456789abcdef0123",
        "op_0123456789ABCDEF0123",
        "op_0123456789abcdef01234",
        "song.wav",
    ):
        assert not is_request_id(other)


@pytest.mark.parametrize("unknown", ["", "op_00000000000000000000", "\ud800", "x" * 9_999, "' OR 1=1 --"])
def test_an_unknown_request_is_not_found_and_the_way_to_find_it_is_told(
    journal: Journal, unknown: str
) -> None:
    add(journal)
    with pytest.raises(RequestNotFound, match="list_outpaints") as failure:
        journal.get(unknown)
    assert len(str(failure.value)) < 500


def test_a_request_grows_older(journal: Journal, clock: Clock) -> None:
    record = add(journal)
    clock.time += 31
    assert journal.age_seconds(record) == 31


@pytest.mark.parametrize("final", [status for status in Status if status.is_final])
def test_a_final_state_stays_what_it_is(journal: Journal, final: Status) -> None:
    request_id = add(journal).request_id
    assert journal.note(request_id, Status.IN_PROGRESS).status is Status.IN_PROGRESS
    assert journal.note(request_id, final, "why").status is final
    for other in Status:
        record = journal.note(request_id, other, "another reason")
        assert (record.status, record.error) == (final, "why")


def test_a_plan_is_remembered_until_the_file_is_in_its_place(journal: Journal, tmp_path: Path) -> None:
    request_id = add(journal).request_id
    journal.plan_delivery(request_id, WHOLE, tmp_path / "first.wav")
    journal.plan_delivery(request_id, WHOLE, tmp_path / "second.wav")
    planned = journal.get(request_id)
    assert planned.planned_paths == {str(WHOLE): str(tmp_path / "second.wav")}
    assert planned.delivery is None
    delivered = journal.deliver(request_id, WHOLE, DELIVERY)
    assert delivered == dataclasses.replace(DELIVERY, delivered_at=1_000.0)
    record = journal.get(request_id)
    assert (record.planned_paths, record.delivery) == ({}, delivered)
    journal.plan_delivery(request_id, WHOLE, tmp_path / "third.wav")
    assert journal.get(request_id) == record


def test_each_edition_of_a_result_is_written_down_apart(journal: Journal, clock: Clock) -> None:
    request_id = add(journal).request_id
    whole = journal.deliver(request_id, WHOLE, DELIVERY)
    clock.time += 5
    mp3 = journal.deliver(request_id, MP3, dataclasses.replace(DELIVERY, path="/music/song.mp3"))
    record = journal.get(request_id)
    assert record.deliveries == {str(WHOLE): whole, str(MP3): mp3}
    assert record.delivery == whole


def test_a_verdict_is_kept_as_it_was(journal: Journal) -> None:
    verdict = {"faults": [{"kind": "click", "amount": 2.5}], "seams": []}
    request_id = add(journal).request_id
    journal.deliver(request_id, WHOLE, dataclasses.replace(DELIVERY, verdict=verdict))
    delivery = journal.get(request_id).delivery
    assert delivery is not None
    assert delivery.verdict == verdict


def test_a_result_is_stale_some_time_after_its_latest_delivery(journal: Journal, clock: Clock) -> None:
    request_id = add(journal).request_id
    assert not journal.is_stale(journal.get(request_id), 10)
    journal.deliver(request_id, WHOLE, DELIVERY)
    clock.time += 8
    journal.deliver(request_id, MP3, DELIVERY)
    clock.time += 8
    assert not journal.is_stale(journal.get(request_id), 10)
    clock.time += 3
    assert journal.is_stale(journal.get(request_id), 10)


def test_the_newest_come_first_also_within_one_instant(journal: Journal, clock: Clock) -> None:
    first, second = add(journal, "first"), add(journal, "second")
    clock.time += 1
    third = add(journal, "third")
    assert list(journal.newest()) == [third, second, first]


def add_takes(journal: Journal, takes: int, *, seed: int = 7) -> list[RequestRecord]:
    request = SubmitRequest.of(audio="/music/song.wav", tags="", seed=seed, takes=takes)
    first, _ = journal.add(
        request,
        provider="local",
        shown_audio="/music/song.wav",
        title="song",
        parent_request_id=None,
        expected_duration_seconds=None,
        dedup_key="alike",
    )
    return journal.takes(first.request_id)


def test_each_take_has_an_id_of_its_own_and_the_first_ones_is_the_requests(journal: Journal) -> None:
    first, second, third = add_takes(journal, 3)
    assert (first.take_of, second.take_of, third.take_of) == (None, first.request_id, first.request_id)
    assert {take.takes for take in (first, second, third)} == {3}
    assert journal.takes(second.request_id) == [second]
    assert list(journal.newest()) == [first]


def test_takes_that_were_asked_before_are_the_same_request_whichever_of_them_is_left(
    journal: Journal,
) -> None:
    takes = add_takes(journal, 2)
    journal.note(takes[0].request_id, Status.FAILED, "why")
    assert [take.request_id for take in add_takes(journal, 2)] == [take.request_id for take in takes]
    journal.note(takes[1].request_id, Status.CANCELLED)
    assert add_takes(journal, 2)[0].request_id != takes[0].request_id


def test_open_requests_are_those_of_all_providers_that_have_not_ended_oldest_first(
    journal: Journal, clock: Clock
) -> None:
    first = add(journal, provider="other")
    clock.time += 1
    ended, lost, last = add(journal), add(journal), add(journal)
    journal.note(ended.request_id, Status.CANCELLED)
    journal.note(lost.request_id, Status.UNKNOWN)
    assert journal.open_requests() == [first, last]


def test_lineage_is_kept(journal: Journal) -> None:
    parent = add(journal)
    assert add(journal, parent=parent.request_id).parent_request_id == parent.request_id
