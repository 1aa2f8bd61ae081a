"""Deleting what jobs have left behind and nobody will need again."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from outpaint_mcp.errors import RequestNotFound, StorageFailed
from outpaint_mcp.models import Status
from outpaint_mcp.service.exporter import STORED_DAYS

if TYPE_CHECKING:
    from pathlib import Path

    from outpaint_mcp.storage.records import RequestRecord
    from outpaint_mcp.storage.store import Store

UNFETCHED_DAYS = 30
"""How long a result waits that nobody has fetched."""

_DAY_SECONDS = 86_400.0

# A submission writes its audio before its request.
_ORPHAN_SECONDS = 3_600.0


def tidy_jobs(store: Store, folder: Path) -> None:
    """Delete the folders of jobs whose requests are over, with the links to what a provider stores of them.

    Args:
        store: every request there ever was.
        folder: holds one folder per job.
    """
    for each in folder.glob("*"):
        try:
            record = store.journal.get(each.name)
        except RequestNotFound:
            with suppress(OSError):
                if time.time() - each.stat().st_mtime > _ORPHAN_SECONDS:
                    shutil.rmtree(each, ignore_errors=True)
            continue
        except StorageFailed:  # damaged, or another version's: it stays as it is
            continue
        if _is_of_no_use(store, record):
            store.queue.forget_links(each.name)  # first: without the folder nobody would come here again
            shutil.rmtree(each, ignore_errors=True)


def _is_of_no_use(store: Store, record: RequestRecord) -> bool:
    if record.status.is_final and record.status is not Status.COMPLETED:
        return True
    return store.journal.is_stale(
        record, delivered_seconds=STORED_DAYS * _DAY_SECONDS, unfetched_seconds=UNFETCHED_DAYS * _DAY_SECONDS
    )
