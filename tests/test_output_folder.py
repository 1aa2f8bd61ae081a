"""The way into the output folder: a name a person understands, never half written, nothing overwritten."""

from __future__ import annotations

import dataclasses
import errno
import os
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest
from filelock import FileLock
from tests.deliveries import add_completed, add_request, outcome_at

from outpaint_mcp.errors import DeliveryFailed, Hint, ServerStopping, StorageFailed
from outpaint_mcp.export_options import ExportOptions
from outpaint_mcp.service.file_names import new_part
from outpaint_mcp.service.output_folder import OutputFolder

if TYPE_CHECKING:
    from collections.abc import Callable

    from outpaint_mcp.config import Settings
    from outpaint_mcp.results import Outcome
    from outpaint_mcp.storage.journal import Journal
    from outpaint_mcp.storage.store import Store

CONTENT = b"an extended file"
WHOLE = ExportOptions()


@pytest.fixture
def journal(store: Store) -> Journal:
    return store.journal


@pytest.fixture
def folder(journal: Journal, settings: Settings) -> OutputFolder:
    return OutputFolder(journal, settings)


@pytest.fixture
def outcome(tmp_path: Path) -> Outcome:
    return outcome_at(tmp_path / "output.flac", CONTENT)


def refuse(*_: object) -> NoReturn:
    raise OSError(errno.EPERM, "not here")


def placed(folder: OutputFolder, request_id: str, outcome: Outcome) -> str:
    return Path(folder.deliver(request_id, WHOLE, outcome).path).name


def test_the_extended_file_is_put_into_the_output_folder_and_recorded(
    folder: OutputFolder, store: Store, outcome: Outcome, settings: Settings
) -> None:
    request_id = add_completed(store, outcome)
    delivery = folder.deliver(request_id, WHOLE, outcome)
    path = settings.output_dir / "song, extended 10s before and 20s after.flac"
    assert Path(delivery.path) == path
    assert path.read_bytes() == CONTENT
    assert store.journal.get(request_id).delivery == delivery
    assert (delivery.sha256, delivery.size_bytes, delivery.seed) == (outcome.sha256, len(CONTENT), 7)
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
    folder: OutputFolder, journal: Journal, outcome: Outcome, before: float, after: float, name: str
) -> None:
    assert placed(folder, add_request(journal, "song", before, after), outcome) == name


def test_a_chain_of_extensions_adds_up_under_the_first_title(
    folder: OutputFolder, journal: Journal, outcome: Outcome
) -> None:
    first = add_request(journal, "song", 0, 30)
    second = add_request(journal, "song", 5, 30, first)
    third = add_request(journal, "song", 0.5, 0, second)
    assert placed(folder, first, outcome) == "song, extended 30s after.flac"
    assert placed(folder, second, outcome) == "song, extended 5s before and 60s after.flac"
    assert placed(folder, third, outcome) == "song, extended 5.5s before and 60s after.flac"


def test_the_name_says_what_was_really_added_not_what_was_asked(
    folder: OutputFolder, store: Store, outcome: Outcome
) -> None:
    shorter = dataclasses.replace(outcome, before_seconds=9.5, after_seconds=17.05)
    request_id = add_completed(store, shorter)  # asked: 10 and 20
    assert placed(folder, request_id, shorter) == "song, extended 9.5s before and 17.05s after.flac"
    part = folder.deliver(request_id, ExportOptions(part="after"), shorter)
    assert Path(part.path).name == "song, 17.05s after.flac"


def test_what_was_cut_away_of_an_earlier_extension_is_not_counted_as_added(
    folder: OutputFolder, store: Store, outcome: Outcome
) -> None:
    first = add_completed(store, outcome)  # 40 s, of which 10 before and 20 after
    whole = dataclasses.replace(outcome, duration_seconds=70)  # 40 s and again 10 and 20
    second = add_completed(store, whole, parent=first)
    carried_on = dataclasses.replace(outcome, duration_seconds=60)  # of 70 s, 30 are left
    third = add_completed(store, carried_on, parent=second)
    assert placed(folder, second, whole) == "song, extended 20s before and 40s after.flac"
    assert placed(folder, third, carried_on) == "song, extended 10s before and 20s after.flac"


def test_delivering_again_finds_the_first_delivery(
    folder: OutputFolder, store: Store, outcome: Outcome, settings: Settings
) -> None:
    request_id = add_completed(store, outcome)
    first = folder.deliver(request_id, WHOLE, outcome)
    outcome.path.unlink()
    assert folder.deliver(request_id, WHOLE, outcome) == first
    assert len(list(settings.output_dir.iterdir())) == 1


def test_another_take_gets_a_number(folder: OutputFolder, journal: Journal, outcome: Outcome) -> None:
    names = [placed(folder, add_request(journal, after=0), outcome) for _ in range(3)]
    assert names == [
        "song, extended 10s before.flac",
        "song, extended 10s before (2).flac",
        "song, extended 10s before (3).flac",
    ]


@pytest.mark.parametrize("kind", ["file", "folder", "dangling link"])
def test_whatever_lies_there_already_stays_as_it_is(
    folder: OutputFolder, journal: Journal, outcome: Outcome, settings: Settings, kind: str
) -> None:
    settings.output_dir.mkdir()
    there = settings.output_dir / "song, extended 10s before.flac"
    if kind == "file":
        there.write_text("the person's own")
    elif kind == "folder":
        there.mkdir()
    else:
        there.symlink_to(settings.output_dir / "gone")
    assert placed(folder, add_request(journal, after=0), outcome) == "song, extended 10s before (2).flac"
    if kind == "file":
        assert there.read_text() == "the person's own"
    assert not (settings.output_dir / "gone").exists()


def test_a_file_that_was_in_place_when_the_server_was_killed_is_found_there(
    folder: OutputFolder, journal: Journal, outcome: Outcome, settings: Settings
) -> None:
    request_id = add_request(journal)
    settings.output_dir.mkdir()
    there = settings.output_dir / "somewhere.flac"
    there.write_bytes(CONTENT)
    journal.plan_delivery(request_id, WHOLE, there)
    assert folder.deliver(request_id, WHOLE, outcome).path == str(there)
    assert list(settings.output_dir.iterdir()) == [there]


def test_somebody_elses_file_at_the_planned_place_is_not_taken_for_ours(
    folder: OutputFolder, journal: Journal, outcome: Outcome, settings: Settings
) -> None:
    request_id = add_request(journal, after=0)
    settings.output_dir.mkdir()
    there = settings.output_dir / "song, extended 10s before.flac"
    there.write_bytes(b"x" * len(CONTENT))
    journal.plan_delivery(request_id, WHOLE, there)
    assert placed(folder, request_id, outcome) == "song, extended 10s before (2).flac"
    assert there.read_bytes() == b"x" * len(CONTENT)


def test_a_plan_that_came_to_nothing_is_replaced(
    folder: OutputFolder, journal: Journal, outcome: Outcome, settings: Settings
) -> None:
    request_id = add_request(journal, after=0)
    journal.plan_delivery(request_id, WHOLE, settings.output_dir / "never written.flac")
    assert placed(folder, request_id, outcome) == "song, extended 10s before.flac"


def test_editing_the_delivered_file_in_place_leaves_the_stored_one_as_it_is(
    folder: OutputFolder, journal: Journal, outcome: Outcome
) -> None:
    delivered = Path(folder.deliver(add_request(journal), WHOLE, outcome).path)
    with delivered.open("r+b") as file:
        file.write(b"X")
    assert outcome.path.read_bytes() == CONTENT
    assert delivered.stat().st_nlink == outcome.path.stat().st_nlink == 1


@pytest.mark.parametrize("content", [b"x" * len(CONTENT), CONTENT[:-1], b""])
def test_a_stored_file_that_was_changed_is_not_delivered(
    folder: OutputFolder, journal: Journal, outcome: Outcome, settings: Settings, content: bytes
) -> None:
    request_id = add_request(journal)
    outcome.path.write_bytes(content)
    with pytest.raises(DeliveryFailed, match="changed or damaged") as caught:
        folder.deliver(request_id, WHOLE, outcome)
    assert (caught.value.hint, caught.value.request_id) == (Hint.SUBMIT_AGAIN, request_id)
    assert list(settings.output_dir.iterdir()) == []
    assert journal.get(request_id).delivery is None


def test_without_hard_links_a_whole_copy_is_put_there(
    folder: OutputFolder,
    journal: Journal,
    outcome: Outcome,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "link", refuse)
    delivery = folder.deliver(add_request(journal), WHOLE, outcome)
    assert Path(delivery.path).read_bytes() == CONTENT
    assert list(settings.output_dir.iterdir()) == [Path(delivery.path)]
    assert outcome.path.read_bytes() == CONTENT


def test_without_hard_links_a_move_that_fails_leaves_nothing_behind(
    folder: OutputFolder,
    journal: Journal,
    outcome: Outcome,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(DeliveryFailed, match="not here"):
        folder.deliver(add_request(journal), WHOLE, outcome)
    assert list(settings.output_dir.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
def test_nothing_but_our_own_empty_file_is_removed_from_a_planned_place(
    folder: OutputFolder, journal: Journal, outcome: Outcome, settings: Settings
) -> None:
    request_id = add_request(journal)
    settings.output_dir.mkdir(parents=True, exist_ok=True)
    planned = settings.output_dir / "planned.wav"
    os.mkfifo(planned)
    new_part(planned, request_id, WHOLE).touch()
    journal.plan_delivery(request_id, WHOLE, planned)
    assert folder.deliver(request_id, WHOLE, outcome).path != str(planned)
    assert planned.is_fifo()


def test_an_empty_file_of_somebody_else_at_a_planned_place_is_left_alone(
    folder: OutputFolder, journal: Journal, outcome: Outcome, settings: Settings
) -> None:
    request_id = add_request(journal)
    settings.output_dir.mkdir(parents=True, exist_ok=True)
    planned = settings.output_dir / "planned.wav"
    planned.touch()
    journal.plan_delivery(request_id, WHOLE, planned)
    assert folder.deliver(request_id, WHOLE, outcome).path != str(planned)
    assert planned.read_bytes() == b""


@pytest.mark.skipif(not hasattr(os, "copy_file_range"), reason="Linux copies inside the kernel")
@pytest.mark.parametrize("copied_bytes", [0, 5])
def test_what_the_kernel_does_not_copy_is_copied_by_hand(
    folder: OutputFolder,
    journal: Journal,
    outcome: Outcome,
    monkeypatch: pytest.MonkeyPatch,
    copied_bytes: int,
) -> None:
    copy, calls = os.copy_file_range, 0

    def give_up(source: int, target: int, count: int) -> int:
        nonlocal calls
        calls += 1
        if calls > copied_bytes:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        return copy(source, target, min(count, 1))

    monkeypatch.setattr(os, "copy_file_range", give_up)
    assert Path(folder.deliver(add_request(journal), WHOLE, outcome).path).read_bytes() == CONTENT


@pytest.mark.parametrize("link", [os.link, refuse], ids=["hard links", "no hard links"])
def test_a_file_that_appears_in_the_last_moment_is_not_overwritten(
    folder: OutputFolder,
    journal: Journal,
    outcome: Outcome,
    monkeypatch: pytest.MonkeyPatch,
    link: Callable[[Path, Path], None],
) -> None:
    def be_second(source: Path, target: Path) -> None:
        if "(2)" not in target.name:
            target.write_text("the person's own")
        link(source, target)

    monkeypatch.setattr(os, "link", be_second)
    delivered = Path(folder.deliver(add_request(journal, after=0), WHOLE, outcome).path)
    assert delivered.name == "song, extended 10s before (2).flac"
    assert (delivered.parent / "song, extended 10s before.flac").read_text() == "the person's own"


def test_a_full_disk_leaves_nothing_half_written_and_the_result_waits(
    folder: OutputFolder,
    journal: Journal,
    outcome: Outcome,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def be_full(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    request_id = add_request(journal)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", be_full)
        with pytest.raises(DeliveryFailed, match=r"No space left.*Free up space") as caught:
            folder.deliver(request_id, WHOLE, outcome)
    assert caught.value.hint is Hint.GET_RESULT
    assert list(settings.output_dir.iterdir()) == []
    assert journal.get(request_id).delivery is None
    assert Path(folder.deliver(request_id, WHOLE, outcome).path).read_bytes() == CONTENT


@pytest.mark.parametrize("place", ["file", "below a file"])
def test_an_output_folder_that_is_none_is_refused_with_what_to_do(
    journal: Journal, outcome: Outcome, settings: Settings, tmp_path: Path, place: str
) -> None:
    (tmp_path / "file").touch()
    output_dir = tmp_path / "file" if place == "file" else tmp_path / "file" / "folder"
    folder = OutputFolder(journal, dataclasses.replace(settings, output_dir=output_dir))
    with pytest.raises(DeliveryFailed, match="OUTPAINT_OUTPUT_DIR"):
        folder.deliver(add_request(journal), WHOLE, outcome)
    assert outcome.path.exists()


def test_a_data_folder_that_cannot_be_written_to_is_reported(
    journal: Journal, outcome: Outcome, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    folder = OutputFolder(journal, dataclasses.replace(settings, data_dir=tmp_path / "file"))
    with pytest.raises(StorageFailed, match="nothing is lost"):
        folder.deliver(add_request(journal), WHOLE, outcome)


def test_a_target_is_used_with_the_formats_own_suffix(
    folder: OutputFolder, journal: Journal, outcome: Outcome, tmp_path: Path
) -> None:
    delivery = folder.deliver(add_request(journal), WHOLE, outcome, tmp_path / "new folder" / "my name.mp3")
    assert Path(delivery.path) == tmp_path / "new folder" / "my name.flac"


def test_a_target_that_is_taken_is_refused_and_another_may_be_given(
    folder: OutputFolder, journal: Journal, outcome: Outcome, tmp_path: Path
) -> None:
    request_id = add_request(journal)
    (tmp_path / "taken.flac").write_text("the person's own")
    with pytest.raises(DeliveryFailed, match=r"taken.*nothing is overwritten"):
        folder.deliver(request_id, WHOLE, outcome, tmp_path / "taken.wav")
    assert (tmp_path / "taken.flac").read_text() == "the person's own"
    assert (
        Path(folder.deliver(request_id, WHOLE, outcome, tmp_path / "free.wav").path).read_bytes() == CONTENT
    )


def test_a_target_folder_that_cannot_be_used_may_be_replaced_by_another(
    folder: OutputFolder, journal: Journal, outcome: Outcome, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DeliveryFailed, match="choose another folder") as caught:
        folder.deliver(add_request(journal), WHOLE, outcome, tmp_path / "file" / "my name.flac")
    assert caught.value.hint is Hint.CHOOSE_ANOTHER_PLACE
    assert "OUTPAINT_OUTPUT_DIR" not in str(caught.value)


def test_a_delivered_file_that_is_gone_is_reported(
    folder: OutputFolder, journal: Journal, outcome: Outcome
) -> None:
    request_id = add_request(journal)
    delivery = folder.deliver(request_id, WHOLE, outcome)
    folder.check_exists(request_id, delivery, is_paid=False)
    Path(delivery.path).unlink()
    with pytest.raises(DeliveryFailed, match=r"moved or deleted since\. Restore it, or .* with seed 7"):
        folder.check_exists(request_id, delivery, is_paid=False)
    with pytest.raises(
        DeliveryFailed, match=r"generating it again \(seed 7\) would be charged again"
    ) as caught:
        folder.check_exists(request_id, delivery, is_paid=True)
    assert (caught.value.hint, caught.value.path) == (None, delivery.path)


def test_a_delivery_that_cannot_be_repeated_is_still_known(
    folder: OutputFolder, journal: Journal, outcome: Outcome
) -> None:
    request_id = add_request(journal)
    delivery = folder.deliver(request_id, WHOLE, outcome)
    Path(delivery.path).unlink()
    outcome.path.write_bytes(CONTENT[::-1])
    with pytest.raises(DeliveryFailed, match="changed or damaged"):
        folder.deliver(request_id, WHOLE, outcome)
    left = journal.get(request_id).delivery
    assert left is not None
    assert (left.path, left.delivered_at) == (delivery.path, delivery.delivered_at)
    outcome.path.write_bytes(CONTENT)
    assert folder.deliver(request_id, WHOLE, outcome).path == delivery.path


def test_a_delivered_file_is_put_at_another_place_too_but_over_nothing(
    folder: OutputFolder, journal: Journal, outcome: Outcome, tmp_path: Path
) -> None:
    request_id = add_request(journal)
    delivery = folder.deliver(request_id, WHOLE, outcome)
    copied = folder.copy(request_id, WHOLE, delivery, tmp_path / "again.mp3")
    assert Path(copied.path) == tmp_path / f"again{outcome.path.suffix}"
    assert Path(copied.path).read_bytes() == Path(delivery.path).read_bytes() == CONTENT
    assert not Path(copied.path).samefile(delivery.path)
    (tmp_path / "taken.flac").write_text("the person's own")
    with pytest.raises(DeliveryFailed, match="nothing is overwritten") as caught:
        folder.copy(request_id, WHOLE, delivery, tmp_path / "taken.wav")
    assert caught.value.hint is Hint.CHOOSE_ANOTHER_PLACE
    assert (tmp_path / "taken.flac").read_text() == "the person's own"
    assert folder.copy(request_id, WHOLE, delivery, Path(delivery.path)) == delivery


def test_a_copy_that_is_there_already_is_found_there(
    folder: OutputFolder, journal: Journal, outcome: Outcome, tmp_path: Path
) -> None:
    request_id = add_request(journal)
    delivery = folder.deliver(request_id, WHOLE, outcome)
    first, again = [folder.copy(request_id, WHOLE, delivery, tmp_path / "again.wav") for _ in range(2)]
    assert first == again
    assert sorted(path.name for path in tmp_path.glob("*again*")) == ["again.flac"]


def test_a_delivered_file_that_was_changed_is_not_copied_as_the_result(
    folder: OutputFolder, journal: Journal, outcome: Outcome, tmp_path: Path
) -> None:
    request_id = add_request(journal)
    delivery = folder.deliver(request_id, WHOLE, outcome)
    assert folder.is_unchanged(delivery)
    Path(delivery.path).write_bytes(CONTENT + b"X")
    assert not folder.is_unchanged(delivery)
    with pytest.raises(DeliveryFailed, match="changed after it was delivered") as caught:
        folder.copy(request_id, WHOLE, delivery, tmp_path / "again.wav")
    assert (caught.value.request_id, caught.value.path) == (request_id, delivery.path)
    assert not list(tmp_path.glob("*again*"))


@pytest.mark.skipif(not hasattr(os, "copy_file_range"), reason="it is stopped inside the kernel's copy")
@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
def test_a_pipe_or_a_link_in_the_place_of_a_result_is_neither_read_nor_copied(
    folder: OutputFolder, journal: Journal, outcome: Outcome, tmp_path: Path
) -> None:
    request_id = add_request(journal)
    delivery = folder.deliver(request_id, WHOLE, outcome)
    place = Path(delivery.path)
    same = place.rename(tmp_path / "same.wav")
    for put in (partial(os.mkfifo, place), partial(place.symlink_to, same)):
        put()
        assert not folder.is_unchanged(delivery)
        with pytest.raises(DeliveryFailed, match="changed"):
            folder.copy(request_id, WHOLE, delivery, tmp_path / "copy.wav")
        assert not (tmp_path / "copy.wav").exists()
        place.unlink()


def test_a_delivery_is_stopped_midway_and_leaves_nothing(
    folder: OutputFolder,
    journal: Journal,
    outcome: Outcome,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copy = os.copy_file_range

    def stop(source: int, target: int, _count: int) -> int:
        folder.stop()
        return copy(source, target, 3)

    monkeypatch.setattr(os, "copy_file_range", stop)
    request_id = add_request(journal)
    with pytest.raises(ServerStopping, match="Nothing is lost") as caught:
        folder.deliver(request_id, WHOLE, outcome)
    assert caught.value.hint is Hint.GET_RESULT
    assert list(settings.output_dir.iterdir()) == []
    assert list((settings.data_dir / "locks").iterdir()) == []
    another = OutputFolder(journal, settings)
    monkeypatch.undo()
    assert Path(another.deliver(request_id, WHOLE, outcome).path).read_bytes() == CONTENT


def test_locks_and_parts_of_servers_that_were_killed_are_removed(
    folder: OutputFolder, settings: Settings
) -> None:
    locks, output = settings.data_dir / "locks", settings.output_dir
    output.mkdir()
    locks.mkdir(parents=True)
    left, held = locks / "op_1.lock", locks / "op_2.lock"
    for path in (left, output / ".op_1.whole-source.part", output / ".op_2.whole-source.part"):
        path.touch()
    os.utime(output / ".op_1.whole-source.part", (0, 0))
    (output / "my.part").touch()
    os.utime(output / "my.part", (0, 0))
    with FileLock(held):
        folder.tidy()
        assert list(locks.iterdir()) == [held]
    assert sorted(path.name for path in output.iterdir()) == [".op_2.whole-source.part", "my.part"]


def test_what_was_half_written_beside_a_file_that_somebody_named_is_removed_after_a_day(
    folder: OutputFolder, journal: Journal, tmp_path: Path
) -> None:
    parts = []
    for number in range(2):
        place, request_id = tmp_path / f"named {number}.flac", add_request(journal)
        journal.plan_delivery(request_id, WHOLE, place)
        parts.append(new_part(place, request_id, WHOLE))
        parts[-1].touch()
    old, new = parts
    os.utime(old, (0, 0))
    folder.tidy()
    assert (old.exists(), new.exists()) == (False, True)


def test_what_another_process_is_delivering_is_waited_for_but_not_for_ever(
    journal: Journal, outcome: Outcome, settings: Settings
) -> None:
    locks = settings.data_dir / "locks"
    folder = OutputFolder(journal, settings, lock_seconds=0.1)
    request_id = add_request(journal)
    with FileLock(locks / f"{request_id}.whole-source.lock"):
        began = time.monotonic()
        with pytest.raises(DeliveryFailed, match="Another process") as caught:
            folder.deliver(request_id, WHOLE, outcome)
        assert time.monotonic() - began >= 0.1
        assert caught.value.hint is Hint.GET_RESULT
        mp3 = ExportOptions(format="mp3")
        assert folder.deliver(request_id, mp3, outcome).path  # another form of it waits for nobody
    assert folder.deliver(request_id, WHOLE, outcome).path
