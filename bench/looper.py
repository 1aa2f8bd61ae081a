"""PyMusicLooper's own seam: where it would loop a recording, asked of its command line.

It is no dependency of ours: it is used where `pymusiclooper` is on the PATH or named by
`OUTPAINT_PYMUSICLOOPER` (for instance from an environment of its own), else left out.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess

from bench.track import Track, kept


def looper_command() -> str | None:
    """The program, where it can be found."""
    return os.environ.get("OUTPAINT_PYMUSICLOOPER") or shutil.which("pymusiclooper")


def loop_points(track: Track, command: str) -> tuple[int, int] | None:
    """First frame of the loop and the frame at which it jumps back; None where it finds none."""
    return kept(track.recording, "pymusiclooper", lambda: _ask(track, command))


def _ask(track: Track, command: str) -> tuple[int, int] | None:
    asked = [command, "export-points", "--path", str(track.recording.path), "--export-to", "STDOUT"]
    answer = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=300)
    start = re.search(r"LOOP_START:\s*(\d+)", answer.stdout)
    end = re.search(r"LOOP_END:\s*(\d+)", answer.stdout)
    return (int(start[1]), int(end[1])) if start and end else None
