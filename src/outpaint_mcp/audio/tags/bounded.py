"""Bounds on reading untrusted files in Python, for libraries that believe what a file says of itself."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from io import SEEK_END
from itertools import count
from time import thread_time
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_BYTES = 1 << 26
"""Most that is read: a few of the largest pictures."""
_MOST_SECONDS = 1.5
"""Most of a processor's time; an ordinary tag takes some hundredths."""
_CALLS = 100
"""The time is looked at once in so many calls, since that takes longer than most of them."""


class OutOfTime(BaseException):
    """Reading takes too long. It is no `Exception`, so that no library mistakes it for a broken file."""


class BoundedFile:
    """A file of which only so much is read, and no more at a time than there is."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = file.seek(0, SEEK_END)
        self._left = _MOST_BYTES
        file.seek(0)

    def read(self, size: int = -1) -> bytes:
        """Read up to so many bytes, or all that are left; none once the bound is reached."""
        most = max(0, min(self._left, self._size - self._file.tell()))
        content = self._file.read(most if size < 0 else min(size, most))
        self._left -= len(content)
        return content

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move as every file does."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the place as every file does."""
        return self._file.tell()


@contextmanager
def bounded_time() -> Iterator[None]:
    """Stop Python code that goes on for too long; what it calls in C has to be bounded by its input.

    Raises:
        OutOfTime: from any call within the block.
    """
    until, calls = thread_time() + _MOST_SECONDS, count()

    def check(*_: object) -> None:
        if next(calls) % _CALLS == 0 and thread_time() > until:
            raise OutOfTime

    outer = sys.getprofile()
    sys.setprofile(check)
    try:
        yield
    finally:
        sys.setprofile(outer)
