"""Putting a finished file where the person finds it: once, under a name that says what it is, over no other file."""

from __future__ import annotations

import dataclasses
import os
import stat
import threading
import time
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from outpaint_mcp.disk.folders import used_bytes
from outpaint_mcp.disk.writing import make_persons
from outpaint_mcp.service.delivery_failures import (
    changed_since_delivery,
    changed_since_generation,
    folder_unusable,
    moved_or_deleted,
    no_room,
    place_taken,
    server_stopping,
)
from outpaint_mcp.service.delivery_locks import DeliveryLocks
from outpaint_mcp.service.file_copy import ContentChanged, has_content, place_copy
from outpaint_mcp.service.file_names import (
    PARTS_PATTERN,
    key_of,
    name_of,
    new_part,
    parts_of,
    place_at,
    places_in,
)
from outpaint_mcp.storage.journal import is_removed
from outpaint_mcp.storage.records import Delivery
from outpaint_mcp.storage.rows import facts_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from outpaint_mcp.config import Settings
    from outpaint_mcp.export_options import ExportOptions
    from outpaint_mcp.results import Outcome
    from outpaint_mcp.storage.journal import Journal
    from outpaint_mcp.storage.records import RequestRecord


# Another process needs a moment to put a file into its place, or some seconds on a slow disk.
_LOCK_SECONDS = 20.0
_STALE_SECONDS = 86_400.0


class OutputFolder:
    """Copies finished files from the provider's storage to the person's folder; its methods block."""

    def __init__(self, journal: Journal, settings: Settings, *, lock_seconds: float = _LOCK_SECONDS) -> None:
        """Prepare deliveries; no folder is created yet.

        Args:
            journal: records what was delivered.
            settings: where files go by default, each caller's own, and where locks are, the same for every process.
            lock_seconds: how long to wait for another process that delivers the same file.
        """
        self._journal = journal
        self._settings = settings
        self._stopping = threading.Event()
        self._locks = DeliveryLocks(settings.data_dir / "locks", self._stopping, wait_seconds=lock_seconds)

    def stop(self) -> None:
        """Make every delivery under way end with `ServerStopping` soon, in whichever thread it runs."""
        self._stopping.set()

    def _check_stopping(self) -> None:
        if self._stopping.is_set():
            raise server_stopping()

    def delivered(self, request_id: str, options: ExportOptions, *, is_only_take: bool) -> Delivery | None:
        """Return what was delivered of a request in this form, if anything was.

        A file that was removed counts as not delivered while what it was written from is stored. Of several takes, some
        may have been thrown away: these count as delivered.
        """
        record = self._journal.get(request_id)
        delivery, outcome = record.deliveries.get(str(options)), record.outcome
        if delivery is None or not is_only_take or outcome is None or not is_removed(delivery):
            return delivery
        return None if outcome.path.is_file() else delivery

    def deliver(
        self, request_id: str, options: ExportOptions, outcome: Outcome, target: Path | None = None
    ) -> Delivery:
        """Copy a finished file to its place and record where; once, unless the person has removed it since.

        Args:
            request_id: the request that it belongs to.
            options: in which form it is.
            outcome: the file, which stays as it is.
            target: the file or the folder to put it at; the output folder where there is none.

        Raises:
            DeliveryFailed: the folder cannot be written to, `target` is taken, or `outcome` was changed.
            StorageFailed: the data folder cannot be written to.
            ServerStopping: `stop` was called.
        """
        with self._locks.held(key_of(request_id, options), request_id):
            record = self._journal.get(request_id)
            delivered = record.deliveries.get(str(options))
            if delivered is not None and not is_removed(delivered):
                return delivered
            delivery = Delivery(
                path=str(self._place(record, options, outcome, target)),
                sha256=outcome.sha256,
                size_bytes=outcome.size_bytes,
                duration_seconds=outcome.duration_seconds,
                before_seconds=outcome.before_seconds,
                after_seconds=outcome.after_seconds,
                url=outcome.url,
                **facts_of(outcome),
            )
            return self._journal.deliver(request_id, options, delivery)

    def tidy(self) -> None:
        """Remove what deliveries left behind whose server was killed."""
        self._locks.tidy()
        planned = self._journal.planned_places()
        elsewhere = (part for *form, place in planned for part in parts_of(place, *form))
        folders = self._settings.output_dirs()
        for part in {*chain.from_iterable(each.glob(PARTS_PATTERN) for each in folders), *elsewhere}:
            with suppress(OSError):
                if time.time() - part.stat().st_mtime > _STALE_SECONDS:
                    part.unlink()

    def check_exists(self, request_id: str, delivery: Delivery, *, is_paid: bool) -> None:
        """Check that a delivered file is still where it was put.

        Args:
            request_id: the request that it belongs to.
            delivery: as it was recorded.
            is_paid: whether generating it again would cost money.

        Raises:
            DeliveryFailed: it is not.
        """
        if not Path(delivery.path).is_file():
            raise moved_or_deleted(request_id, delivery, is_paid=is_paid)

    def is_unchanged(self, delivery: Delivery) -> bool:
        """Whether a delivered file still has the content that was delivered; reads all of it."""
        return has_content(
            Path(delivery.path),
            size_bytes=delivery.size_bytes,
            sha256=delivery.sha256,
            check_stopping=self._check_stopping,
        )

    def is_stored(self, outcome: Outcome) -> bool:
        """Whether a provider's file still has the content that was generated; reads all of it."""
        return has_content(
            outcome.path,
            size_bytes=outcome.size_bytes,
            sha256=outcome.sha256,
            check_stopping=self._check_stopping,
        )

    def copy(self, request_id: str, options: ExportOptions, delivery: Delivery, target: Path) -> Delivery:
        """Put a delivered file at another place, too; where it is there already, nothing is done.

        Raises:
            DeliveryFailed: another file is there, nothing can be written there, or the file was changed.
            StorageFailed: the data folder cannot be written to.
            ServerStopping: `stop` was called.
        """
        source = Path(delivery.path)
        place = target / source.name if target.is_dir() else place_at(target, source.suffix)
        copied = dataclasses.replace(delivery, path=str(place))
        if place == source:
            return delivery
        with self._locks.held(key_of(request_id, options), request_id):
            if self.is_unchanged(copied):
                return copied
            try:
                self._copy(source, place, new_part(place, request_id, options), sha256=delivery.sha256)
            except FileExistsError as exc:
                raise place_taken(place, request_id) from exc
            except ContentChanged as exc:
                raise changed_since_delivery(request_id, delivery) from exc
            except OSError as exc:
                raise folder_unusable(place.parent, request_id, exc, is_default=False) from exc
        return copied

    def _place(
        self, record: RequestRecord, options: ExportOptions, outcome: Outcome, target: Path | None
    ) -> Path:
        """Copy a file into the folder, or find it there if a server was killed right after it did."""
        if (planned := record.planned_paths.get(str(options))) is not None:
            path = Path(planned)
            parts = parts_of(path, record.request_id, options)
            with suppress(OSError):
                # Where our part is, too, the name was claimed, but the file not yet moved there.
                found = path.lstat()
                if parts and stat.S_ISREG(found.st_mode) and not found.st_size:
                    path.unlink()
            for part in parts:
                with suppress(OSError):
                    part.unlink()
            if self.is_stored(dataclasses.replace(outcome, path=path)):
                return path
        self._check_room(record, outcome)
        for path in self._places(record, options, outcome.path.suffix, target):
            if os.path.lexists(path):  # unlike pathlib's, never raises
                continue
            self._journal.plan_delivery(record.request_id, options, path)
            with suppress(FileExistsError):
                self._put(outcome, record, path, options, is_default=target is None)
                return path
        raise place_taken(path, record.request_id)

    def _check_room(self, record: RequestRecord, outcome: Outcome) -> None:
        """See that a remote caller has room for a file; the same room is for what they send.

        Raises:
            DeliveryFailed: they have not.
        """
        quota_bytes = self._settings.upload_quota_bytes
        folder = self._settings.output_dir_of(record.caller)
        if record.caller and used_bytes(folder) + outcome.size_bytes > quota_bytes:
            raise no_room(record.request_id, quota_bytes)

    def _places(
        self, record: RequestRecord, options: ExportOptions, suffix: str, target: Path | None
    ) -> Iterable[Path]:
        if target is not None and not target.is_dir():
            return [place_at(target, suffix)]
        return places_in(
            target or self._settings.output_dir_of(record.caller),
            name_of(self._journal, record, options),
            suffix,
        )

    def _put(
        self,
        outcome: Outcome,
        record: RequestRecord,
        place: Path,
        options: ExportOptions,
        *,
        is_default: bool,
    ) -> None:
        """Copy a provider's file to a place; raises FileExistsError where that is taken."""
        try:
            self._copy(
                outcome.path, place, new_part(place, record.request_id, options), sha256=outcome.sha256
            )
        except FileExistsError:
            raise
        except ContentChanged as exc:
            raise changed_since_generation(record) from exc
        except OSError as exc:
            raise folder_unusable(place.parent, record.request_id, exc, is_default=is_default) from exc

    def _copy(self, source: Path, place: Path, part: Path, *, sha256: str) -> None:
        with suppress(FileExistsError):  # a file in the folder's place: the next step fails on it
            make_persons(place.parent)
        place_copy(source, place, part, sha256=sha256, check_stopping=self._check_stopping)
