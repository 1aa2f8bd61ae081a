"""What was asked of a file's ends, whether they are that, and the tables of `bench.endings`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from bench.verdict import MOST_CLICK_RATIO, MOST_SLIP_MS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.file_ends import Join, OuterEnd

_FULL_DB = -12.0
_LONGEST_NATURAL_SECONDS, _FADE_SECONDS = 4.05, (5.0, 10.05)
_LESS_STRUCK = 0.5


@dataclass(frozen=True, slots=True)
class Outcome:
    """One end of one file.

    Attributes:
        recording: its name.
        kind: what was asked, `ending=...` or `beginning=...`.
        end: what was measured.
        shaped_seconds: how much of it is no full music.
        is_own: whether it is the recording's own ending or beginning.
        length_frames: the file's length less what it has to be.
        has_beat: whether the recording shows a steady beat.
        beat_ms: the length of its beat.
    """

    recording: str
    kind: str
    end: OuterEnd
    shaped_seconds: float
    is_own: bool
    length_frames: int
    has_beat: bool
    beat_ms: float

    @property
    def line_ms(self) -> float:
        """Distance to the nearest beat, or the middle between two."""
        return min(self.end.line_ms, abs(self.beat_ms / 2 - self.end.line_ms))

    @property
    def faults(self) -> list[str]:
        """What is not as it was asked."""
        return [what for what, holds in self._checks() if not holds]

    def _checks(self) -> Iterator[tuple[str, bool]]:
        _side, _, kind = self.kind.partition("=")
        end = self.end
        yield "length", self.length_frames == 0
        if kind in {"fade", "breakdown", "build"} or self.kind == "ending=natural":
            yield "loud at the outer end", end.is_quiet
        if kind == "fade":
            yield "length of the fade", _FADE_SECONDS[0] <= self.shaped_seconds <= _FADE_SECONDS[1]
        if kind == "cut":
            yield "not full", end.moment_db >= _FULL_DB and self.shaped_seconds == 0
        if kind in {"breakdown", "build"}:
            yield "as much is struck", np.mean(end.struck[-2:]) <= _LESS_STRUCK * np.mean(end.struck[:2])
        if kind == "natural" and not self.is_own:
            yield "too long", self.shaped_seconds <= _LONGEST_NATURAL_SECONDS
        if self.has_beat and not self.is_own and kind != "loop":
            yield "off the beat", not self.line_ms > MOST_SLIP_MS
        if kind != "cut":
            yield "click", end.click <= MOST_CLICK_RATIO


def end_table(outcomes: list[Outcome]) -> list[str]:
    """One row for each way to end or to begin."""
    head = (
        "asked",
        "holds",
        "outermost 50 ms, dB",
        "shaped, s",
        "> 6 dB under, s",
        "off the beat, ms",
        "click",
    )
    rows = [_cells(head), "|---" * len(head) + "|"]
    for kind in dict.fromkeys(
        outcome.kind for outcome in sorted(outcomes, key=lambda each: each.kind[0] == "b")
    ):
        own = [outcome for outcome in outcomes if outcome.kind == kind]
        ours = [outcome for outcome in own if not outcome.is_own]
        count = f"{sum(not outcome.faults for outcome in own)} of {len(own)}"
        taken = f" ({len(own) - len(ours)} the recording's own)" if len(ours) < len(own) else ""
        rows.append(
            _cells(
                (
                    kind,
                    count + taken,
                    _spread([outcome.end.last_db for outcome in own], "+.1f"),
                    _spread([outcome.shaped_seconds for outcome in ours], ".1f"),
                    _spread([outcome.end.faded_seconds for outcome in ours], ".1f"),
                    _spread([outcome.line_ms for outcome in ours if outcome.has_beat], ".0f"),
                    _spread([outcome.end.click for outcome in own], ".2f"),
                )
            )
        )
    shares = _struck(
        [outcome for outcome in outcomes if outcome.kind in {"ending=breakdown", "beginning=build"}]
    )
    rows.append(
        f"\nStruck in each eighth of the outermost 16 s, the outermost last, against the mean of all: {shares}"
    )
    faulty = [outcome for outcome in outcomes if outcome.faults]
    rows += [f"- {each.recording}, {each.kind}: {', '.join(each.faults)}" for each in faulty]
    return rows


def _struck(outcomes: list[Outcome]) -> str:
    lines = []
    for kind in dict.fromkeys(outcome.kind for outcome in outcomes):
        shares = np.median([outcome.end.struck for outcome in outcomes if outcome.kind == kind], axis=0)
        lines.append(f"{kind} {' '.join(f'{share:.2f}' for share in shares)} (medians).")
    return " ".join(lines) + "\n"


def join_table(joins: dict[str, list[Join]]) -> list[str]:
    """One row for each way to make a loop."""
    causes = ("flux", "click", "loudness", "chroma", "phase")
    head = (
        *("end to beginning", "passes", "the beginning's own", *causes),
        *("worst click", "median LU", "median slip, ms"),
    )
    rows = [_cells(head), "|---" * len(head) + "|"]
    for method, own in joins.items():
        counts = [str(sum(cause in join.failures for join in own)) for cause in causes]
        slips = [join.measures.phase for join in own if not np.isnan(join.measures.phase)]
        rows.append(
            _cells(
                (
                    method,
                    f"{sum(join.passes for join in own)} of {len(own)}",
                    str(sum(join.passes and bool(join.failures) for join in own)),
                    *counts,
                    f"{max(join.measures.click_ratio for join in own):.2f}",
                    f"{np.median([abs(join.measures.lufs) for join in own]):.1f}",
                    f"{np.median(slips):.1f}" if slips else "-",
                )
            )
        )
    return rows


def _spread(values: list[float], form: str) -> str:
    """The median, and in brackets the least and the most."""
    known = [value for value in values if not np.isnan(value)]
    if not known:
        return "-"
    return f"{np.median(known):{form}} ({min(known):{form}} to {max(known):{form}})"


def _cells(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
