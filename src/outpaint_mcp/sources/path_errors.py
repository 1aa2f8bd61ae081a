"""What is wrong with a path or a name, and what to do about it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from outpaint_mcp.errors import (
    Hint,
    OutpaintError,
    RequestNotFound,
    SourceError,
    SourceNotAllowed,
    SourceUnreachable,
)
from outpaint_mcp.sources.names import is_bare_link, quoted
from outpaint_mcp.sources.nearby import MOST_NAMED, as_given, similar_files
from outpaint_mcp.sources.scanning import scan

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_LIKE_REQUEST_ID = re.compile(r"op_[\w-]*|.*[\\/]op_[0-9a-f]{8,}", re.IGNORECASE)

_CHAT_FOLDERS = ("/mnt/data/", "/mnt/user-data/", "/home/oai/", "/home/claude/")
"""Where chat products put attachments, in sandboxes of their own that agents take for this machine."""


class FileElsewhere(SourceUnreachable):
    """The file is on its owner's own machine, which this one cannot see.

    Attributes:
        link: by which they can send it; a secret of theirs, and in no text.
    """

    def __init__(self, message: str, link: str) -> None:
        super().__init__(message, hint=Hint.SEND_FILE)
        self.link = link


class SeveralFiles(SourceUnreachable):
    """A name fits several files.

    Attributes:
        names: of these, as they can be given; no more than are named in a message.
    """

    def __init__(self, message: str, names: Sequence[str]) -> None:
        super().__init__(message)
        self.names = tuple(names)


def folders_named(input_dirs: Sequence[Path]) -> str:
    """List the folders that may be read, for a message."""
    return ", ".join(map(str, input_dirs)) or "(none: set OUTPAINT_INPUT_DIRS)"


def chat_attachment(text: str, input_dirs: Sequence[Path]) -> SourceUnreachable:
    """The error for a file that only the chat's own sandbox has."""
    return SourceUnreachable(
        f"{quoted(text)} exists only inside the chat. Folders that can be read here: {folders_named(input_dirs)}.",
        hint=Hint.SAVE_ATTACHMENT,
    )


def no_folder(text: str, input_dirs: Sequence[Path]) -> SourceNotAllowed:
    """Refuse every path, since there is no folder to read from."""
    if not input_dirs:
        return SourceNotAllowed(
            f"{quoted(text)} cannot be read, because no folder is allowed: list existing folders in "
            "OUTPAINT_INPUT_DIRS, or give a public https link."
        )
    return SourceNotAllowed(
        f"{quoted(text)} cannot be read, because none of the allowed folders exists: "
        f"{folders_named(input_dirs)}. Create one of them and put the file there, or list existing folders in "
        "OUTPAINT_INPUT_DIRS."
    )


def too_long(text: str, input_dirs: Sequence[Path]) -> SourceError:
    """Refuse what is too long for a path, such as audio without its `data:`."""
    if text.startswith(("/", "~")):
        return outside(text, input_dirs, ())
    return SourceUnreachable(
        f"{quoted(text)} is too long for a path: put data:audio/wav;base64, in front of audio in base64, or "
        "save it as a file and give its path."
    )


def outside(text: str, input_dirs: Sequence[Path], roots: Sequence[Path]) -> SourceError:
    """Refuse a path outside the folders, in the same words whether anything is there or not."""
    if text.startswith(_CHAT_FOLDERS):
        return chat_attachment(text, input_dirs)
    meant = " or ".join(f'"{each}"' for each in as_given(similar_files(text, scan(roots).files), roots))
    return SourceNotAllowed(
        f"{quoted(text)} is outside the folders that may be read: {folders_named(input_dirs)}."
        f" {f'Did you mean {meant}? ' if meant else ''}".rstrip(),
        hint=Hint.OPEN_FOLDER,
    )


def missing(
    text: str, roots: Sequence[Path], called: Sequence[Path], near: Sequence[Path], *, is_complete: bool
) -> OutpaintError:
    """Name the files that were meant, where a name fits several or is near to some.

    Args:
        text: what was given.
        roots: the folders that were searched.
        called: the files that it fits.
        near: those with names like it.
        is_complete: whether all that is in the folders was looked at.
    """
    rest = ", and their subfolders" if is_complete else ", but there is too much in them: give the whole path"
    searched = f"Searched: {folders_named(roots)}{rest}."
    if called:
        names = as_given(called, roots)
        named = ", ".join(f'"{each}"' for each in names)
        return SeveralFiles(
            f"{quoted(text)} fits {len(called)} files: {named}{', …' if len(called) > MOST_NAMED else ''}. Give one of"
            " these names in full.",
            names,
        )
    if _LIKE_REQUEST_ID.fullmatch(text):
        return RequestNotFound(
            f"{quoted(text)} looks like a request id, but is not one, and no file has this name.",
            hint=Hint.FIND_REQUEST,
        )
    if is_bare_link(text):
        return SourceUnreachable(
            f"{quoted(text)} is not there. {searched} If it is a link, put https:// in front of it."
        )
    if named := ", ".join(f'"{each}"' for each in as_given(near, roots)):
        return SourceUnreachable(
            f"{quoted(text)} is not there.{'' if is_complete else f' {searched}'} The nearest names: {named}.",
            hint=Hint.FIND_FILE,
        )
    return SourceUnreachable(f"{quoted(text)} is not there. {searched}", hint=Hint.SAVE_ATTACHMENT)


def unreadable(text: str, exc: OSError | RuntimeError) -> OutpaintError:
    """Explain why the system does not let us at a file."""
    if isinstance(exc, PermissionError):
        return SourceNotAllowed(
            f"{quoted(text)} cannot be read by the user that this program runs as: change its permissions."
        )
    reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else "its symbolic links form a loop"
    return SourceUnreachable(f"{quoted(text)} cannot be reached ({reason}): check the path.")
