"""Everything that is stored, in one place: what each part does is a verb, and only this package knows the SQL."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from outpaint_mcp.storage.database import Database
from outpaint_mcp.storage.erasure import Erasure
from outpaint_mcp.storage.job_queue import JobQueue
from outpaint_mcp.storage.journal import Journal
from outpaint_mcp.storage.ledger import Ledger
from outpaint_mcp.storage.lineage import Lineage
from outpaint_mcp.storage.vitals import Vitals

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FILE_NAME = "outpaint.sqlite3"


class Store:
    """The journal of requests, the queue of their jobs, the ledger of their costs, and the lineage of their files.

    Attributes:
        journal: what was asked and delivered.
        queue: what is being done.
        ledger: what it costs.
        lineage: where files come from.
        erasure: takes requests out.
        vitals: whether it can be written, and figures of all of it.
    """

    def __init__(self, folder: Path, *, now: Callable[[], float] = time.time) -> None:
        """Open the database in a folder, or create it.

        Args:
            folder: the data folder.
            now: Unix seconds.

        Raises:
            StorageFailed: the folder cannot be used.
        """
        self._database = Database(folder / FILE_NAME)
        self.journal = Journal(self._database, now=now)
        self.queue = JobQueue(self._database, now=now)
        self.ledger = Ledger(self._database, now=now)
        self.lineage = Lineage(self._database, self.journal)
        self.erasure = Erasure(self._database, now=now)
        self.vitals = Vitals(self._database, now=now)

    def close(self) -> None:
        """Close the database, once every statement under way is through."""
        self._database.close()
