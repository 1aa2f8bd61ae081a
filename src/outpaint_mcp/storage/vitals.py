"""Whether the database takes what is written, and figures of all that is in it, whoever asked for it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from outpaint_mcp import errors
from outpaint_mcp.storage.schema import VERSION
from outpaint_mcp.storage.spending import COST

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from outpaint_mcp.storage.database import Database

# Their names are what is stored of an error.
_PROVIDER_ERRORS = [
    name
    for name, each in vars(errors).items()
    if isinstance(each, type) and issubclass(each, errors.ProviderError)
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What all servers on a data folder have done, and have to do.

    Attributes:
        jobs: how many there are of each status.
        queue_seconds: how long the first job of the queue has been there.
        spent_usd: what all of them have cost, as far as that is known.
        provider_errors: how many were ended by an error of their provider, by its name and that of the error.
    """

    jobs: Mapping[str, int]
    queue_seconds: float
    spent_usd: float
    provider_errors: Mapping[tuple[str, str], int]


class Vitals:
    """Looks after the database as a whole; every method blocks."""

    def __init__(self, database: Database, *, now: Callable[[], float] = time.time) -> None:
        self._database = database
        self._now = now

    def check_writable(self) -> None:
        """See that what is written now would be on disk, by writing what is there already.

        Raises:
            StorageFailed: it would not.
            ServerStopping: the database is closed.
        """
        with self._database.write("version") as connection:
            connection.execute(f"PRAGMA user_version = {VERSION}")

    def figures(self) -> Figures:
        """Count everything.

        Raises:
            StorageFailed: the database cannot be read.
            ServerStopping: it is closed.
        """
        with self._database.read() as connection:
            jobs = connection.execute("SELECT status, count(*) FROM jobs GROUP BY status").fetchall()
            (first_at,) = connection.execute(
                "SELECT min(created_at) FROM jobs CROSS JOIN requests WHERE jobs.status = 'in_queue'"
                " AND jobs.server_id IS NULL AND requests.request_id = jobs.request_id"
            ).fetchone()
            (spent,) = connection.execute(
                f"SELECT coalesce(sum({COST}), 0) FROM jobs WHERE estimated_cost_usd IS NOT NULL"
            ).fetchone()
            failures = connection.execute(
                "SELECT provider, error_kind, count(*) FROM jobs WHERE status IN ('failed', 'unknown')"
                f" AND error_kind IN ({', '.join('?' * len(_PROVIDER_ERRORS))}) GROUP BY provider, error_kind",
                _PROVIDER_ERRORS,
            ).fetchall()
        return Figures(
            jobs=dict(map(tuple, jobs)),
            queue_seconds=0.0 if first_at is None else max(0.0, self._now() - first_at),
            spent_usd=spent,
            provider_errors={(provider, kind): count for provider, kind, count in failures},
        )
