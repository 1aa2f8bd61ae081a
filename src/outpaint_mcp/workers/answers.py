"""What a worker answers is believed only as far as it can be checked: what it decoded may have taken it over."""

from __future__ import annotations

import logging
import re
from dataclasses import fields, is_dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

from outpaint_mcp import errors
from outpaint_mcp.results import Outcome
from outpaint_mcp.workers.orders import ConvertedFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from outpaint_mcp.workers.wire import ErrorRecord, Progress

_log = logging.getLogger(__name__)

# What the tasks raise, and no more: another kind would say something about the provider, or about money.
_KINDS: dict[str, type[errors.OutpaintError]] = {
    kind.__name__: kind
    for kind in (
        errors.InvalidRequest,
        errors.SourceUnreachable,
        errors.SourceTooLarge,
        errors.UnsupportedAudio,
        errors.GenerationFailed,
        errors.NothingNew,
        errors.InternalError,
    )
}
_MAX_MESSAGE = 2_000
_MAX_STEP = 100
_MAX_TEXT = 64 << 10
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_DIGESTS = frozenset({"sha256", "audio_sha256"})


def error_of(record: ErrorRecord) -> errors.OutpaintError:
    """Return the error that a worker names; an internal error where it is none that a worker has."""
    kind = _KINDS.get(record.kind)
    if kind is None or not record.message.strip():
        return nonsense("an error of no known kind")
    hint = errors.Hint(record.hint) if record.hint in set(errors.Hint) else None
    field = record.field if record.field is None or record.field.isidentifier() else None
    return kind(_shown(record.message, _MAX_MESSAGE), hint=hint, field=field and _shown(field, _MAX_STEP))


def progress_in(progress: Progress) -> tuple[float, str]:
    """Return the share done, from 0 to 1, and the step."""
    share = min(1.0, max(0.0, progress.share)) if isfinite(progress.share) else 0.0
    return share, _shown(progress.step, _MAX_STEP)


def check_answer(answer: object, folder: Path | None) -> None:
    """Check that an answer names no file outside of its order's folder, and no digest that is none.

    Raises:
        InternalError: it does.
    """
    for fault in _faults(answer, folder):
        raise nonsense(fault)


def nonsense(what: str) -> errors.InternalError:
    """Return the error for what no worker of ours writes, and log it."""
    _log.error("A worker process sent %s.", what)
    return errors.InternalError(
        "Internal error: this program and a worker process do not understand each other. The log has the details."
    )


def _faults(value: object, folder: Path | None) -> Iterator[str]:
    if isinstance(value, Path) and (value.parent != folder or value.name == ".."):
        yield "a path outside of its folder"
    elif isinstance(value, str) and (len(value) > _MAX_TEXT or _CONTROLS.search(value)):
        yield "a text that nobody can show"
    elif isinstance(value, tuple):
        for each in value:
            yield from _faults(each, folder)
    elif is_dataclass(value):
        parts = {each.name: getattr(value, each.name) for each in fields(value)}
        yield from _faults(tuple(parts.values()), folder)
        yield from _faults_of_file(value, parts)


def _faults_of_file(record: object, parts: dict[str, object]) -> Iterator[str]:
    if any(parts.get(each) and not _SHA256.fullmatch(str(parts[each])) for each in _DIGESTS):
        yield "a digest that is none"
    if isinstance(record, Outcome | ConvertedFile):
        if any(isinstance(part, float) and not isfinite(part) for part in parts.values()):
            yield "a length without end"
        if parts.get("url") is not None:
            yield "a link"


def _shown(text: str, most: int) -> str:
    """A text of one line without controls, bounded."""
    return "".join(each if each.isprintable() else " " for each in text[:most])
