"""A server killed at any step of a delivery: the next one finishes it, with one file and nothing beside it."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from outpaint_mcp.models import SubmitRequest
from outpaint_mcp.results import ExportOptions, Outcome
from outpaint_mcp.service.output_folder import OutputFolder
from outpaint_mcp.storage.journal import Journal

if TYPE_CHECKING:
    from pathlib import Path

    from outpaint_mcp.config import Settings
    from outpaint_mcp.storage.database import Database

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kills as POSIX does")

_CONTENT = b"longer music" * 100_000
# Delivers, and kills itself at the named step; without hard links where it is to copy.
_DOOMED = """
import os, pathlib, shutil, signal, sys
from outpaint_mcp.service import output_folder as results
from outpaint_mcp.storage.database import Database
from outpaint_mcp.results import ExportOptions
from outpaint_mcp.storage.journal import Journal
from outpaint_mcp.results import Outcome

database, output, made, request_id, sha256, size, kind, step = sys.argv[1:]

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def half(reader, writer, _):
    writer.write(reader.read(1000))
    writer.flush()
    die()

def no_link(source, _target):
    if pathlib.Path(source) == pathlib.Path(made):
        raise OSError("no hard links here")
    return link(source, _target)

def then_die(function):
    return lambda *args, **kwargs: (function(*args, **kwargs), die())

link, journal = os.link, Journal(Database(pathlib.Path(database)))
if kind == "copy":
    os.link = no_link
match step:
    case "planned": journal.plan_delivery = then_die(journal.plan_delivery)
    case "half copied": shutil.copyfileobj = half
    case "copied": os.fsync = die
    case "put": os.link = then_die(os.link)
    case "not noted": journal.deliver = die
    case "noted": journal.deliver = then_die(journal.deliver)
outcome = Outcome(path=pathlib.Path(made), sha256=sha256, size_bytes=int(size), duration_seconds=2,
                  before_seconds=0, after_seconds=1, seed=1, note="")
placing = results.OutputFolder(journal, pathlib.Path(output), pathlib.Path(database).parent / "locks")
placing.deliver(request_id, ExportOptions(), outcome)
"""


@pytest.mark.parametrize(
    ("kind", "step"),
    [
        *(("link", step) for step in ("planned", "put", "noted")),
        *(("copy", step) for step in ("half copied", "copied", "put", "not noted")),
    ],
)
def test_a_delivery_cut_short_is_finished_by_the_next_server(
    settings: Settings, database: Database, tmp_path: Path, kind: str, step: str
) -> None:
    journal = Journal(database)
    record, _ = journal.add(
        SubmitRequest.of(audio="song.wav", tags="", extend_after_duration=1),
        provider="local",
        shown_audio="song.wav",
        title="song",
        parent_request_id=None,
        expected_duration_seconds=2,
    )
    made = tmp_path / "output.wav"
    made.write_bytes(_CONTENT)
    sha256 = hashlib.sha256(_CONTENT).hexdigest()
    folders = (str(settings.data_dir / "outpaint.sqlite3"), str(settings.output_dir), str(made))
    doomed = subprocess.run(
        [sys.executable, "-c", _DOOMED, *folders, record.request_id, sha256, str(len(_CONTENT)), kind, step],
        check=False,
    )
    assert doomed.returncode == -signal.SIGKILL
    outcome = Outcome(
        path=made,
        sha256=sha256,
        size_bytes=len(_CONTENT),
        duration_seconds=2,
        before_seconds=0,
        after_seconds=1,
        seed=1,
        note="",
    )
    results = OutputFolder(journal, settings.output_dir, settings.data_dir / "locks")
    delivery = results.deliver(record.request_id, ExportOptions(), outcome)
    results.tidy()
    (found,) = settings.output_dir.iterdir()
    assert str(found) == delivery.path
    assert found.name == "song, extended 1s after.wav"
    assert found.read_bytes() == _CONTENT
    assert list((settings.data_dir / "locks").iterdir()) == []
