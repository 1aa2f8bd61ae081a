"""The result of a request, and how it is stored."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from outpaint_mcp.audio.layout import Layout, Preserved
from outpaint_mcp.audio.verdict.records import Verdict
from outpaint_mcp.errors import StorageFailed

if TYPE_CHECKING:
    from pydantic import TypeAdapter


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of a request; durations in seconds.

    Attributes:
        path: the extended file, in the provider's own folder until it is delivered.
        seed: the seed that was used.
        note: how it was generated, in sentences.
        url: where a hosted provider has the very same file; it can be signed, and is shown nowhere else.
        verdict: how it came out; None where it was not measured.
        audio_sha256: of the file before it was tagged; takes with the same one differ in their tags only.
        restore_refusal: why the source was not put back into what a model generated; None where it was, or where
            there was nothing to put back.
        as_made: the model's own file, where it is another one: the person's samples were put back into this.
        layout: what the file consists of, part by part; None for what only a model knows.
        preserved: which frames of the source it has, and where; empty for all of them, behind what was added before.
        seeds_differ: whether another seed would give another file.
    """

    path: Path
    sha256: str
    size_bytes: int
    duration_seconds: float
    before_seconds: float
    after_seconds: float
    seed: int
    note: str
    url: str | None = None
    verdict: Verdict | None = None
    audio_sha256: str | None = None
    restore_refusal: str | None = None
    as_made: Outcome | None = None
    layout: Layout | None = None
    preserved: tuple[Preserved, ...] = ()
    seeds_differ: bool = True

    @property
    def file_names(self) -> set[str]:
        """The names of its files in the provider's folder."""
        return {each.path.name for each in (self, self.as_made) if each}

    def without_links(self) -> Outcome:
        """Return the same without the links to where a provider stores it."""
        as_made = None if self.as_made is None else self.as_made.without_links()
        return replace(self, url=None, as_made=as_made)


def outcome_to_json(outcome: Outcome) -> str:
    """Put an outcome into a few hundred bytes for storage.

    The measures of its verdict are rounded to six significant digits and at most four decimals, as none is more exact
    than that. The file's own durations are not: parts are cut out of it by them.
    """
    content = _outcomes().dump_python(_with_rounded_verdicts(outcome), mode="json", exclude_defaults=True)
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def outcome_from_json(text: str) -> Outcome:
    """Read an outcome that was stored.

    Raises:
        StorageFailed: it cannot be read.
    """
    try:
        return _outcomes().validate_json(text)
    except ValueError:  # pydantic's, which is not chained: it quotes the text, which may hold a signed link
        raise StorageFailed(
            "A stored result cannot be read: it is damaged, or another version wrote it."
        ) from None


@cache
def _outcomes() -> TypeAdapter[Outcome]:
    from pydantic import TypeAdapter  # noqa: PLC0415 - takes a tenth of a second

    return TypeAdapter(Outcome)


def _with_rounded_verdicts(outcome: Outcome) -> Outcome:
    return replace(
        outcome,
        verdict=outcome.verdict and _rounded(outcome.verdict),
        as_made=outcome.as_made and _with_rounded_verdicts(outcome.as_made),
    )


def _rounded(value: Any) -> Any:  # noqa: ANN401 - a record, or a value of a field
    """A copy in which every number that is not whole is rounded."""
    if isinstance(value, float):
        return round(float(f"{value:.6g}"), 4)
    if isinstance(value, tuple):
        return tuple(map(_rounded, value))
    if is_dataclass(value):
        parts = {each.name: _rounded(getattr(value, each.name)) for each in fields(value)}
        return replace(value, **parts)  # type: ignore[type-var]
    return value
