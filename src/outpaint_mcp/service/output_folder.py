"""Putting a longer file where the person finds it: never half written, never over another file."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import os
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from outpaint_mcp.errors import DeliveryFailed, RequestNotFound, StorageFailed
from outpaint_mcp.storage.records import Delivery

if TYPE_CHECKING:
    from collections.abc import Iterator

    from outpaint_mcp.results import ExportOptions, Outcome
    from outpaint_mcp.storage.journal import Journal
    from outpaint_mcp.storage.records import RequestRecord


# What people call an audio file; any other dot in a name belongs to it.
_AUDIO_SUFFIXES = {".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac", ".aif", ".aiff"}

# Another process puts a file into its place in a moment, or copies it to a slow disk in a few.
_LOCK_SECONDS = 20.0


class OutputFolder:
    """The way of finished files from the provider's keeping into the output folder."""

    def __init__(self, journal: Journal, output_dir: Path, locks: Path) -> None:
        self._journal = journal
        self._output_dir = output_dir
        self._locks = locks

    def deliver(
        self, request_id: str, options: ExportOptions, outcome: Outcome, target: Path | None = None
    ) -> Delivery:
        """Put an edition in its place and write down where; the second call finds the first one's.

        Raises:
            DeliveryFailed: the folder cannot be written to, or something lies at `target`.
            StorageFailed: the data folder cannot be written to.
        """
        with self._alone_with(request_id):
            record = self._journal.get(request_id)
            if (delivered := record.deliveries.get(str(options))) is not None:
                return delivered
            delivery = Delivery(
                path=str(self._place(record, options, outcome, target)),
                sha256=outcome.sha256,
                size_bytes=outcome.size_bytes,
                duration_seconds=outcome.duration_seconds,
                before_seconds=outcome.before_seconds,
                after_seconds=outcome.after_seconds,
                seed=outcome.seed,
                note=outcome.note,
                url=outcome.url,
                verdict=outcome.verdict,
            )
            return self._journal.deliver(request_id, options, delivery)

    @contextmanager
    def _alone_with(self, request_id: str) -> Iterator[None]:
        """Keep other processes from delivering the same request."""
        path = self._locks / f"{request_id}.lock"
        try:
            self._locks.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = FileLock(path)
            lock.acquire(timeout=_LOCK_SECONDS)
        except Timeout as exc:
            raise DeliveryFailed(
                "Another process is just putting the longer file into its place. Call get_outpaint_result again."
            ) from exc
        except OSError as exc:
            raise StorageFailed(
                f"The longer file is ready, but {self._locks.parent} cannot be used: {exc.strerror or exc}."
                " Make room or mend its permissions, then call get_outpaint_result again; nothing is lost."
            ) from exc
        try:
            yield
            with suppress(OSError):  # whoever waits for it finds the delivery in the journal
                path.unlink()
        finally:
            lock.release()

    def tidy(self) -> None:
        """Throw away the locks of deliveries whose server was killed before it could."""
        for lock in self._locks.glob("*.lock"):
            with suppress(RequestNotFound, OSError):
                if not self._journal.get(lock.stem).planned_paths:
                    lock.unlink()

    def find(self, delivery: Delivery, *, is_paid: bool) -> None:
        """Check that a delivered file is still where it was put.

        Args:
            delivery: as it was written down.
            is_paid: whether another would cost money.

        Raises:
            DeliveryFailed: it is not.
        """
        if not Path(delivery.path).is_file():
            again = (
                f"Have it put back: submitting again, with seed {delivery.seed}, is paid for again."
                if is_paid
                else f"Submit again with seed {delivery.seed} for the same take."
            )
            raise DeliveryFailed(
                f"The longer file was put at {delivery.path}, but has been moved or deleted since. {again}"
            )

    def copy(self, request_id: str, delivery: Delivery, target: Path) -> Delivery:
        """Put a delivered file at another place, too.

        Raises:
            DeliveryFailed: something lies there, or nothing can be written there.
        """
        source = Path(delivery.path)
        place = target / source.name if target.is_dir() else place_at(target, source.suffix)
        if place == source:
            return delivery
        try:
            _copy(source, place, _part_of(place, request_id))
        except FileExistsError as exc:
            raise DeliveryFailed(f"Something lies at {place} already, and nothing is overwritten.") from exc
        except OSError as exc:
            raise DeliveryFailed(
                f"The longer file is at {source}, but could not be put at {place}: {exc.strerror or exc}."
            ) from exc
        return dataclasses.replace(delivery, path=str(place))

    def _place(
        self, record: RequestRecord, options: ExportOptions, outcome: Outcome, target: Path | None
    ) -> Path:
        """Put the file into the folder, or find it there if a server was killed right after it did."""
        if str(options) in record.planned_paths:
            planned = Path(record.planned_paths[str(options)])
            with suppress(OSError):
                _part_of(planned, record.request_id).unlink()
                if not planned.stat().st_size:  # its name was claimed, but the file not yet brought
                    planned.unlink()
            if _is_same_file(planned, size_bytes=outcome.size_bytes, sha256=outcome.sha256):
                return planned
        for path in self._places(record, options, outcome, target):
            if os.path.lexists(path):  # unlike pathlib's, never raises
                continue
            self._journal.plan_delivery(record.request_id, options, path)
            with suppress(FileExistsError):
                _put(outcome.path, path, _part_of(path, record.request_id))
                return path
        raise DeliveryFailed(
            f"Something lies at {path} already, and nothing is overwritten. The longer file is ready and"
            f" waits: outpaint-mcp get {record.request_id} --output ANOTHER_NAME."
        )

    def _places(
        self, record: RequestRecord, options: ExportOptions, outcome: Outcome, target: Path | None
    ) -> Iterator[Path]:
        """Propose places for a file, in the order in which a person would look for it."""
        suffix = outcome.path.suffix
        if target is not None and not target.is_dir():
            yield place_at(target, suffix)
            return
        folder = target or self._output_dir
        name = self._name(record, options)
        yield folder / f"{name}{suffix}"
        for number in itertools.count(2):
            yield folder / f"{name} ({number}){suffix}"

    def _name(self, record: RequestRecord, options: ExportOptions) -> str:
        """Name a file after its source and what was added, without a suffix."""
        if options.part == "whole":
            name = f"{record.title}, extended {_added(*self._total_added(record))}"
        else:
            name = f"{record.title}, {getattr(record, f'extend_{options.part}_duration'):.4g}s {options.part}"
        if record.takes > 1:
            takes = self._journal.takes(record.take_of or record.request_id)
            name += f", take {[take.request_id for take in takes].index(record.request_id) + 1}"
        return name if options.restore_source else f"{name}, as made"

    def _total_added(self, record: RequestRecord) -> tuple[float, float]:
        """Return the seconds added on each side since the first source of a chain."""
        before, after = record.extend_before_duration, record.extend_after_duration
        while record.parent_request_id is not None:
            record = self._journal.get(record.parent_request_id)
            before += record.extend_before_duration
            after += record.extend_after_duration
        return before, after


def place_at(target: Path, suffix: str) -> Path:
    """A place that was asked for, with the suffix that the file has."""
    is_audio = target.suffix.lower() in _AUDIO_SUFFIXES
    return target.with_suffix(suffix) if is_audio else target.with_name(target.name + suffix)


def _added(before_seconds: float, after_seconds: float) -> str:
    sides = ((before_seconds, "before"), (after_seconds, "after"))
    return " and ".join(f"{seconds:.4g}s {side}" for seconds, side in sides if seconds)


def _part_of(target: Path, request_id: str) -> Path:
    """Name the file that holds a copy until it is whole; whoever delivers next finds it if this one is killed."""
    return target.with_name(f".{request_id}.part")


def _put(source: Path, target: Path, part: Path) -> None:
    """Bring a finished file to its place in one step, leaving the one at `source` alone.

    Raises:
        FileExistsError: something is there already.
        DeliveryFailed: the folder cannot be written to, or the disk is full.
    """
    try:
        with suppress(FileExistsError):  # a file in the folder's place: the next step fails on it
            target.parent.mkdir(parents=True, exist_ok=True)
        if not _link(source, target):  # another disk, or one without hard links
            _copy(source, target, part)
        _sync_folder(target.parent)  # the provider's own copy goes next
    except FileExistsError:
        raise
    except OSError as exc:
        raise DeliveryFailed(
            f"The longer file is ready, but could not be put into {target.parent}: {exc.strerror or exc}."
            " Make room or set OUTPAINT_OUTPUT_DIR to a folder that can be written to, then call"
            " get_outpaint_result again; nothing is lost."
        ) from exc


def _link(source: Path, target: Path) -> bool:
    """Give a file a second name; False where the disk cannot."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:
        return False
    return True


def _copy(source: Path, target: Path, part: Path) -> None:
    try:
        with source.open("rb") as reader, part.open("wb") as writer:
            shutil.copyfileobj(reader, writer, 1 << 20)
            writer.flush()
            os.fsync(writer.fileno())
        if not _link(part, target):
            target.open("xb").close()  # the name is ours, or somebody else's
            part.replace(target)
    finally:
        with suppress(OSError):
            part.unlink()


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # Windows has no such thing
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _is_same_file(path: Path, *, size_bytes: int, sha256: str) -> bool:
    """Whether the file at `path` is the very one that was made."""
    try:
        if path.stat().st_size != size_bytes:
            return False
        with path.open("rb") as reader:
            return hashlib.file_digest(reader, "sha256").hexdigest() == sha256
    except OSError:
        return False
