"""The audio files below folders: a bounded look, by name only."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_AUDIO_SUFFIX = re.compile(
    r"\.(wav|wave|bwf|w64|rf64|bw64|flac|mp2|mp3|ogg|oga|opus|spx|aif|aiff|aifc|au|snd|caf"
    r"|m4a|m4b|m4r|aac|adts|alac|wma|mka|mp4|m4v|mov|mkv|webm|weba|3gp|3gpp|3g2|asf)",
    re.IGNORECASE,
)
"""Of recordings, and of videos, out of which the sound is taken."""

_MOST_ENTRIES = 5_000
"""Looked at in all: some tens of milliseconds on a local disk."""
_MOST_LEVELS = 4
"""Of folders below an allowed one: artist, album, disc, and one to spare."""


@dataclass(frozen=True, slots=True)
class AudioFile:
    """A file that is audio by its name.

    Attributes:
        modified_at: Unix seconds.
    """

    path: Path
    size_bytes: int
    modified_at: float


class Scan(NamedTuple):
    """What was found, and whether all of the folders' entries were looked at."""

    files: list[AudioFile]
    is_complete: bool


def is_audio_name(suffix: str) -> bool:
    """Whether files with this suffix, its dot included, are audio."""
    return _AUDIO_SUFFIX.fullmatch(suffix) is not None


def scan(roots: Sequence[Path]) -> Scan:
    """Find files with an audio suffix, level by level; links are not followed, what is hidden is passed over.

    Args:
        roots: existing folders that may be read, in the order in which names are looked for in them.
    """
    files: list[AudioFile] = []
    left = _MOST_ENTRIES
    level = list(roots)
    seen: set[Path] = set()
    for _ in range(_MOST_LEVELS + 1):
        below: list[Path] = []
        for folder in level:
            if folder not in seen and left > 0:
                seen.add(folder)
                entries = _entries(folder, left)
                left -= len(entries)
                below += [Path(each.path) for each in entries if _is_folder(each)]
                files += filter(None, map(_audio_file, entries))
        level = below
    return Scan(files, is_complete=left > 0)


def _entries(folder: Path, most: int) -> list[os.DirEntry[str]]:
    """At most so many entries, in order."""
    try:
        with os.scandir(folder) as entries:
            return sorted(islice(entries, most), key=lambda entry: entry.path)
    except OSError:
        return []


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _audio_file(entry: os.DirEntry[str]) -> AudioFile | None:
    path = Path(entry.path)
    if entry.name.startswith(".") or not is_audio_name(path.suffix):
        return None
    try:
        if not entry.is_file(follow_symlinks=False):
            return None
        status = entry.stat(follow_symlinks=False)
    except OSError:
        return None
    return AudioFile(path, status.st_size, status.st_mtime)
