"""The way into the output folder: a name a person understands, never half written, nothing overwritten."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from outpaint_mcp.errors import DeliveryFailed, StorageFailed
from outpaint_mcp.models import SubmitRequest
from outpaint_mcp.results import ExportOptions, Outcome
from outpaint_mcp.service.output_folder import OutputFolder
from outpaint_mcp.storage.journal import Journal

if TYPE_CHECKING:
    from outpaint_mcp.config import Settings
    from outpaint_mcp.storage.database import Database

MADE = b"a longer file"
WHOLE = ExportOptions()


@pytest.fixture
def journal(database: Database) -> Journal:
    return Journal(database)


@pytest.fixture
def results(journal: Journal, settings: Settings) -> OutputFolder:
    return OutputFolder(journal, settings.output_dir, settings.data_dir / "locks")


@pytest.fixture
def outcome(tmp_path: Path) -> Outcome:
    path = tmp_path / "output.flac"
    path.write_bytes(MADE)
    return Outcome(
        path=path,
        sha256=hashlib.sha256(MADE).hexdigest(),
        size_bytes=len(MADE),
        duration_seconds=40,
        before_seconds=10,
        after_seconds=20,
        seed=7,
        note="Well made.",
    )


def add(
    journal: Journal, title: str = "song", before: float = 10, after: float = 20, parent: str | None = None
) -> str:
    request = SubmitRequest.of(
        audio="x.wav", tags="", extend_before_duration=before, extend_after_duration=after
    )
    record, _ = journal.add(
        request,
        provider="local",
        shown_audio="x.wav",
        title=title,
        parent_request_id=parent,
        expected_duration_seconds=None,
    )
    return record.request_id


def placed(results: OutputFolder, request_id: str, outcome: Outcome) -> str:
    return Path(results.deliver(request_id, WHOLE, outcome).path).name


def test_the_longer_file_is_put_into_the_output_folder_and_written_down(
    results: OutputFolder, journal: Journal, outcome: Outcome, settings: Settings
) -> None:
    request_id = add(journal)
    delivery = results.deliver(request_id, WHOLE, outcome)
    path = settings.output_dir / "song, extended 10s before and 20s after.flac"
    assert Path(delivery.path) == path
    assert path.read_bytes() == MADE
    assert journal.get(request_id).delivery == delivery
    assert (delivery.sha256, delivery.size_bytes, delivery.seed) == (outcome.sha256, len(MADE), 7)
    assert (delivery.duration_seconds, delivery.before_seconds, delivery.after_seconds) == (40, 10, 20)
    assert list(settings.output_dir.iterdir()) == [path]
    assert list((settings.data_dir / "locks").iterdir()) == []


@pytest.mark.parametrize(
    ("before", "after", "name"),
    [
        (10, 0, "song, extended 10s before.flac"),
        (0, 30, "song, extended 30s after.flac"),
        (0.5, 7.25, "song, extended 0.5s before and 7.25s after.flac"),
        (1 / 3, 0, "song, extended 0.3333s before.flac"),
    ],
)
def test_the_name_says_what_was_added(  # noqa: PLR0913
    results: OutputFolder, journal: Journal, outcome: Outcome, before: float, after: float, name: str
) -> None:
    assert placed(results, add(journal, "song", before, after), outcome) == name


def test_a_chain_of_extensions_adds_up_under_the_first_title(
    results: OutputFolder, journal: Journal, outcome: Outcome
) -> None:
    first = add(journal, "song", 0, 30)
    second = add(journal, "song", 5, 30, first)
    third = add(journal, "song", 0.5, 0, second)
    assert placed(results, first, outcome) == "song, extended 30s after.flac"
    assert placed(results, second, outcome) == "song, extended 5s before and 60s after.flac"
    assert placed(results, third, outcome) == "song, extended 5.5s before and 60s after.flac"


def test_delivering_again_finds_the_first_delivery(
    results: OutputFolder, journal: Journal, outcome: Outcome, settings: Settings
) -> None:
    request_id = add(journal)
    first = results.deliver(request_id, WHOLE, outcome)
    outcome.path.unlink()
    assert results.deliver(request_id, WHOLE, outcome) == first
    assert len(list(settings.output_dir.iterdir())) == 1


def test_another_take_gets_a_number(results: OutputFolder, journal: Journal, outcome: Outcome) -> None:
    names = [placed(results, add(journal, after=0), outcome) for _ in range(3)]
    assert names == [
        "song, extended 10s before.flac",
        "song, extended 10s before (2).flac",
        "song, extended 10s before (3).flac",
    ]


@pytest.mark.parametrize("kind", ["file", "folder", "dangling link"])
def test_whatever_lies_there_already_stays_as_it_is(
    results: OutputFolder, journal: Journal, outcome: Outcome, settings: Settings, kind: str
) -> None:
    settings.output_dir.mkdir()
    there = settings.output_dir / "song, extended 10s before.flac"
    if kind == "file":
        there.write_text("the person's own")
    elif kind == "folder":
        there.mkdir()
    else:
        there.symlink_to(settings.output_dir / "gone")
    assert placed(results, add(journal, after=0), outcome) == "song, extended 10s before (2).flac"
    if kind == "file":
        assert there.read_text() == "the person's own"
    assert not (settings.output_dir / "gone").exists()


def test_a_file_that_was_in_place_when_the_server_was_killed_is_found_there(
    results: OutputFolder, journal: Journal, outcome: Outcome, settings: Settings
) -> None:
    request_id = add(journal)
    settings.output_dir.mkdir()
    there = settings.output_dir / "somewhere.flac"
    there.write_bytes(MADE)
    journal.plan_delivery(request_id, WHOLE, there)
    assert results.deliver(request_id, WHOLE, outcome).path == str(there)
    assert list(settings.output_dir.iterdir()) == [there]


def test_somebody_elses_file_at_the_planned_place_is_not_taken_for_ours(
    results: OutputFolder, journal: Journal, outcome: Outcome, settings: Settings
) -> None:
    request_id = add(journal, after=0)
    settings.output_dir.mkdir()
    there = settings.output_dir / "song, extended 10s before.flac"
    there.write_bytes(b"x" * len(MADE))
    journal.plan_delivery(request_id, WHOLE, there)
    assert placed(results, request_id, outcome) == "song, extended 10s before (2).flac"
    assert there.read_bytes() == b"x" * len(MADE)


def test_a_plan_that_came_to_nothing_is_made_anew(
    results: OutputFolder, journal: Journal, outcome: Outcome, settings: Settings
) -> None:
    request_id = add(journal, after=0)
    journal.plan_delivery(request_id, WHOLE, settings.output_dir / "never made.flac")
    assert placed(results, request_id, outcome) == "song, extended 10s before.flac"


@pytest.mark.parametrize("refused", [1, 2])
def test_without_hard_links_a_whole_copy_is_put_there(  # noqa: PLR0913
    results: OutputFolder,
    journal: Journal,
    outcome: Outcome,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    refused: int,
) -> None:
    link = os.link
    asked: list[Path] = []

    def refuse(source: Path, target: Path) -> None:
        asked.append(source)
        if len(asked) <= refused:
            raise OSError(errno.EXDEV if len(asked) == 1 else errno.EPERM, "no links here")
        link(source, target)

    monkeypatch.setattr(os, "link", refuse)
    delivery = results.deliver(add(journal), WHOLE, outcome)
    assert len(asked) == 2
    assert Path(delivery.path).read_bytes() == MADE
    assert list(settings.output_dir.iterdir()) == [Path(delivery.path)]
    assert outcome.path.read_bytes() == MADE


def test_a_file_that_appears_in_the_last_moment_is_not_overwritten(
    results: OutputFolder, journal: Journal, outcome: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def be_second(source: Path, target: Path) -> None:
        if "(2)" not in target.name:
            target.write_text("the person's own")
        link(source, target)

    monkeypatch.setattr(os, "link", be_second)
    delivered = Path(results.deliver(add(journal, after=0), WHOLE, outcome).path)
    assert delivered.name == "song, extended 10s before (2).flac"
    assert (delivered.parent / "song, extended 10s before.flac").read_text() == "the person's own"


def test_a_full_disk_leaves_nothing_half_written_and_the_result_waits(
    results: OutputFolder,
    journal: Journal,
    outcome: Outcome,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def be_full(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    request_id = add(journal)
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", be_full)
        patch.setattr(os, "fsync", be_full)
        with pytest.raises(DeliveryFailed, match=r"No space left.*Make room"):
            results.deliver(request_id, WHOLE, outcome)
    assert list(settings.output_dir.iterdir()) == []
    assert journal.get(request_id).delivery is None
    assert Path(results.deliver(request_id, WHOLE, outcome).path).read_bytes() == MADE


@pytest.mark.parametrize("place", ["file", "below a file"])
def test_an_output_folder_that_is_none_is_refused_with_the_way_out(
    journal: Journal, outcome: Outcome, settings: Settings, tmp_path: Path, place: str
) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" if place == "file" else tmp_path / "file" / "folder"
    results = OutputFolder(journal, folder, settings.data_dir / "locks")
    with pytest.raises(DeliveryFailed, match="OUTPAINT_OUTPUT_DIR"):
        results.deliver(add(journal), WHOLE, outcome)
    assert outcome.path.exists()


def test_a_data_folder_that_cannot_be_written_to_is_told(
    journal: Journal, outcome: Outcome, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    results = OutputFolder(journal, settings.output_dir, tmp_path / "file" / "locks")
    with pytest.raises(StorageFailed, match="nothing is lost"):
        results.deliver(add(journal), WHOLE, outcome)


def test_a_target_is_used_with_the_formats_own_suffix(
    results: OutputFolder, journal: Journal, outcome: Outcome, tmp_path: Path
) -> None:
    delivery = results.deliver(add(journal), WHOLE, outcome, tmp_path / "new folder" / "my name.mp3")
    assert Path(delivery.path) == tmp_path / "new folder" / "my name.flac"


def test_a_target_that_is_taken_is_refused_and_another_may_be_given(
    results: OutputFolder, journal: Journal, outcome: Outcome, tmp_path: Path
) -> None:
    request_id = add(journal)
    (tmp_path / "taken.flac").write_text("the person's own")
    with pytest.raises(DeliveryFailed, match=r"taken.*nothing is overwritten"):
        results.deliver(request_id, WHOLE, outcome, tmp_path / "taken.wav")
    assert (tmp_path / "taken.flac").read_text() == "the person's own"
    assert Path(results.deliver(request_id, WHOLE, outcome, tmp_path / "free.wav").path).read_bytes() == MADE


def test_a_delivered_file_that_is_gone_is_told(
    results: OutputFolder, journal: Journal, outcome: Outcome
) -> None:
    delivery = results.deliver(add(journal), WHOLE, outcome)
    results.find(delivery, is_paid=False)
    Path(delivery.path).unlink()
    with pytest.raises(DeliveryFailed, match=r"moved or deleted since\. Submit again with seed 7"):
        results.find(delivery, is_paid=False)
    with pytest.raises(DeliveryFailed, match=r"submitting again, with seed 7, is paid for again"):
        results.find(delivery, is_paid=True)


def test_a_delivered_file_is_put_at_another_place_too_but_over_nothing(
    results: OutputFolder, journal: Journal, outcome: Outcome, tmp_path: Path
) -> None:
    request_id = add(journal)
    delivery = results.deliver(request_id, WHOLE, outcome)
    copied = results.copy(request_id, delivery, tmp_path / "again.mp3")
    assert Path(copied.path) == tmp_path / f"again{outcome.path.suffix}"
    assert Path(copied.path).read_bytes() == Path(delivery.path).read_bytes() == MADE
    with pytest.raises(DeliveryFailed, match="nothing is overwritten"):
        results.copy(request_id, delivery, tmp_path / "again.wav")
    assert results.copy(request_id, delivery, Path(delivery.path)) == delivery
