"""Files inside the allowed folders, and nothing outside them."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from outpaint_mcp.errors import (
    Hint,
    InvalidRequest,
    OutpaintError,
    RequestNotFound,
    SourceError,
    SourceNotAllowed,
    SourceUnreachable,
    UnsupportedAudio,
)
from outpaint_mcp.sources.names import is_bare_link, quoted, unescaped
from outpaint_mcp.sources.nearby import folded, similar_files

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST_CHARACTERS = 32_767
"""Of a path on Windows, and more than elsewhere; what is longer costs minutes to resolve."""

_WINDOWS_PATH = re.compile(r"[A-Za-z]:[\\/]|\\\\")

_LIKE_REQUEST_ID = re.compile(r"op_[\w-]*|.*[\\/]op_[0-9a-f]{8,}", re.IGNORECASE)

_CHAT_FOLDERS = ("/mnt/data/", "/mnt/user-data/", "/home/oai/", "/home/claude/")
"""Where chat products put attachments, in sandboxes of their own that agents take for this machine."""


def find_file(text: str, input_dirs: Sequence[Path]) -> Path:
    """Find the regular file at a path, following symbolic links.

    Args:
        text: absolute, `~/…`, or relative to any of the folders, which are tried in order; it may begin with
            a folder's own name, and have a shell's backslashes in it.
        input_dirs: the folders that may be read; those that do not exist are passed over.

    Raises:
        InvalidRequest: no path on this system.
        RequestNotFound: no file, but what looks like a request id.
        SourceNotAllowed: outside the folders, whether anything is there or not; or no right to read it.
        SourceUnreachable: no such file.
        UnsupportedAudio: a folder, a device, an empty file.
    """
    if len(text) > _MOST_CHARACTERS:
        raise _too_long(text, input_dirs)
    roots = _existing(input_dirs)
    path = _path(text)
    if not roots:
        raise _no_folder(text, input_dirs)
    _refuse_network_share(path, text, roots)
    candidates = _candidates(path, input_dirs)
    if os.name != "nt" and not any(map(os.path.lexists, candidates)):
        candidates = _candidates(_path(unescaped(text)), input_dirs)
    outside = False
    for candidate in candidates:
        try:
            resolved = candidate.resolve()
            if not any(resolved.is_relative_to(root) for root in roots):
                outside = True
                continue
            status = resolved.stat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, RuntimeError) as exc:
            raise _unreadable(text, exc) from exc
        _check_usable(resolved, status, text)
        return resolved
    raise _outside(text, input_dirs, roots) if outside else _missing(text, roots)


def path_of_file_url(url: str) -> str:
    """The path in a `file:` URL of this machine; `?` and `#` are taken as part of it.

    Raises:
        InvalidRequest: another machine's, not absolute, or not percent-encoded UTF-8.
    """
    rest = url[len("file:") :]
    if rest.startswith("//"):
        authority, slash, tail = rest[2:].partition("/")
        rest = slash + tail if authority.lower() in {"", "localhost"} else ""
    if not rest.startswith("/"):
        raise InvalidRequest(
            f"{quoted(url)} names no file on this machine: {_plainly(url)}write file:///folder/file.wav in full."
        )
    try:
        path = unquote(rest, errors="strict")
    except UnicodeDecodeError as exc:
        raise InvalidRequest(
            f"{quoted(url)} is not percent-encoded UTF-8: give the plain path instead."
        ) from exc
    return path[1:] if os.name == "nt" else path


def _plainly(url: str) -> str:
    """Suggest the path that somebody put `file:` in front of, where it can be told from a machine's name."""
    rest = unquote(re.split("[?#]", url[len("file:") :], maxsplit=1)[0])
    path = rest.removeprefix("//")
    is_path = bool(path) and "@" not in path and (path.startswith("~") or "/" not in path or path == rest)
    return f"give the plain path, {quoted(path)}, or " if is_path else ""


def folders_named(input_dirs: Sequence[Path]) -> str:
    """List the folders that may be read, for a message."""
    return ", ".join(map(str, input_dirs)) or "(none: set OUTPAINT_INPUT_DIRS)"


def chat_attachment(text: str, input_dirs: Sequence[Path]) -> SourceUnreachable:
    """The error for a file that only the chat's own sandbox has."""
    return SourceUnreachable(
        f"{quoted(text)} exists only inside the chat. Folders that can be read here: {folders_named(input_dirs)}.",
        hint=Hint.SAVE_ATTACHMENT,
    )


def _existing(input_dirs: Sequence[Path]) -> list[Path]:
    roots = []
    for folder in input_dirs:
        try:
            root = folder.expanduser().resolve(strict=True)
        except (OSError, RuntimeError):
            continue
        if root.is_dir():
            roots.append(root)
    return roots


def _path(text: str) -> Path:
    if "\0" in text or any(0xD800 <= ord(mark) <= 0xDFFF for mark in text):  # noqa: PLR2004  surrogates
        raise InvalidRequest(f"{quoted(text)} has characters that no file name can have: check the path.")
    if os.name != "nt" and _WINDOWS_PATH.match(text):
        raise InvalidRequest(
            f"{quoted(text)} is a Windows path, but this machine does not run Windows: give the path as it is "
            "here."
        )
    return Path(os.path.expanduser(text)) if text.startswith("~") else Path(text)  # noqa: PTH111  never raises


def _candidates(path: Path, input_dirs: Sequence[Path]) -> list[Path]:
    """Where the file may be: in each folder in turn, then behind a folder's own name, as in `Music/song.ogg`."""
    if path.is_absolute():
        return [path]
    first, *rest = path.parts or ("",)
    behind = [
        root.joinpath(*rest)
        for folder in input_dirs
        for root in _existing([folder])
        if folded(first) in {folded(folder.name), folded(root.name)}
    ]
    return [root / path for root in _existing(input_dirs)] + behind


def _refuse_network_share(path: Path, text: str, roots: Sequence[Path]) -> None:
    """Refuse another machine's share unseen: Windows sends a password's hash to any share it looks at."""
    if path.drive.startswith("\\\\") and path.drive.lower() not in {root.drive.lower() for root in roots}:
        raise _outside(text, roots, roots)


def _no_folder(text: str, input_dirs: Sequence[Path]) -> SourceNotAllowed:
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


def _too_long(text: str, input_dirs: Sequence[Path]) -> SourceError:
    if text.startswith(("/", "~")):
        return _outside(text, input_dirs, ())
    return SourceUnreachable(
        f"{quoted(text)} is too long for a path: put data:audio/wav;base64, in front of audio in base64, or "
        "save it as a file and give its path."
    )


def _outside(text: str, input_dirs: Sequence[Path], roots: Sequence[Path]) -> SourceError:
    if text.startswith(_CHAT_FOLDERS):
        return chat_attachment(text, input_dirs)
    return SourceNotAllowed(
        f"{quoted(text)} is outside the folders that may be read: {folders_named(input_dirs)}."
        f" {_did_you_mean(text, roots)}".rstrip(),
        hint=Hint.OPEN_FOLDER,
    )


def _missing(text: str, roots: Sequence[Path]) -> OutpaintError:
    if _LIKE_REQUEST_ID.fullmatch(text):
        return RequestNotFound(
            f"{quoted(text)} looks like a request id, but is not one, and no file has this name.",
            hint=Hint.FIND_REQUEST,
        )
    if is_bare_link(text):
        return SourceUnreachable(
            f"{quoted(text)} is not there. Searched: {folders_named(roots)}. If it is a link, put https:// in "
            "front of it."
        )
    meant = _did_you_mean(text, roots)
    if meant:
        return SourceUnreachable(
            f"{quoted(text)} is not there. {meant}A file in a subfolder has to be given with its folder."
        )
    return SourceUnreachable(
        f"{quoted(text)} is not there. Searched: {folders_named(roots)}, but not their subfolders: give a file in "
        "a subfolder as Album/song.ogg.",
        hint=Hint.SAVE_ATTACHMENT,
    )


def _did_you_mean(text: str, roots: Sequence[Path]) -> str:
    """Suggest files of a similar name in the folders."""
    found = " or ".join(f'"{each}"' for each in similar_files(text, roots))
    return f"Did you mean {found}? " if found else ""


def _unreadable(text: str, exc: OSError | RuntimeError) -> OutpaintError:
    if isinstance(exc, PermissionError):
        return SourceNotAllowed(
            f"{quoted(text)} cannot be read by the user that this program runs as: change its permissions."
        )
    reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else "its symbolic links form a loop"
    return SourceUnreachable(f"{quoted(text)} cannot be reached ({reason}): check the path.")


def _check_usable(path: Path, status: os.stat_result, text: str) -> None:
    """Refuse what is no readable file with something in it; nothing is opened, a FIFO would block."""
    if stat.S_ISDIR(status.st_mode):
        raise UnsupportedAudio(f"{quoted(text)} is a folder: give one audio file in it.")
    if not stat.S_ISREG(status.st_mode):
        raise UnsupportedAudio(f"{quoted(text)} is a device, a pipe or a socket: give an audio file.")
    if status.st_size == 0:
        raise UnsupportedAudio(
            f"{quoted(text)} is empty: wait until it is fully saved, or give another file."
        )
    if not os.access(path, os.R_OK):
        raise _unreadable(text, PermissionError())
