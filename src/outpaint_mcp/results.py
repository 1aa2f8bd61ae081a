"""Putting a longer file where the person finds it: never half written, never over another file."""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from outpaint_mcp.errors import DeliveryFailed
from outpaint_mcp.journal import Delivery

if TYPE_CHECKING:
    from collections.abc import Iterator

    from outpaint_mcp.journal import Entry, Journal
    from outpaint_mcp.provider import Outcome


class Results:
    """The way of finished files from the provider's keeping into the output folder."""

    def __init__(self, journal: Journal, output_dir: Path, locks: Path) -> None:
        self._journal = journal
        self._output_dir = output_dir
        self._locks = locks

    def deliver(self, request_id: str, outcome: Outcome, target: Path | None = None) -> Delivery:
        """Put a file in its place and write down where; the second call finds the first one's.

        Raises:
            DeliveryFailed: the folder cannot be written to, or something lies at `target`.
        """
        self._locks.mkdir(parents=True, exist_ok=True)
        lock = self._locks / f"{request_id}.lock"
        with FileLock(lock):
            entry = self._journal.get(request_id)
            if entry.delivery is not None:
                return entry.delivery
            delivery = Delivery(
                path=str(self._place(entry, outcome, target)),
                sha256=outcome.sha256,
                size_bytes=outcome.size_bytes,
                duration_seconds=outcome.duration_seconds,
                before_seconds=outcome.before_seconds,
                after_seconds=outcome.after_seconds,
                seed=outcome.seed,
                note=outcome.note,
            )
            self._journal.deliver(request_id, delivery)
            lock.unlink(missing_ok=True)  # whoever comes later finds the delivery in the journal
            return delivery

    def find(self, delivery: Delivery) -> None:
        """Check that a delivered file is still where it was put.

        Raises:
            DeliveryFailed: it is not.
        """
        if not Path(delivery.path).is_file():
            raise DeliveryFailed(
                f"The longer file was put at {delivery.path}, but has been moved or deleted since."
                f" Submit again with seed {delivery.seed} for the same take."
            )

    def _place(self, entry: Entry, outcome: Outcome, target: Path | None) -> Path:
        """Put the file into the folder, or find it there if a server was killed right after it did."""
        if entry.planned_path is not None:
            planned = Path(entry.planned_path)
            if _is_same_file(planned, size_bytes=outcome.size_bytes, sha256=outcome.sha256):
                return planned
        for path in self._places(entry, outcome, target):
            if path.exists():
                continue
            self._journal.plan_delivery(entry.request_id, path)
            with suppress(FileExistsError):
                _put(outcome.path, path)
                return path
        raise DeliveryFailed(
            f"Something lies at {target} already, and nothing is overwritten. Give another name;"
            " the longer file is ready and waits."
        )

    def _places(self, entry: Entry, outcome: Outcome, target: Path | None) -> Iterator[Path]:
        """Propose places for a file, in the order in which a person would look for it."""
        suffix = outcome.path.suffix
        if target is not None:
            yield target.with_suffix(suffix)
            return
        name = _name_of_result(entry.title, *self._total_added(entry))
        yield self._output_dir / f"{name}{suffix}"
        for number in itertools.count(2):
            yield self._output_dir / f"{name} ({number}){suffix}"

    def _total_added(self, entry: Entry) -> tuple[float, float]:
        """Return the seconds added on each side since the first source of a chain."""
        before, after = entry.extend_before_duration, entry.extend_after_duration
        while entry.parent_request_id is not None:
            entry = self._journal.get(entry.parent_request_id)
            before += entry.extend_before_duration
            after += entry.extend_after_duration
        return before, after


def _name_of_result(title: str, before_seconds: float, after_seconds: float) -> str:
    """Name the longer file after its source and what was added, without a suffix."""
    added = [
        f"{seconds:.4g}s {side}"
        for seconds, side in ((before_seconds, "before"), (after_seconds, "after"))
        if seconds
    ]
    return f"{title}, extended {' and '.join(added)}"


def _put(source: Path, target: Path) -> None:
    """Bring a finished file to its place in one step, leaving the one at `source` alone.

    Raises:
        FileExistsError: something is there already.
        DeliveryFailed: the folder cannot be written to, or the disk is full.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except FileExistsError:
            raise
        except OSError:
            _copy(source, target)
    except FileExistsError:
        raise
    except OSError as exc:
        raise DeliveryFailed(
            f"The longer file is ready, but could not be put into {target.parent}: {exc.strerror or exc}."
            " Make room or set OUTPAINT_OUTPUT_DIR to a folder that can be written to, then call"
            " get_outpaint_result again; nothing is lost."
        ) from exc


def _copy(source: Path, target: Path) -> None:
    """Put a copy there, for folders on another disk or without hard links."""
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with source.open("rb") as reader, part.open("wb") as writer:
            shutil.copyfileobj(reader, writer, 1 << 20)
            writer.flush()
            os.fsync(writer.fileno())
        try:
            os.link(part, target)
        except FileExistsError:
            raise
        except OSError:  # no hard links here (exFAT, some network disks): the next best thing
            if target.exists():
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
            part.rename(target)
    finally:
        with suppress(OSError):
            part.unlink()


def _is_same_file(path: Path, *, size_bytes: int, sha256: str) -> bool:
    """Whether the file at `path` is the very one that was made."""
    try:
        if path.stat().st_size != size_bytes:
            return False
        with path.open("rb") as reader:
            return hashlib.file_digest(reader, "sha256").hexdigest() == sha256
    except OSError:
        return False
