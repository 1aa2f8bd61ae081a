"""Where previews are stored: a folder for each take, bounded in all."""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from outpaint_mcp.disk.opening import open_regular
from outpaint_mcp.disk.writing import remove
from outpaint_mcp.storage.failures import storage_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = "previews"
"""In the data folder."""

STORED_DAYS = 7
"""How long a preview is stored after it was written."""

STORED_BYTES = 256 << 20
"""How much is stored of all results together; of more, the oldest go."""

MAX_BYTES = 1 << 20
"""The largest file that is read."""

_TIDY_AFTER_BYTES = 32 << 20
_DAY_SECONDS = 86_400.0
_SCRATCH = "new-"


class PreviewFiles:
    """Small files by take and name; its methods block.

    Args:
        folder: holds them all; created when it is needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._untidied_bytes = 0

    def get(self, request_id: str, name: str) -> bytes | None:
        """Return what was stored; None where there is nothing."""
        return read(self._folder / request_id / name)

    def put(self, request_id: str, name: str, content: bytes) -> None:
        """Store a file.

        Raises:
            StorageFailed: the data folder cannot be written to.
        """
        place = self._folder / request_id / name
        with storage_errors(self._folder.parent):
            place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            part = place.with_name(f"{name}.{os.getpid()}.part")
            part.write_bytes(content)
            part.replace(place)
        self._untidied_bytes += len(content)
        if self._untidied_bytes > _TIDY_AFTER_BYTES:
            self._untidied_bytes = 0
            self.tidy()

    def new_folder(self) -> Path:
        """Return a folder for a worker, which whoever asked removes again; raises as `put` does."""
        with storage_errors(self._folder.parent):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            return Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=self._folder))

    def forget(self, request_id: str) -> None:
        """Delete what is stored of a take."""
        remove(self._folder / request_id)

    def tidy(self) -> None:
        """Delete what was written long ago, what killed servers left behind, and the oldest of too much."""
        total = 0
        for age, size, path in sorted(self._files()):
            total += size
            if total > STORED_BYTES or age > STORED_DAYS * _DAY_SECONDS:
                path.unlink(missing_ok=True)
        for folder in self._folder.glob("*"):
            with suppress(OSError):  # something is in it
                if not folder.name.startswith(_SCRATCH) or _age_seconds(folder) > _DAY_SECONDS:
                    folder.rmdir()

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """Yield how old each file is in seconds, and its size."""
        for path in self._folder.glob("*/*"):
            with suppress(OSError):  # deleted meanwhile
                yield _age_seconds(path), path.stat().st_size, path


def read(path: Path) -> bytes | None:
    """Read a file of ours, or a worker's, through no link; None where there is none."""
    folder = path.parent.resolve()
    try:
        with os.fdopen(open_regular(folder / path.name, (folder,)), "rb") as file:
            return file.read(MAX_BYTES)
    except OSError:
        return None


def _age_seconds(path: Path) -> float:
    return time.time() - path.stat().st_mtime
