"""Files that somebody may have meant who named one that is not there."""

from __future__ import annotations

import os
import re
import unicodedata
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from outpaint_mcp.sources.names import scheme_of, unquoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_AUDIO_SUFFIX = re.compile(
    r"\.(wav|wave|w64|rf64|flac|mp3|ogg|oga|opus|aif|aiff|aifc|au|caf|m4a|aac|wma)", re.IGNORECASE
)
"""Also of formats that are not decoded: then the refusal says what to convert."""

_MOST_NAMED = 3
_MOST_ENTRIES = 5_000
"""Looked at in all: some tens of milliseconds on a local disk."""
_MOST_LEVELS = 4
"""Of folders below an allowed one: artist, album, disc, and one to spare."""
_MOST_CHARACTERS = 200
"""Of a path that is named in a message."""


def similar_files(text: str, roots: Sequence[Path]) -> list[str]:
    """Up to three files inside `roots` whose name is that of `text`, but for its case, folder or suffix.

    Args:
        text: the path that leads to no file.
        roots: existing folders that may be read, in the order in which names are looked for in them.

    Returns:
        Paths that can be given as they stand: relative to their folder where that is unambiguous.
    """
    name = Path(text).name
    wanted = {folded(name), folded(Path(name).stem)} - {""}
    found = [path for path in _audio_below(roots) if folded(path.stem) in wanted]
    suffix = Path(name).suffix.casefold()
    found.sort(key=lambda path: path.suffix.casefold() != suffix)  # stable: the shallow ones stay ahead
    return list(islice(filter(_can_be_given, (_shortest(path, roots) for path in found)), _MOST_NAMED))


def folded(name: str) -> str:
    """The name, however its letters are composed (macOS takes accents apart) and whatever their case."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _audio_below(roots: Sequence[Path]) -> Iterator[Path]:
    """Files with an audio suffix, level by level; links are not followed, what is hidden is passed over."""
    left = _MOST_ENTRIES
    level = list(roots)
    seen: set[Path] = set()
    for _ in range(_MOST_LEVELS + 1):
        below: list[Path] = []
        for folder in level:
            if folder not in seen and left > 0:
                seen.add(folder)
                records = _entries(folder, left)
                left -= len(records)
                below += [path for path, is_folder in records if is_folder]
                yield from (path for path, is_folder in records if not is_folder and _is_audio(path))
        level = below


def _entries(folder: Path, most: int) -> list[tuple[Path, bool]]:
    """At most so many entries in order, and whether each is a folder to go into."""
    try:
        with os.scandir(folder) as records:
            return sorted(
                (Path(record.path), record.is_dir(follow_symlinks=False) and not record.name.startswith("."))
                for record in islice(records, most)
            )
    except OSError:
        return []


def _is_audio(path: Path) -> bool:
    named = _AUDIO_SUFFIX.fullmatch(path.suffix) is not None and not path.name.startswith(".")
    return named and path.is_file() and not path.is_symlink()


def _shortest(path: Path, roots: Sequence[Path]) -> str:
    """The path relative to the folder it lies in, unless that would lead to another file."""
    for place, root in enumerate(roots):
        if path.is_relative_to(root):
            relative = path.relative_to(root)
            is_free = not any(os.path.lexists(earlier / relative) for earlier in roots[:place])
            return relative.as_posix() if is_free else str(path)
    return str(path)


def _can_be_given(shown: str) -> bool:
    return (
        len(shown) <= _MOST_CHARACTERS
        and shown.isprintable()
        and shown == unquoted(shown)
        and not scheme_of(shown)
        and not shown.startswith("~")
    )
