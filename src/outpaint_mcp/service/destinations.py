"""Where a result may be put, and which format a file's name asks for."""

from __future__ import annotations

import dataclasses
import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

from outpaint_mcp.disk.folders import is_foreign_share, root_of
from outpaint_mcp.disk.writing import make_persons
from outpaint_mcp.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outpaint_mcp.config import Reach
    from outpaint_mcp.export_options import ExportOptions, Format

_FORMATS: dict[str, tuple[Format, ...]] = {
    ".wav": ("source", "wav16", "wav24", "wav_float"),
    ".flac": ("flac", "source"),
    **dict.fromkeys((".aiff", ".aif", ".aifc", ".caf"), ("source",)),
    ".mp3": ("mp3",),
    ".m4a": ("m4a", "alac"),
    ".ogg": ("ogg",),
    ".opus": ("opus",),
}
"""The formats that a file of each suffix can have; the first one is meant where none is named."""
_AIFF = {".aif": ".aiff", ".aifc": ".aiff"}
"""Other suffixes of the same."""

WAV_FORMATS: tuple[Format, Format, Format] = ("wav16", "wav24", "wav_float")
"""What a lossless file becomes that is no WAV, but named as one: by its depth, up to 24 bits and beyond."""

WRITTEN_SUFFIXES = frozenset(_FORMATS)
OTHER_SUFFIXES = frozenset(
    (
        *(
            ".3g2",
            ".3gp",
            ".3gpp",
            ".aac",
            ".ac3",
            ".adts",
            ".alac",
            ".amr",
            ".ape",
            ".asf",
            ".au",
            ".bw64",
            ".bwf",
        ),
        *(
            ".dff",
            ".dsf",
            ".dts",
            ".eac3",
            ".m4b",
            ".m4r",
            ".m4v",
            ".mid",
            ".midi",
            ".mka",
            ".mkv",
            ".mov",
            ".mp1",
        ),
        *(
            ".mp2",
            ".mp4",
            ".mpc",
            ".oga",
            ".ra",
            ".rf64",
            ".snd",
            ".spx",
            ".tta",
            ".voc",
            ".w64",
            ".weba",
            ".webm",
        ),
        *(".wma", ".wv"),
    )
)
"""What names a file of sound that is not written here; any other dot in a name belongs to it."""

_SEPARATORS = tuple(filter(None, (os.sep, os.altsep)))
_SHOWN_CHARACTERS = 80
_MOST_NAME_BYTES = 240
"""Of the 255 that file systems take; a suffix comes behind it."""


def fit_format(name: str, options: ExportOptions) -> ExportOptions:
    """Return the options with the format that a file's name asks for.

    Raises:
        InvalidRequest: no file of this kind can be written, or another format was asked for.
    """
    suffix = Path(name).suffix.lower()
    if suffix in OTHER_SUFFIXES:
        raise not_written(name)
    formats = _FORMATS.get(suffix)
    if formats is None or (options.format in formats and options.format != "source"):
        return options
    if options.format == "source":
        return dataclasses.replace(options, format=formats[0])
    raise InvalidRequest(
        f"{Path(name).name} ends in {suffix}, but the format asked for is {options.format}. Change one of them.",
        field="format",
    )


def check_container(name: str, suffix: str) -> None:
    """Check that a result with this suffix can have a name: AIFF and CAF are written only of what they were before.

    Raises:
        InvalidRequest: the name is that of another.
    """
    asked = _AIFF.get(Path(name).suffix.lower(), Path(name).suffix.lower())
    if _FORMATS.get(asked) == ("source",) and asked != suffix:
        raise InvalidRequest(
            f"{Path(name).name}: only what came as {asked[1:].upper()} comes back so, and this is {suffix[1:].upper()}."
            f" Use {suffix}, or another suffix that names a format.",
            field="save_as",
        )


def not_written(name: str) -> InvalidRequest:
    """Refuse a file name whose suffix names a format that cannot be written."""
    path = Path(name)
    return InvalidRequest(
        f"{path.name}: {path.suffix[1:].upper()} is not an output format. Use .wav, .flac, .mp3, .m4a, .ogg or .opus."
    )


class Destinations:
    """The folders that a caller's result may be put into by name."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach

    def target_of(self, save_as: str) -> Path | None:
        """Find out what a name or a path means; None where there is none. Blocks.

        Returns:
            The file's place, its suffix left to the format, or an existing folder.

        Raises:
            InvalidRequest: it lies outside the folders, or no file can have this name here.
        """
        text = save_as.strip()
        if not text:
            return None
        try:
            text.encode()
            named = Path(text).expanduser()
            if any(len(os.fsencode(part)) > _MOST_NAME_BYTES for part in named.parts):
                raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))  # noqa: TRY301 - one answer for all
            folders = [self._reach.output_dir, *(each for each in self._reach.export_dirs if each.is_dir())]
            if is_foreign_share(named, folders):
                raise InvalidRequest(_outside(named, folders), field="save_as")
            place = (self._reach.output_dir / named).resolve()
            # The output folder is created at the first delivery.
            roots = [root_of(each) if each.exists() else each.resolve() for each in folders]
            is_allowed = any(place.is_relative_to(each) for each in roots)
            if is_allowed and text.endswith(_SEPARATORS):
                make_persons(place)
        except (OSError, ValueError, RuntimeError) as exc:  # a loop of links; a home folder that nobody has
            raise InvalidRequest(
                "No file can have this name here. Use a plain file name.", field="save_as"
            ) from exc
        if not is_allowed:
            raise InvalidRequest(_outside(named, folders), field="save_as")
        return place


def _outside(place: Path, folders: Sequence[Path]) -> str:
    shown = str(place)
    shown = shown if len(shown) <= _SHOWN_CHARACTERS else f"…{shown[-_SHOWN_CHARACTERS:]}"
    return (
        f"{shown} is outside the folders that may be written to: {', '.join(map(str, folders))}. Use a plain name, to"
        f" save it in {folders[0]}, or a path in one of these. Only the user can allow another folder, in"
        " OUTPAINT_EXPORT_DIRS."
    )
