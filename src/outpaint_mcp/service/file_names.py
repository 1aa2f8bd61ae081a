"""What a delivered file is called: after its source, what was added, and the form it is in."""

from __future__ import annotations

import itertools
import secrets
from typing import TYPE_CHECKING

from outpaint_mcp.service.destinations import OTHER_SUFFIXES, WRITTEN_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from outpaint_mcp.export_options import ExportOptions
    from outpaint_mcp.storage.journal import Journal
    from outpaint_mcp.storage.records import RequestRecord

# Hosted models count in tenths of a second.
_TOLERANCE_SECONDS = 0.25

PARTS_PATTERN = ".op_*.part"
"""Matches what `new_part` names."""


def place_at(target: Path, suffix: str) -> Path:
    """Return a place that was asked for, with the suffix that the file has; any other dot in a name belongs to it."""
    is_audio = target.suffix.lower() in WRITTEN_SUFFIXES | OTHER_SUFFIXES
    return target.with_suffix(suffix) if is_audio else target.with_name(target.name + suffix)


def places_in(folder: Path, name: str, suffix: str) -> Iterator[Path]:
    """Propose places for a file in a folder, in the order in which a person would look for it."""
    yield folder / f"{name}{suffix}"
    for number in itertools.count(2):
        yield folder / f"{name} ({number}){suffix}"


def key_of(request_id: str, options: ExportOptions | str) -> str:
    """Name one form of a request's result in a way that fits a file name; `str` of options does as well."""
    return f"{request_id}.{str(options).replace(', ', '-').replace(' ', '-')}"


def new_part(place: Path, request_id: str, options: ExportOptions | str) -> Path:
    """Name a file that holds a copy until it is complete, as nobody can foresee."""
    return place.with_name(f".{key_of(request_id, options)}.{secrets.token_hex(8)}.part")


def parts_of(place: Path, request_id: str, options: ExportOptions | str) -> list[Path]:
    """Find the copies that deliveries left incomplete when they were killed."""
    return [*place.parent.glob(f".{key_of(request_id, options)}.*.part")]


def name_of(journal: Journal, record: RequestRecord, options: ExportOptions) -> str:
    """Name a file after its source and what was added, without a suffix."""
    if options.part == "whole":
        added = _total_added(journal, record)
        name = f"{record.title}, extended "
        name += f"{sum(added):.4g}s inside" if _is_inside(record) else _added(*added)
    else:
        before, after = _added_by(record)
        name = f"{record.title}, {(before if options.part == 'before' else after):.4g}s {options.part}"
    if record.takes > 1:
        takes = journal.takes(record.family)
        name += f", take {[take.request_id for take in takes].index(record.request_id) + 1}"
    if options.bitrate_kbps is not None:
        name += f", {options.bitrate_kbps} kbps"
    return name if options.restore_source else f"{name}, as made"


def _added_by(record: RequestRecord) -> tuple[float, float]:
    """Return the seconds that a request added before and after, as they came out; as asked where that is not known."""
    if record.outcome is None:
        return record.extend_before_duration, record.extend_after_duration
    return record.outcome.before_seconds, record.outcome.after_seconds


def _total_added(journal: Journal, record: RequestRecord) -> tuple[float, float]:
    """Return the seconds added before and after the first source of a chain.

    Where a part was cut out of an earlier result, what is left of its extension is not known: it counts as source.
    """
    before, after = _added_by(record)
    while record.parent_request_id is not None:
        parent = journal.get(record.parent_request_id)
        if _is_cut_out(record, parent):
            break
        record = parent
        earlier_before, earlier_after = _added_by(record)
        before, after = before + earlier_before, after + earlier_after
    return before, after


def _is_inside(record: RequestRecord) -> bool:
    """Whether the new music was put into the source."""
    return record.outcome is not None and len(record.outcome.preserved) > 1


def _is_cut_out(record: RequestRecord, parent: RequestRecord) -> bool:
    """Whether only a part of the parent's result was extended."""
    if record.outcome is None or parent.outcome is None:
        return False
    used_seconds = record.outcome.duration_seconds - sum(_added_by(record))
    return used_seconds < parent.outcome.duration_seconds - _TOLERANCE_SECONDS


def _added(before_seconds: float, after_seconds: float) -> str:
    sides = ((before_seconds, "before"), (after_seconds, "after"))
    return " and ".join(f"{seconds:.4g}s {side}" for seconds, side in sides if seconds)
