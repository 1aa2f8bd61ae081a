"""A server killed at any step of a delivery: the next one finishes it, with one file and nothing beside it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.deliveries import add_request, outcome_at

from outpaint_mcp.export_options import ExportOptions
from outpaint_mcp.service.output_folder import OutputFolder
from outpaint_mcp.storage.journal import Journal

if TYPE_CHECKING:
    from pathlib import Path

    from outpaint_mcp.config import Settings
    from outpaint_mcp.storage.database import Database

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kills as POSIX does")

_CONTENT = b"longer music" * 100_000
# Delivers, and kills itself at the named step; on a disk without hard links where that is asked for.
_DOOMED = """
import os, pathlib, signal, sys
from tests.deliveries import outcome_at
from outpaint_mcp.export_options import ExportOptions
from outpaint_mcp.service.output_folder import OutputFolder
from outpaint_mcp.config import Settings
from outpaint_mcp.storage.database import Database
from outpaint_mcp.storage.journal import Journal

database, output, stored, request_id, disk, step = sys.argv[1:]

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def die_halfway(reader, writer, _count):
    os.write(writer, os.read(reader, 1000))
    die()

def refuse(*_):
    raise OSError("no hard links here")

def then_die(function):
    return lambda *args, **kwargs: (function(*args, **kwargs), die())

journal = Journal(Database(pathlib.Path(database)))
if disk == "without links":
    os.link = refuse
match step:
    case "planned": journal.plan_delivery = then_die(journal.plan_delivery)
    case "half copied": os.copy_file_range = die_halfway
    case "copied": os.fsync = die
    case "on disk": os.fsync = then_die(os.fsync)
    case "claimed": pathlib.Path.replace = die
    case "placed" if disk == "without links": pathlib.Path.replace = then_die(pathlib.Path.replace)
    case "placed": os.link = then_die(os.link)
    case "not recorded": journal.deliver = die
    case "recorded": journal.deliver = then_die(journal.deliver)
    case _: raise AssertionError(step)
stored = pathlib.Path(stored)
settings = Settings(input_dirs=(), output_dir=pathlib.Path(output), data_dir=pathlib.Path(database).parent)
folder = OutputFolder(journal, settings)
folder.deliver(request_id, ExportOptions(), outcome_at(stored, stored.read_bytes()))
"""
_STEPS = [
    *(("half copied",) if hasattr(os, "copy_file_range") else ()),
    *("planned", "copied", "on disk", "placed", "not recorded", "recorded"),
]


@pytest.mark.parametrize(
    ("disk", "step"),
    [*(("with links", step) for step in _STEPS), *(("without links", step) for step in (*_STEPS, "claimed"))],
)
def test_a_delivery_cut_short_is_finished_by_the_next_server(
    settings: Settings, database: Database, tmp_path: Path, disk: str, step: str
) -> None:
    journal = Journal(database)
    request_id = add_request(journal, before=0, after=1)
    stored = tmp_path / "output.wav"
    outcome = outcome_at(stored, _CONTENT)
    arguments = (settings.data_dir / "outpaint.sqlite3", settings.output_dir, stored, request_id, disk, step)
    doomed = subprocess.run([sys.executable, "-c", _DOOMED, *map(str, arguments)], check=False)
    assert doomed.returncode == -signal.SIGKILL
    folder = OutputFolder(journal, settings)
    delivery = folder.deliver(request_id, ExportOptions(), outcome)
    folder.tidy()
    (found,) = settings.output_dir.iterdir()
    assert str(found) == delivery.path
    assert found.name == "song, extended 1s after.wav"
    assert found.read_bytes() == stored.read_bytes() == _CONTENT
    assert found.stat().st_nlink == 1
    assert list((settings.data_dir / "locks").iterdir()) == []
