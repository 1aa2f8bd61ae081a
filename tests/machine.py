"""What tests take from the machine; imported before anything that would have looked for it.

Folders are in memory, where there is enough of it: half of what a test of the journal takes is waiting for the disk.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import tempfile
from pathlib import Path

_MEMORY = Path("/dev/shm")
_ENOUGH_BYTES = 4 << 30

if "TMPDIR" not in os.environ and _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ENOUGH_BYTES:
    tempfile.tempdir = os.environ["TMPDIR"] = str(_MEMORY)

# httpcore asks for it with every lock, and Python would look for it in every folder each time.
if importlib.util.find_spec("sniffio") is None:
    sys.modules["sniffio"] = None  # type: ignore[assignment] # which says that there is none
