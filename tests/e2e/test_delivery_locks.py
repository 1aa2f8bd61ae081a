"""A server that tidies while another one delivers: the lock in use stays, and one file comes of it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.deliveries import add_request, outcome_at

from outpaint_mcp.errors import DeliveryFailed
from outpaint_mcp.export_options import ExportOptions
from outpaint_mcp.service.output_folder import OutputFolder
from outpaint_mcp.storage.journal import Journal

if TYPE_CHECKING:
    from pathlib import Path

    from outpaint_mcp.config import Settings
    from outpaint_mcp.storage.database import Database

# Delivers, but pauses between taking the lock and recording where the file is to go.
_SLOW = """
import pathlib, sys
from tests.deliveries import outcome_at
from outpaint_mcp.export_options import ExportOptions
from outpaint_mcp.service.output_folder import OutputFolder
from outpaint_mcp.config import Settings
from outpaint_mcp.storage.database import Database
from outpaint_mcp.storage.journal import Journal

database, output, stored, request_id = sys.argv[1:]
journal = Journal(Database(pathlib.Path(database)))
plan = journal.plan_delivery

def plan_later(*args):
    print("paused", flush=True)
    sys.stdin.readline()
    plan(*args)

journal.plan_delivery = plan_later
stored = pathlib.Path(stored)
settings = Settings(input_dirs=(), output_dir=pathlib.Path(output), data_dir=pathlib.Path(database).parent)
folder = OutputFolder(journal, settings)
print(folder.deliver(request_id, ExportOptions(), outcome_at(stored, stored.read_bytes())).path)
"""


def test_a_lock_in_use_is_not_tidied_away(settings: Settings, database: Database, tmp_path: Path) -> None:
    journal = Journal(database)
    request_id = add_request(journal, before=0, after=1)
    outcome = outcome_at(tmp_path / "output.wav", b"extended music")
    arguments = (settings.data_dir / "outpaint.sqlite3", settings.output_dir, outcome.path, request_id)
    locks = settings.data_dir / "locks"
    with subprocess.Popen(
        [sys.executable, "-c", _SLOW, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as slow:
        assert slow.stdout is not None
        assert slow.stdout.readline() == "paused\n"
        folder = OutputFolder(journal, settings, lock_seconds=0.2)
        folder.tidy()
        with pytest.raises(DeliveryFailed, match="Another process"):
            folder.deliver(request_id, ExportOptions(), outcome)
        path = slow.communicate("go on\n")[0].strip()
    assert slow.returncode == 0
    delivery = folder.deliver(request_id, ExportOptions(), outcome)
    assert delivery.path == path
    assert [str(each) for each in settings.output_dir.iterdir()] == [path]
    assert list(locks.iterdir()) == []
