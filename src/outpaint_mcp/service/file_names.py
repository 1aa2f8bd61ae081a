"""What a delivered file is called: after its source, what was added, and the form it is in."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from outpaint_mcp.export_options import ExportOptions
    from outpaint_mcp.storage.journal import Journal
    from outpaint_mcp.storage.records import RequestRecord

# What people call an audio file; any other dot in a name belongs to it.
_AUDIO_SUFFIXES = {".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac", ".aif", ".aiff"}

PARTS_PATTERN = ".op_*.part"
"""Matches what `part_of` names."""


def place_at(target: Path, suffix: str) -> Path:
    """Return a place that was asked for, with the suffix that the file has."""
    is_audio = target.suffix.lower() in _AUDIO_SUFFIXES
    return target.with_suffix(suffix) if is_audio else target.with_name(target.name + suffix)


def places_in(folder: Path, name: str, suffix: str) -> Iterator[Path]:
    """Propose places for a file in a folder, in the order in which a person would look for it."""
    yield folder / f"{name}{suffix}"
    for number in itertools.count(2):
        yield folder / f"{name} ({number}){suffix}"


def key_of(request_id: str, options: ExportOptions | str) -> str:
    """Name one form of a request's result in a way that fits a file name; `str` of options does as well."""
    return f"{request_id}.{str(options).replace(', ', '-').replace(' ', '-')}"


def part_of(place: Path, request_id: str, options: ExportOptions | str) -> Path:
    """Name the file that holds a copy until it is complete; the next delivery finds it if this one is killed."""
    return place.with_name(f".{key_of(request_id, options)}.part")


def name_of(journal: Journal, record: RequestRecord, options: ExportOptions) -> str:
    """Name a file after its source and what was added, without a suffix."""
    if options.part == "whole":
        name = f"{record.title}, extended {_added(*_total_added(journal, record))}"
    else:
        name = f"{record.title}, {getattr(record, f'extend_{options.part}_duration'):.4g}s {options.part}"
    if record.takes > 1:
        takes = journal.takes(record.take_of or record.request_id)
        name += f", take {[take.request_id for take in takes].index(record.request_id) + 1}"
    return name if options.restore_source else f"{name}, as made"


def _total_added(journal: Journal, record: RequestRecord) -> tuple[float, float]:
    """Return the seconds added before and after the first source of a chain."""
    before, after = record.extend_before_duration, record.extend_after_duration
    while record.parent_request_id is not None:
        record = journal.get(record.parent_request_id)
        before += record.extend_before_duration
        after += record.extend_after_duration
    return before, after


def _added(before_seconds: float, after_seconds: float) -> str:
    sides = ((before_seconds, "before"), (after_seconds, "after"))
    return " and ".join(f"{seconds:.4g}s {side}" for seconds, side in sides if seconds)
