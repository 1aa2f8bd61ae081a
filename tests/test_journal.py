"""The journal: a request is there with its jobs or not at all, in order, once, with all that was delivered of it."""

from __future__ import annotations

import dataclasses
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.stores import DELIVERY, LYRICS, SIGNED_LINK, add, at_work, claim, end, new_request, outcome

from outpaint_mcp.errors import Hint, RequestNotFound, StorageFailed
from outpaint_mcp.export_options import ExportOptions
from outpaint_mcp.models import Status
from outpaint_mcp.principals import PERSON
from outpaint_mcp.storage import journal
from outpaint_mcp.storage.ids import is_request_id, new_request_id
from outpaint_mcp.storage.new_requests import DEDUP_SECONDS
from outpaint_mcp.storage.records import RequestProgress, RequestRecord

if TYPE_CHECKING:
    from tests.stores import Stores
    from tests.waiting import Clock

    from outpaint_mcp.storage.store import Store

WHOLE, MP3, AS_MADE = ExportOptions(), ExportOptions(format="mp3"), ExportOptions(restore_source=False)


def test_a_new_request_is_written_as_it_was_asked(store: Store, clock: Clock) -> None:
    new = new_request(caller="ann", parent_request_id=add(store))
    (record,), is_new = store.journal.add(new)
    assert is_new
    assert new.request_id == record.request_id
    assert is_request_id(record.request_id)
    assert store.journal.get(record.request_id) == record
    assert record == RequestRecord(
        request_id=new.ids[0],
        provider="local",
        status=Status.IN_QUEUE,
        audio="/music/song.wav",
        title="song",
        extend_before_duration=1,
        extend_after_duration=2,
        parent_request_id=new.parent_request_id,
        take_of=None,
        takes=1,
        expected_duration_seconds=34.5,
        created_at=clock.now,
        caller="ann",
        estimated_cost_usd=None,
        cost_usd=None,
        basis=None,
        error=None,
        error_kind=None,
        error_hint=None,
        error_field=None,
        is_accepted=False,
        expected_cost_usd=None,
        odd_cost=None,
        live=RequestProgress(status=Status.IN_QUEUE, queue_position=2),
        ended_at=None,
        outcome=None,
        deliveries={},
        planned_paths={},
    )


def test_another_server_finds_it_at_once(store: Store, elsewhere: Store) -> None:
    request_id = add(store)
    assert elsewhere.journal.get(request_id) == store.journal.get(request_id)


@pytest.mark.parametrize("takes", [1, 3])
def test_a_request_comes_with_a_job_for_each_take(store: Store, elsewhere: Store, takes: int) -> None:
    new = new_request(takes=takes)
    store.journal.add(new)
    assert [claim(elsewhere).request_id for _ in new.ids] == list(new.ids)


@pytest.mark.parametrize("taken", [0, 1, 2])
def test_a_failure_on_the_way_leaves_neither_request_nor_jobs(
    store: Store, stores: Stores, taken: int
) -> None:
    there = add(store)
    before = stores.rows()
    new = new_request(takes=3)
    ids = [*new.ids]
    ids[taken] = there  # whichever take it is, the store refuses a second one with this id
    with pytest.raises(StorageFailed):
        store.journal.add(dataclasses.replace(new, ids=tuple(ids)))
    assert stores.rows() == before


def test_who_is_not_given_the_new_request_may_believe_that_there_is_none(
    store: Store, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = stores.rows()

    def fail(_request_id: str) -> list[RequestRecord]:
        raise StorageFailed("The disk is broken.")

    monkeypatch.setattr(store.journal, "takes", fail)
    with pytest.raises(StorageFailed):
        add(store)
    assert stores.rows() == before


def test_ids_differ() -> None:
    assert len({new_request_id() for _ in range(50)}) == 50


def test_only_what_looks_like_an_id_is_one() -> None:
    assert is_request_id("op_0123456789abcdef0123")
    assert is_request_id(new_request_id())
    for other in (
        "",
        "op_",
        "0123456789abcdef0123",
        "op_0123456789ABCDEF0123",
        "op_0123456789abcdef01234",
        "song.wav",
    ):
        assert not is_request_id(other)


@pytest.mark.parametrize("look", ["get", "takes"])
@pytest.mark.parametrize("unknown", ["", "op_00000000000000000000", "\ud800", "x" * 9_999, "' OR 1=1 --"])
def test_an_unknown_request_is_not_found_and_the_way_to_find_it_is_hinted_at(
    store: Store, unknown: str, look: str
) -> None:
    add(store)
    with pytest.raises(RequestNotFound) as failure:
        getattr(store.journal, look)(unknown)
    assert failure.value.hint is Hint.FIND_REQUEST
    assert len(str(failure.value)) < 500


def test_a_request_grows_older(store: Store, clock: Clock) -> None:
    record = store.journal.get(add(store))
    clock.now += 31
    assert store.journal.age_seconds(record) == 31


def test_a_request_knows_when_it_ended(store: Store, clock: Clock) -> None:
    request_id = add(store)
    clock.now += 31
    store.queue.cancel(request_id)
    assert store.journal.get(request_id).ended_at == clock.now


# Once, and not twice.


def ask(store: Store, *, takes: int = 1, dedup_key: str | None = "alike") -> tuple[RequestRecord, bool]:
    (first, *_), is_new = store.journal.add(new_request(takes=takes, dedup_key=dedup_key))
    return first, is_new


def test_the_same_request_again_is_the_one_that_is_there(
    store: Store, elsewhere: Store, stores: Stores
) -> None:
    first, _ = ask(store)
    before = stores.rows()
    assert ask(elsewhere) == (first, False)
    assert stores.rows() == before


def test_requests_that_differ_or_have_no_key_are_all_new(store: Store) -> None:
    asked = [ask(store, dedup_key=key) for key in ("a", "b", None, None)]
    assert all(is_new for _, is_new in asked)


def test_the_same_request_by_many_at_once_is_one(store: Store, elsewhere: Store) -> None:
    asked: list[tuple[RequestRecord, bool]] = []
    begin = threading.Barrier(8)

    def run(of: Store) -> None:
        begin.wait()
        asked.append(ask(of, takes=2))

    threads = [threading.Thread(target=run, args=(of,)) for of in (store, elsewhere) * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(asked) == 8
    assert len({record.request_id for record, _ in asked}) == 1
    assert sum(is_new for _, is_new in asked) == 1
    assert len(store.journal.newest(PERSON, limit=9)) == 1


@pytest.mark.parametrize("status", [Status.IN_QUEUE, Status.IN_PROGRESS, Status.UNKNOWN])
def test_what_is_open_or_may_have_been_paid_for_is_the_same_request_at_any_age(
    store: Store, clock: Clock, status: Status
) -> None:
    first, _ = ask(store)
    if status is Status.IN_PROGRESS:
        store.queue.report(claim(store).lease, at_work())
    if status is Status.UNKNOWN:
        end(store, first.request_id, status)
    clock.now += 100 * DEDUP_SECONDS
    again, is_new = ask(store)
    assert (again.request_id, again.status, is_new) == (first.request_id, status, False)


@pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELLED])
def test_what_came_to_nothing_may_be_asked_for_again(store: Store, status: Status) -> None:
    first, _ = ask(store)
    end(store, first.request_id, status)
    _, is_new = ask(store)
    assert is_new


@pytest.mark.parametrize(
    ("later", "is_new"),
    [
        (DEDUP_SECONDS - 1, False),
        (DEDUP_SECONDS + 1, True),
        (-DEDUP_SECONDS + 1, False),  # the clock was set back
        (-DEDUP_SECONDS - 1, True),
    ],
)
def test_a_completed_request_is_the_same_for_ten_minutes(
    store: Store, clock: Clock, later: float, *, is_new: bool
) -> None:
    first, _ = ask(store)
    end(store, first.request_id)
    clock.now += later
    assert ask(store)[1] is is_new


def deliver(store: Store, request_id: str, path: Path, options: ExportOptions = WHOLE) -> None:
    path.write_bytes(b"RIFF")
    store.journal.deliver(request_id, options, dataclasses.replace(DELIVERY, path=str(path)))


def test_a_request_all_of_whose_files_were_removed_may_be_asked_for_again(
    store: Store, tmp_path: Path
) -> None:
    first, _ = ask(store)
    end(store, first.request_id)
    whole, mp3 = tmp_path / "song.wav", tmp_path / "song.mp3"
    deliver(store, first.request_id, whole)
    deliver(store, first.request_id, mp3, MP3)
    whole.unlink()
    assert not ask(store)[1]
    mp3.unlink()
    assert ask(store)[1]


def test_a_file_whose_folder_is_away_was_not_removed(store: Store, tmp_path: Path) -> None:
    first, _ = ask(store)
    end(store, first.request_id)
    drive = tmp_path / "drive"
    drive.mkdir()
    deliver(store, first.request_id, drive / "song.wav")
    drive.rename(tmp_path / "elsewhere")
    assert not ask(store)[1]


def test_a_file_that_was_only_planned_is_not_one_that_was_removed(store: Store, tmp_path: Path) -> None:
    first, _ = ask(store)
    end(store, first.request_id)
    store.journal.plan_delivery(first.request_id, WHOLE, tmp_path / "song.wav")
    assert not ask(store)[1]


def test_takes_that_were_asked_for_before_are_the_same_request_whichever_of_them_is_left(
    store: Store,
) -> None:
    first, _ = ask(store, takes=2)
    end(store, first.request_id, Status.FAILED)
    again, is_new = ask(store, takes=2)
    assert (again.request_id, is_new) == (first.request_id, False)
    end(store, store.journal.takes(first.family)[1].request_id, Status.CANCELLED)
    assert ask(store, takes=2)[1]


class HungDrive:
    """Has every look at a file hang, as a network drive does that has gone away."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_looked_at = threading.Event()
        self.answers = threading.Event()

        def hang(_path: Path) -> bool:
            self.is_looked_at.set()
            assert self.answers.wait(60)
            return False

        monkeypatch.setattr(Path, "is_file", hang)


def test_a_drive_that_hangs_holds_up_whoever_asks_for_what_is_on_it_and_nobody_else(
    store: Store, elsewhere: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = ask(store)
    end(store, first.request_id)
    deliver(store, first.request_id, tmp_path / "song.wav")
    drive = HungDrive(monkeypatch)
    asked: list[tuple[RequestRecord, bool]] = []
    asking = threading.Thread(target=lambda: asked.append(ask(store)))
    asking.start()
    assert drive.is_looked_at.wait(60)
    others = [add(elsewhere), add(store)]  # each would wait for ten seconds, and then fail
    assert [claim(elsewhere).request_id, claim(store).request_id] == others
    assert asked == []
    drive.answers.set()
    asking.join()
    assert [is_new for _, is_new in asked] == [True]


# In order, and by status.


def statuses(store: Store, status: Status | None = None, *, limit: int = 99) -> list[str]:
    return [takes[0].family for takes in store.journal.newest(PERSON, limit=limit, status=status)]


def test_the_newest_come_first_also_within_one_instant_and_when_the_clock_is_set_back(
    store: Store, clock: Clock
) -> None:
    first, second = add(store), add(store)
    clock.now -= 3_600
    third = add(store)
    assert statuses(store) == [third, second, first]
    assert statuses(store, Status.IN_QUEUE) == [third, second, first]
    assert statuses(store, limit=2) == [third, second]


def test_requests_are_listed_by_status(store: Store) -> None:
    found: dict[Status, str] = {}
    for status in (Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.UNKNOWN):
        found[status] = add(store)
        end(store, found[status], status)
    found[Status.IN_PROGRESS] = add(store)
    store.queue.report(claim(store).lease, at_work())
    found[Status.IN_QUEUE] = add(store)
    assert set(found) == set(Status)
    for status, request_id in found.items():
        assert statuses(store, status) == [request_id], status
    assert statuses(store) == [*reversed(found.values())]


def test_a_status_that_no_request_has_finds_none(store: Store) -> None:
    assert statuses(store) == []
    add(store)
    assert statuses(store, Status.UNKNOWN) == []


def test_a_request_is_listed_once_with_all_its_takes_in_order(store: Store) -> None:
    single, several = new_request(), new_request(takes=3)
    store.journal.add(single)
    store.journal.add(several)
    ids = [[take.request_id for take in takes] for takes in store.journal.newest(PERSON, limit=2)]
    assert ids == [list(several.ids), list(single.ids)]
    assert statuses(store, limit=1) == [several.request_id]
    assert statuses(store, Status.IN_QUEUE, limit=1) == [several.request_id]


def test_a_request_is_listed_under_what_any_of_its_takes_has_come_to(store: Store) -> None:
    new = new_request(takes=3)
    store.journal.add(new)
    end(store, new.ids[0], Status.FAILED)
    store.queue.report(claim(store).lease, at_work())
    for status in (Status.FAILED, Status.IN_PROGRESS, Status.IN_QUEUE):
        assert statuses(store, status) == [new.request_id]
    assert statuses(store, Status.COMPLETED) == []


def test_a_request_some_of_whose_takes_have_ended_is_in_progress_while_the_others_wait(store: Store) -> None:
    new = new_request(takes=2)
    store.journal.add(new)
    assert statuses(store, Status.IN_PROGRESS) == []
    end(store, new.ids[0])
    assert statuses(store, Status.IN_PROGRESS) == [new.request_id]
    end(store, new.ids[1])
    assert statuses(store, Status.IN_PROGRESS) == []


def test_a_list_of_more_requests_than_one_statement_takes_is_whole(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outpaint_mcp.storage.journal._MOST_VALUES", 2)  # of the store's 500
    news = [new_request(takes=2) for _ in range(5)]
    for new in news:
        store.journal.add(new)
    found = store.journal.newest(PERSON, limit=9)
    assert [[take.request_id for take in takes] for takes in found] == [[*new.ids] for new in reversed(news)]


def test_lists_carry_no_outcomes_and_single_requests_do(store: Store) -> None:
    request_id = add(store)
    end(store, request_id)
    store.journal.deliver(request_id, WHOLE, DELIVERY)
    ((listed,),) = store.journal.newest(PERSON, limit=1)
    assert listed.outcome is None
    record = store.journal.get(request_id)
    assert record.outcome == outcome()
    delivery = record.deliveries[str(WHOLE)]
    assert (delivery.seed, delivery.note, delivery.has_as_made) == (7, "How.", False)


def test_each_take_has_an_id_of_its_own_and_none_of_them_is_the_whole_requests(store: Store) -> None:
    new = new_request(takes=3)
    store.journal.add(new)
    first, second, third = store.journal.takes(new.request_id)
    assert (first.request_id, second.request_id, third.request_id) == new.ids
    assert new.request_id not in new.ids
    assert {take.takes for take in (first, second, third)} == {3}
    assert {take.family for take in (first, second, third)} == {new.request_id}
    for take in (first, second, third):
        assert store.journal.takes(take.request_id) == [take]
    assert [take.live and take.live.queue_position for take in (first, second, third)] == [1, 2, 3]


# What was delivered.


def test_a_plan_is_remembered_until_the_file_is_in_its_place(
    store: Store, clock: Clock, tmp_path: Path
) -> None:
    request_id = add(store)
    store.journal.plan_delivery(request_id, WHOLE, tmp_path / "first.wav")
    store.journal.plan_delivery(request_id, WHOLE, tmp_path / "second.wav")
    planned = store.journal.get(request_id)
    assert planned.planned_paths == {str(WHOLE): str(tmp_path / "second.wav")}
    assert (planned.delivery, planned.deliveries) == (None, {})
    delivered = store.journal.deliver(request_id, WHOLE, DELIVERY)
    assert delivered == dataclasses.replace(DELIVERY, delivered_at=clock.now)
    record = store.journal.get(request_id)
    assert (record.planned_paths, record.delivery) == ({}, delivered)
    store.journal.plan_delivery(request_id, WHOLE, tmp_path / "third.wav")
    assert store.journal.get(request_id) == record


def test_each_form_of_a_result_is_delivered_apart(store: Store, clock: Clock) -> None:
    request_id = add(store)
    mp3 = store.journal.deliver(request_id, MP3, dataclasses.replace(DELIVERY, path="/music/song.mp3"))
    assert store.journal.get(request_id).delivery == mp3
    clock.now += 5
    whole = store.journal.deliver(request_id, WHOLE, DELIVERY)
    record = store.journal.get(request_id)
    assert record.deliveries == {str(MP3): mp3, str(WHOLE): whole}
    assert [*record.deliveries.values()] == [mp3, whole]
    assert record.delivery == whole


def test_a_part_of_a_result_is_not_the_longer_file(store: Store) -> None:
    request_id = add(store)
    store.journal.deliver(request_id, ExportOptions(part="after"), DELIVERY)
    assert store.journal.get(request_id).delivery is None


def test_a_second_delivery_in_the_same_form_takes_the_place_of_the_first(store: Store, clock: Clock) -> None:
    request_id = add(store)
    store.journal.deliver(request_id, WHOLE, DELIVERY)
    clock.now += 5
    moved = dataclasses.replace(
        DELIVERY, path="/elsewhere/song.wav", sha256="cd" * 32, url="https://x.example/a"
    )
    delivered = store.journal.deliver(request_id, WHOLE, moved)
    assert store.journal.get(request_id).deliveries == {str(WHOLE): delivered}
    assert delivered == dataclasses.replace(moved, delivered_at=clock.now)


def test_a_delivery_knows_what_it_was_made_of(store: Store) -> None:
    request_id = add(store)
    as_made = dataclasses.replace(outcome("/data/as made.mp3"), note="Theirs.", audio_sha256="cd" * 32)
    both = dataclasses.replace(outcome(), as_made=as_made, restore_refusal="Why not.")
    store.queue.end(claim(store).lease, Status.COMPLETED, outcome=both)
    store.journal.deliver(request_id, WHOLE, DELIVERY)
    store.journal.deliver(request_id, AS_MADE, DELIVERY)
    deliveries = store.journal.get(request_id).deliveries
    whole, theirs = deliveries[str(WHOLE)], deliveries[str(AS_MADE)]
    assert (whole.note, whole.audio_sha256, whole.restore_refusal) == ("How.", None, "Why not.")
    assert (theirs.note, theirs.audio_sha256, theirs.restore_refusal) == ("Theirs.", "cd" * 32, None)
    assert (whole.has_as_made, theirs.has_as_made) == (True, False)


def is_stale(store: Store, request_id: str) -> bool:
    return store.journal.is_stale(store.journal.get(request_id), delivered_seconds=10, unfetched_seconds=100)


def test_a_result_is_stale_some_time_after_its_latest_delivery(store: Store, clock: Clock) -> None:
    request_id = add(store)
    end(store, request_id)
    store.journal.deliver(request_id, WHOLE, DELIVERY)
    clock.now += 8
    store.journal.deliver(request_id, MP3, DELIVERY)
    clock.now += 8
    assert not is_stale(store, request_id)
    clock.now += 3
    assert is_stale(store, request_id)


def test_a_result_that_nobody_fetched_is_stale_some_time_after_its_end(store: Store, clock: Clock) -> None:
    request_id = add(store)
    clock.now += 1_000
    assert not is_stale(store, request_id)  # it may take as long as it likes
    end(store, request_id)
    store.journal.plan_delivery(request_id, WHOLE, Path("/music/song.wav"))
    clock.now += 99
    assert not is_stale(store, request_id)
    clock.now += 2
    assert is_stale(store, request_id)


def test_what_was_to_be_sung_and_signed_links_are_nowhere_once_a_request_has_ended(
    store: Store, elsewhere: Store, stores: Stores
) -> None:
    new = new_request(takes=2, source=SIGNED_LINK)
    store.journal.add(new)
    elsewhere.journal.newest(PERSON, limit=9)
    assert stores.is_on_disk(LYRICS)
    for request_id in new.ids:
        end(store, request_id)
    assert not stores.is_on_disk(LYRICS)
    assert not stores.is_on_disk(SIGNED_LINK)


@pytest.mark.parametrize("status", Status)
def test_requests_of_a_status_are_found_without_reading_all_there_ever_were(
    store: Store, tmp_path: Path, status: Status
) -> None:
    add(store)
    (path,) = tmp_path.rglob("*.sqlite3")
    asked: list[str] = []
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        connection.set_trace_callback(asked.append)
        journal._newest_families(connection, PERSON, 20, status)
        connection.set_trace_callback(None)
        plans = connection.execute(f"EXPLAIN QUERY PLAN {asked[0]}").fetchall()
    assert not any(plan["detail"].startswith("SCAN") for plan in plans)
