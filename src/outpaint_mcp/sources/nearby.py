"""Files that somebody may have meant who gave a name and no path: those that it fits, and those near it."""

from __future__ import annotations

import os
import re
import unicodedata
from difflib import SequenceMatcher
from heapq import nlargest
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from outpaint_mcp.sources.names import legible, scheme_of, unquoted
from outpaint_mcp.sources.scanning import is_audio_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from outpaint_mcp.sources.scanning import AudioFile

MOST_NAMED = 5
"""Files in one message."""

_MOST_CHARACTERS = 200
"""Of a path that is named in a message."""
_MOST_NAME_CHARACTERS = 255
"""No file's name is longer, and comparing takes the square of it."""
_LEAST_PART_CHARACTERS = 2
_BY_WORDS = 2
_LEAST_LIKENESS = 0.6
"""As `difflib.get_close_matches` has it: one wrong letter in four, or a letter too few in six."""


def fit_of(name: str, path: Path) -> int | None:
    """How a name fits a file: 0 as its name, 1 as that without suffix, 2 by words of it in any order, None not at all.

    Case, the composition of letters, and `_` for a blank make no difference, nor do accents and endings of words in a
    part. A suffix that is given has to be the file's.
    """
    wanted = folded(name)
    if wanted == folded(path.name):
        return 0
    if wanted == folded(path.stem):
        return 1
    stem, suffix = _split(wanted)
    if suffix and suffix != folded(path.suffix):
        return None
    part = _words(stem)
    if len(part) < _LEAST_PART_CHARACTERS:
        return None
    words = _plain(_words(path.stem))
    fits = all(re.search(rf"(?<!\w){re.escape(word)}", words) for word in _plain(part).split())
    return _BY_WORDS if fits else None


def _plain(text: str) -> str:
    """A folded text without accents."""
    apart = unicodedata.normalize("NFKD", text)
    return "".join(mark for mark in apart if not unicodedata.combining(mark))


def files_called(text: str, files: Iterable[AudioFile], own: Path | None, *, by_words: bool) -> list[Path]:
    """The files that a name fits best; a whole name goes before a part, and the person's files before our own.

    Args:
        text: a name, or a path whose folders have to be the file's last ones (all of them where it is absolute).
        files: which there are.
        own: the folder of our own results.
        by_words: whether words of a name will do.
    """
    wanted = Path(text)
    if ".." in wanted.parts or not 0 < len(wanted.name) <= _MOST_NAME_CHARACTERS:
        return []
    ranked: dict[tuple[int, bool], list[Path]] = {}
    for path in (file.path for file in files):
        fit = fit_of(wanted.name, path)
        if fit is not None and (by_words or fit < _BY_WORDS) and lies_in(path, wanted.parent):
            ranked.setdefault((fit, is_below(path, own)), []).append(path)
    return ranked[min(ranked)] if ranked else []


def lies_in(path: Path, folder: Path) -> bool:
    """Whether a path's folder is the one, or ends with it where that is relative."""
    wanted = [folded(part) for part in folder.parts]
    parts = [folded(part) for part in path.parent.parts]
    return parts == wanted if folder.is_absolute() else not wanted or parts[-len(wanted) :] == wanted


def is_below(path: Path, folder: Path | None) -> bool:
    """Whether a path lies in a folder, where there is one."""
    return folder is not None and path.is_relative_to(folder)


def files_near(name: str, files: Iterable[AudioFile], own: Path | None) -> list[Path]:
    """The five files whose names are most like this one, the nearest first; none that is quite another."""
    if len(name) > _MOST_NAME_CHARACTERS:
        return []
    wanted = _words(_split(folded(name))[0])
    matcher = SequenceMatcher(None, "", wanted, autojunk=False)
    scored = ((_likeness(matcher, len(wanted), file.path), file.path) for file in files)
    near = ((score, not is_below(path, own), path) for score, path in scored if score >= _LEAST_LIKENESS)
    return [path for _, _, path in nlargest(MOST_NAMED, near, key=lambda each: each[:2])]


def similar_files(text: str, files: Iterable[AudioFile]) -> list[Path]:
    """The files whose name is that of `text`, but for its case, folder or suffix; the same suffix first."""
    name = Path(text).name
    wanted = {folded(name), folded(Path(name).stem)} - {""}
    found = [file.path for file in files if folded(file.path.stem) in wanted]
    suffix = Path(name).suffix.casefold()
    found.sort(key=lambda path: path.suffix.casefold() != suffix)  # stable: the shallow ones stay ahead
    return found


def as_given(paths: Iterable[Path], roots: Sequence[Path]) -> list[str]:
    """Paths for a message, up to five, as they can be given: relative to their folder where that is unambiguous."""
    return list(islice(filter(_can_be_given, (shortest(path, roots) for path in paths)), MOST_NAMED))


def folded(name: str) -> str:
    """The name, however its letters are composed (macOS takes accents apart) and whatever their case."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", legible(name)).casefold())


def shortest(path: Path, roots: Sequence[Path]) -> str:
    """The path relative to the folder it lies in, unless that would lead to another file."""
    for place, root in enumerate(roots):
        if path.is_relative_to(root):
            relative = path.relative_to(root)
            is_free = not any(os.path.lexists(earlier / relative) for earlier in roots[:place])
            return relative.as_posix() if is_free else str(path)
    return str(path)


def reference_to(path: Path, roots: Sequence[Path]) -> str:
    """What can be given for a file: its shortest path, or a `file:` URL where that would be misread."""
    shown = shortest(path, roots)
    return shown if _can_be_given(shown) else path.as_uri()


def _can_be_given(shown: str) -> bool:
    return (
        len(shown) <= _MOST_CHARACTERS
        and shown.isprintable()
        and shown == unquoted(shown)
        and not scheme_of(shown)
        and not shown.startswith("~")
    )


def _split(name: str) -> tuple[str, str]:
    """A name without its suffix, and that, if it is one of audio; `mix v1.5` has none."""
    suffix = Path(name).suffix
    return (name.removesuffix(suffix), suffix) if suffix and is_audio_name(suffix) else (name, "")


def _words(name: str) -> str:
    return " ".join(folded(name).replace("_", " ").split())


def _likeness(matcher: SequenceMatcher[str], characters: int, path: Path) -> float:
    """How like a name of so many characters is to a file's, or to the beginning of that, from 0 to 1."""
    stem = _words(path.stem)
    best = 0.0
    for part in {stem, stem[:characters]}:
        matcher.set_seq1(part)
        if min(matcher.real_quick_ratio(), matcher.quick_ratio()) >= max(best, _LEAST_LIKENESS):
            best = max(best, matcher.ratio())
    return best
