"""Files inside the allowed folders, and nothing outside them."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, unquote_to_bytes

from outpaint_mcp.disk.folders import existing_folders, is_foreign_share
from outpaint_mcp.errors import InvalidRequest, SourceUnreachable, UnsupportedAudio
from outpaint_mcp.sources.names import legible, quoted, unescaped
from outpaint_mcp.sources.nearby import files_called, files_near, folded, lies_in
from outpaint_mcp.sources.path_errors import folders_named, missing, no_folder, outside, too_long, unreadable
from outpaint_mcp.sources.scanning import scan

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST_CHARACTERS = 32_767
"""Of a path on Windows, and more than elsewhere; what is longer costs minutes to resolve."""

_WINDOWS_PATH = re.compile(r"[A-Za-z]:[\\/]|\\\\")

_UNFINISHED = frozenset({".part", ".partial", ".crdownload", ".download", ".opdownload"})
"""What browsers append to a file's name for as long as they download it."""
_PROJECT_FOLDERS = {".band": "GarageBand", ".logicx": "Logic Pro", ".fcpbundle": "Final Cut Pro"}


class FoundFile(NamedTuple):
    """A regular file inside the allowed folders, and whether it was given by its path."""

    path: Path
    is_exact: bool


def find_file(text: str, input_dirs: Sequence[Path], *, own: Path | None = None) -> FoundFile:
    """Find the regular file at a path, following symbolic links, or the only one that has such a name.

    Args:
        text: absolute, `~/…`, or relative to any of the folders, which are tried in order; it may begin with
            a folder's own name, and have a shell's backslashes in it.
        input_dirs: the folders that may be read; those that do not exist are passed over.
        own: the folder of our own results, which a name means less than the person's files.

    Raises:
        InvalidRequest: no path on this system.
        RequestNotFound: no file, but what looks like a request id.
        SourceNotAllowed: outside the folders, whether anything is there or not; or no right to read it.
        SourceUnreachable: no such file, or several.
        UnsupportedAudio: a folder, a device, an empty file.
    """
    if len(text) > _MOST_CHARACTERS:
        raise too_long(text, input_dirs)
    roots = existing_folders(input_dirs)
    path = _path(text)
    if not roots:
        raise no_folder(text, input_dirs)
    if is_foreign_share(path, roots):
        raise outside(text, roots, roots)
    candidates = _candidates(path, input_dirs)
    if os.name != "nt" and not any(map(os.path.lexists, candidates)):
        candidates = _candidates(_path(unescaped(text)), input_dirs)
    is_outside = False
    for candidate in candidates:
        try:
            resolved = candidate.resolve()
            if not _is_inside(resolved, roots):
                is_outside = True
                continue
            status = resolved.stat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, RuntimeError) as exc:
            raise unreadable(text, exc) from exc
        _check_usable(resolved, status, text)
        return FoundFile(resolved, is_exact=True)
    if is_outside:
        raise outside(text, input_dirs, roots)
    return FoundFile(_called(path, text, roots, own), is_exact=False)


def find_folder(text: str, input_dirs: Sequence[Path]) -> Path:
    """Find an allowed folder, or one inside it, by its path or its name.

    Raises:
        InvalidRequest: no path on this system.
        SourceNotAllowed: outside the folders, whether anything is there or not.
        SourceUnreachable: no such folder, or several.
    """
    if len(text) > _MOST_CHARACTERS:
        raise too_long(text, input_dirs)
    roots = existing_folders(input_dirs)
    path = _path(text)
    if not roots:
        raise no_folder(text, input_dirs)
    if is_foreign_share(path, roots):
        raise outside(text, roots, roots)
    is_outside = False
    for candidate in _candidates(path, input_dirs):
        try:
            resolved = candidate.resolve()
            if not _is_inside(resolved, roots):
                is_outside = True
            elif resolved.is_dir():
                return resolved
        except (OSError, RuntimeError):
            continue
    if is_outside:
        raise outside(text, input_dirs, roots)
    below = {folder for file in scan(roots).files for folder in file.path.parents}
    called = [each for each in sorted(below) if _is_inside(each, roots) and lies_in(each / "_", path)]
    if len(called) == 1 and ".." not in path.parts:
        return called[0]
    several = f" Several folders have this name: {', '.join(map(str, called[:5]))}." if called else ""
    raise SourceUnreachable(
        f"{quoted(text)} is no folder here.{several} Folders that can be read: {folders_named(input_dirs)}, and those"
        " in them."
    )


def _is_inside(path: Path, roots: Sequence[Path]) -> bool:
    return any(path.is_relative_to(root) for root in roots)


def path_of_file_url(url: str) -> str:
    """The path in a `file:` URL of this machine; `?` and `#` are taken as part of it.

    Raises:
        InvalidRequest: another machine's, not absolute, or a name that no file can have here.
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
        if os.name == "nt":
            raise InvalidRequest(
                f"{quoted(url)} is not percent-encoded UTF-8: give the plain path instead."
            ) from exc
        path = os.fsdecode(unquote_to_bytes(rest))
    return path[1:] if os.name == "nt" else path


def stored_text(path: Path) -> str:
    """A path as text that can be stored and sent: as a `file:` URL where its name is no UTF-8."""
    return str(path) if legible(str(path)) == str(path) else path.as_uri()


def stored_path(text: str) -> Path:
    """The path of which `stored_text` gave the text."""
    return Path(path_of_file_url(text) if text.startswith("file:") else text)


def _plainly(url: str) -> str:
    """Suggest the path that somebody put `file:` in front of, where it can be told from a machine's name."""
    rest = unquote(re.split("[?#]", url[len("file:") :], maxsplit=1)[0])
    path = rest.removeprefix("//")
    is_path = bool(path) and "@" not in path and (path.startswith("~") or "/" not in path or path == rest)
    return f"give the plain path, {quoted(path)}, or " if is_path else ""


def _path(text: str) -> Path:
    if "\0" in text or not _can_be_name(text):
        raise InvalidRequest(f"{quoted(text)} has characters that no file name can have: check the path.")
    if os.name != "nt" and _WINDOWS_PATH.match(text):
        raise InvalidRequest(
            f"{quoted(text)} is a Windows path, but this machine does not run Windows: give the path as it is "
            "here."
        )
    return Path(os.path.expanduser(text)) if text.startswith("~") else Path(text)  # noqa: PTH111  never raises


def _can_be_name(text: str) -> bool:
    """Whether a text has no half characters but those that stand for bytes of a name that is no UTF-8."""
    try:
        text.encode(errors="strict" if os.name == "nt" else "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def _candidates(path: Path, input_dirs: Sequence[Path]) -> list[Path]:
    """Where the file may be: in each folder in turn, then behind a folder's own name, as in `Music/song.ogg`."""
    if path.is_absolute():
        return [path]
    first, *rest = path.parts or ("",)
    behind = [
        root.joinpath(*rest)
        for folder in input_dirs
        for root in existing_folders([folder])
        if folded(first) in {folded(folder.name), folded(root.name)}
    ]
    return [root / path for root in existing_folders(input_dirs)] + behind


def _called(path: Path, text: str, roots: Sequence[Path], own: Path | None) -> Path:
    """The only file that the name fits; what the folders hold is looked at once, and what is found is checked again."""
    files, is_complete = scan(roots)
    name = unescaped(str(path)) if os.name != "nt" else str(path)
    own = next(iter(existing_folders([own])), None) if own else None
    # A whole path means that one file; and what was not looked at may fit as well.
    by_words = is_complete and not Path(name).is_absolute()
    called = files_called(name, files, own, by_words=by_words)
    if len(called) != 1:
        near = files_near(Path(name).name, files, own)
        raise missing(text, roots, called, near, is_complete=is_complete)
    try:
        resolved = called[0].resolve(strict=True)
        if _is_inside(resolved, roots):
            _check_usable(resolved, resolved.stat(), text)
            return resolved
    except (OSError, RuntimeError) as exc:
        raise unreadable(text, exc) from exc
    raise outside(text, roots, roots)


def _check_usable(path: Path, status: os.stat_result, text: str) -> None:
    """Refuse what is no readable file with something in it; nothing is opened, a FIFO would block."""
    suffix = path.suffix.lower()
    if suffix in _UNFINISHED:
        raise UnsupportedAudio(
            f"{quoted(text)} is a download that has not finished: wait until it has, and give the file that it becomes."
        )
    if stat.S_ISDIR(status.st_mode):
        project = _PROJECT_FOLDERS.get(suffix)
        raise UnsupportedAudio(
            f"{quoted(text)} is a {project} project: export the song from that program as WAV and give that file."
            if project
            else f"{quoted(text)} is a folder: give one audio file in it."
        )
    if not stat.S_ISREG(status.st_mode):
        raise UnsupportedAudio(f"{quoted(text)} is a device, a pipe or a socket: give an audio file.")
    if status.st_size == 0:
        raise UnsupportedAudio(
            f"{quoted(text)} is empty: wait until it is fully saved, or give another file."
        )
    if not os.access(path, os.R_OK):
        raise unreadable(text, PermissionError())
