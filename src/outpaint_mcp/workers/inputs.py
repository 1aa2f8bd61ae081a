"""What an order reads: the server opens it once, and its worker gets the descriptors instead of the paths.

So a worker reads the very file that was checked, whatever lies at its path by now, and needs no right to open another.
On Linux only: elsewhere a descriptor cannot be opened anew, and the worker is given the path after the server's check.
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path, PosixPath
from typing import TYPE_CHECKING, Any, TypeVar

from outpaint_mcp.audio.files.refusals import shown_name
from outpaint_mcp.disk.folders import root_of
from outpaint_mcp.disk.opening import open_regular
from outpaint_mcp.errors import SourceNotAllowed, SourceUnreachable
from outpaint_mcp.sources import legible
from outpaint_mcp.workers import wire
from outpaint_mcp.workers.looks import ProbeMany
from outpaint_mcp.workers.order import paths_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outpaint_mcp.workers.order import Order

MAX_INPUTS = 64
"""The most files that one order reads."""

_HANDS_OVER = sys.platform == "linux"
# In an order it stands for a descriptor, before its number in the order of the inputs, and the file's name.
_MARK = Path("/outpaint-input")
_PLACES = frozenset({"folder", "destination"})
# A link in the place of a file, or of a folder above it.
_LINKS = frozenset({errno.ELOOP, errno.ENOTDIR})

_ValueT = TypeVar("_ValueT")


@dataclass(frozen=True, slots=True)
class OpenedOrder:
    """An order whose inputs are open.

    Attributes:
        line: the order for the worker.
        descriptors: what goes with it.
    """

    line: bytes
    descriptors: list[int]

    def close(self) -> None:
        """Close the inputs here; the worker has its own."""
        while self.descriptors:
            os.close(self.descriptors.pop())


class HandedFile(PosixPath):
    """A file of which a worker has the descriptor; it is opened anew by that, and called what the person calls it."""

    handed_name: str

    @property
    def name(self) -> str:
        """The name of the file in its folder."""
        return getattr(self, "handed_name", None) or super().name


def open_order(order: Order[Any], folders: Sequence[Path]) -> OpenedOrder:
    """Open everything that an order reads, following no link; blocks.

    Args:
        order: its paths were checked, and have no links in them but for those of these folders.
        folders: those that may be links.

    Raises:
        SourceError: a file cannot be opened.
        OSError: there are too many open files.
    """
    handed: dict[Path, str] = {}
    descriptors: list[int] = []
    try:
        for path in inputs_of(order):
            with suppress(ValueError):  # a path that no file can have, as the worker says
                opened = _open(path, folders, must=not isinstance(order, ProbeMany))
                if opened is None:
                    continue
                descriptors.append(opened)
                handed[path] = str(_MARK / str(len(descriptors) - 1) / legible(path.name))
    except BaseException:
        OpenedOrder(b"", descriptors).close()
        raise
    if not _HANDS_OVER:
        OpenedOrder(b"", descriptors).close()
        return OpenedOrder(wire.encode_order(order), [])
    return OpenedOrder(wire.encode_order(order, handed), descriptors)


def inputs_of(order: Order[Any]) -> list[Path]:
    """Return the files that an order reads, each once."""
    read = (getattr(order, each.name) for each in fields(order) if each.name not in _PLACES)  # type: ignore[arg-type]
    return [*dict.fromkeys(path for value in read for path in paths_in(value))]


def folder_written(order: Order[Any]) -> Path | None:
    """Return the folder that an order's worker writes to."""
    destination: Path | None = getattr(order, "destination", None)
    folder: Path | None = getattr(order, "folder", None)
    return folder if destination is None else destination.parent


def take_over(value: _ValueT, descriptors: Sequence[int]) -> _ValueT:
    """Return an order with the descriptors of this process in the place of its inputs."""
    taken: Any = value
    if isinstance(value, Path) and value.is_relative_to(_MARK):
        taken = HandedFile(f"/proc/self/fd/{descriptors[int(value.parent.name)]}")
        taken.handed_name = value.name
    elif isinstance(value, tuple):
        taken = tuple(take_over(each, descriptors) for each in value)
    elif is_dataclass(value) and not isinstance(value, type) and any(paths_in(value)):
        parts = {each.name: take_over(getattr(value, each.name), descriptors) for each in fields(value)}
        taken = replace(value, **parts)
    return taken  # type: ignore[no-any-return]


def _open(path: Path, folders: Sequence[Path], *, must: bool) -> int | None:
    try:
        folder = next((each for each in folders if path.is_relative_to(each)), None)
        if folder is not None:
            path = root_of(folder) / path.relative_to(folder)
        return open_regular(path, (path.parent,))
    except OSError as exc:
        if exc.errno in {errno.EMFILE, errno.ENFILE}:
            raise
        if not must:
            return None
        if exc.errno in _LINKS:
            raise SourceNotAllowed(
                f"{shown_name(path)} was moved behind a link after it was checked."
            ) from exc
        raise SourceUnreachable(f"{shown_name(path)} cannot be read: {exc.strerror or exc}.") from exc
