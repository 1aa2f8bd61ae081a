"""A stream of parts of a file."""

from __future__ import annotations

import io
from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from _typeshed import WriteableBuffer


class SplicedFile(io.RawIOBase):
    """A read-only stream over parts of a file, behind a new beginning."""

    def __init__(self, path: Path, opening: bytes, runs: Sequence[tuple[int, int]]) -> None:
        """Concatenate `opening` and the byte ranges `runs` of `path`."""
        self._opening = opening
        self._runs = runs
        *self._starts, self._size = accumulate((stop - start for start, stop in runs), initial=len(opening))
        self._at = 0
        self._file = path.open("rb")

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read the next bytes, at most to the end of a part."""
        with memoryview(buffer) as out:
            if self._at < len(self._opening):
                part = self._opening[self._at : self._at + len(out)]
                out[: len(part)] = part
                count = len(part)
            else:
                run = bisect_right(self._starts, self._at) - 1
                start, stop = self._runs[run]
                at = self._file.seek(start + self._at - self._starts[run])
                count = self._file.readinto(out[: max(0, stop - at)])
        self._at += count
        return count

    def readable(self) -> bool:
        """Return True, as PyAV asks."""
        return True

    def seekable(self) -> bool:
        """Return True: a length that nobody states is counted, and then read anew."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to an offset, as with any file."""
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def tell(self) -> int:
        """Return the current offset."""
        return self._at

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()
