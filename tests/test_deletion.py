"""Deleting a request: what it cost stays, what still needs it is asked first, and the person's own files are theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.deliveries import add_completed, add_request, outcome_at
from tests.stores import claim

from outpaint_mcp.errors import InvalidRequest, RequestNotFound
from outpaint_mcp.export_options import ExportOptions
from outpaint_mcp.models import Status, SubmitRequest
from outpaint_mcp.principals import OPERATOR, PERSON, Principal
from outpaint_mcp.service.deletion import Eraser
from outpaint_mcp.service.output_folder import OutputFolder
from outpaint_mcp.storage.erasure import StillNeeded

if TYPE_CHECKING:
    from pathlib import Path

    from outpaint_mcp.config import Settings
    from outpaint_mcp.results import Outcome
    from outpaint_mcp.service.service import OutpaintService
    from outpaint_mcp.storage.store import Store

ALICE, BOB = Principal(client="alice"), Principal(client="bob")


@pytest.fixture
def outcome(tmp_path: Path) -> Outcome:
    return outcome_at(tmp_path / "output.flac", b"an extended file")


@pytest.fixture
def eraser(settings: Settings, store: Store) -> Eraser:
    return Eraser(settings, store)


def sent(settings: Settings, caller: Principal, name: str) -> Path:
    folder = settings.reach_of(caller).upload_dir
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"sound")
    return folder / name


def test_takes_go_together_with_their_files_and_leave_their_costs(
    eraser: Eraser, store: Store, settings: Settings, outcome: Outcome
) -> None:
    request_id = add_completed(store, outcome, takes=3, caller=ALICE.owner)
    takes = store.journal.takes(request_id)
    folder = OutputFolder(store.journal, settings)
    for take in takes:
        folder.deliver(take.request_id, ExportOptions(), outcome)
    with store._database.write("test") as connection:
        connection.execute("UPDATE jobs SET estimated_cost_usd = 0.5, cost_usd = 0.25")
    spent = store.ledger.spent_usd(ALICE)
    assert spent == (0.75, 0.0)
    output_dir = settings.reach_of(ALICE).output_dir
    assert len([*output_dir.iterdir()]) == 3
    eraser.erase(store.journal.takes(request_id))
    assert [*output_dir.iterdir()] == []
    assert store.journal.newest(OPERATOR, limit=10) == []
    for each in (request_id, *(take.request_id for take in takes)):
        with pytest.raises(RequestNotFound):
            store.journal.takes_of(ALICE, each)
        with pytest.raises(RequestNotFound):
            store.journal.get(each)
    assert store.ledger.spent_usd(ALICE) == spent
    assert store.lineage.digests_of_results(ALICE, outcome.size_bytes) == []


def test_what_was_extended_from_it_stays_as_it_is(
    eraser: Eraser, store: Store, settings: Settings, outcome: Outcome
) -> None:
    parent = add_completed(store, outcome, caller=ALICE.owner)
    child = add_completed(store, outcome, caller=ALICE.owner, parent=parent)
    delivered = OutputFolder(store.journal, settings).deliver(child, ExportOptions(), outcome)
    eraser.erase(store.journal.takes(parent))
    record = store.journal.get(child)
    assert record.parent_request_id is None
    assert record.outcome == outcome
    assert record.deliveries["whole, source"].path == delivered.path
    again = OutputFolder(store.journal, settings).deliver(child, ExportOptions(format="wav16"), outcome)
    assert again.path != delivered.path


@pytest.mark.parametrize("who", ["itself", "its extension"])
def test_one_that_is_open_or_worked_with_is_not_deleted(
    eraser: Eraser, store: Store, settings: Settings, outcome: Outcome, who: str
) -> None:
    request_id = (
        add_request(store.journal, caller=ALICE.owner)
        if who == "itself"
        else add_completed(store, outcome, caller=ALICE.owner, audio="song.wav")
    )
    needed_by = (
        request_id if who == "itself" else add_request(store.journal, caller=ALICE.owner, parent=request_id)
    )
    upload = sent(settings, ALICE, "song.wav")
    with pytest.raises(StillNeeded) as caught:
        eraser.erase(store.journal.takes(request_id))
    assert caught.value.request_id == needed_by
    assert store.journal.get(request_id).audio != ""
    assert upload.exists()


def test_an_upload_goes_with_the_last_request_that_used_it(
    eraser: Eraser, store: Store, settings: Settings, outcome: Outcome
) -> None:
    upload, other, others = (
        sent(settings, ALICE, "song.wav"),
        sent(settings, ALICE, "other.wav"),
        sent(settings, BOB, "song.wav"),
    )
    first, second = (add_completed(store, outcome, caller=ALICE.owner, audio="song.wav") for _ in range(2))
    eraser.erase(store.journal.takes(first))
    assert upload.exists()
    eraser.erase(store.journal.takes(second))
    assert not upload.exists()
    assert other.exists()
    assert others.exists()


@pytest.mark.parametrize(
    "audio", ["../results/kept.flac", "/etc/passwd", "..", ".spent", "", "https://x.example/y.wav"]
)
def test_what_a_source_is_called_never_leads_out_of_the_uploads(
    eraser: Eraser, store: Store, settings: Settings, outcome: Outcome, audio: str
) -> None:
    sent(settings, ALICE, "song.wav")
    results = settings.reach_of(ALICE).output_dir
    results.mkdir(parents=True)
    (results / "kept.flac").write_bytes(b"sound")
    eraser.erase(store.journal.takes(add_completed(store, outcome, caller=ALICE.owner, audio=audio)))
    assert (results / "kept.flac").exists()
    assert settings.reach_of(ALICE).upload_dir.exists()


def test_the_persons_own_files_are_left_alone(
    eraser: Eraser, store: Store, settings: Settings, outcome: Outcome
) -> None:
    request_id = add_completed(store, outcome)
    delivery = OutputFolder(store.journal, settings).deliver(request_id, ExportOptions(), outcome)
    job = settings.data_dir / "jobs" / request_id
    job.mkdir(parents=True)
    eraser.erase(store.journal.takes(request_id))
    assert not job.exists()
    assert (settings.output_dir / delivery.path).exists()


@pytest.mark.anyio
async def test_what_is_under_way_is_cancelled_first(service: OutpaintService, song: Path) -> None:

    request = SubmitRequest.of(audio=str(song), tags="", extend_after_duration=5, takes=2)
    request_id = (await service.submit(PERSON, request)).request_id
    takes = await service._poller.takes(PERSON, request_id)
    with pytest.raises(InvalidRequest, match="is one of 2 takes"):
        await service.files.deleter.delete(PERSON, takes[0].request_id)
    assert "was deleted" in await service.files.deleter.delete(PERSON, request_id)
    with pytest.raises(RequestNotFound):
        await service.status(PERSON, request_id)


def test_one_that_was_never_known_for_sure_can_be_deleted(eraser: Eraser, store: Store) -> None:
    request_id = add_request(store.journal, caller=ALICE.owner)
    store.queue.end(claim(store).lease, Status.UNKNOWN)
    eraser.erase(store.journal.takes(request_id))
    with pytest.raises(RequestNotFound):
        store.journal.get(request_id)
