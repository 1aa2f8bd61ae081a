"""What is measured of the whole file while it is decoded: its levels, its loudness, and every seam inside."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from outpaint_mcp.audio.layout import Layout, Part, PartKind
from outpaint_mcp.audio.loudness import LoudnessMeter
from outpaint_mcp.audio.verdict.listeners import LEVEL_SECONDS, LevelCourse, SeamWindows, TruePeakMeter
from outpaint_mcp.audio.verdict.records import Reused, Seam
from outpaint_mcp.audio.verdict.seam_checks import NEAR_SECONDS, check_inner_seam

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from outpaint_mcp.audio.types import Floats, Samples
    from outpaint_mcp.audio.verdict.excerpts import Listener
    from outpaint_mcp.audio.verdict.reference import Reference

_SHAPED = frozenset({PartKind.LEAD_IN, PartKind.RING_OUT})
"""Nothing meets anything where these begin or end: the same music plays on there."""
_MOVED = frozenset({PartKind.OWN_BEGINNING, PartKind.OWN_ENDING})
"""Beside these the level may change: that is what they are for."""
_ONWARD_SECONDS = 0.05
"""Parts that follow each other in the recording as in the file are one stretch, if they meet to within this."""
_LEAST_REUSED_SECONDS = 0.5


class WholeFile:
    """Hears an extended file from first frame to last.

    Attributes:
        seams: every seam inside that was checked.
    """

    def __init__(
        self,
        sample_rate: int,
        channels: int,
        inner_seams: Sequence[int],
        softly: frozenset[int],
        reference: Callable[[], Reference | None],
    ) -> None:
        """Begin with nothing.

        Args:
            sample_rate: frames per second.
            channels: 1 or 2.
            inner_seams: frames at which parts meet that are not checked otherwise.
            softly: those at which the level may change.
            reference: gives what the source does, called only if there are such seams.
        """
        self._rate = sample_rate
        self._softly = softly
        self._reference = reference
        self._levels = LevelCourse(sample_rate)
        self._peak = TruePeakMeter()
        self._loudness = LoudnessMeter(sample_rate, channels, true_peak=False)
        self._windows = SeamWindows(inner_seams, round(NEAR_SECONDS * sample_rate), self._check)
        self.seams: list[Seam] = []

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """What has to hear every frame."""
        return (self._levels, self._peak, self._loudness, self._windows)

    def finish(self) -> tuple[Floats, float | None, float]:
        """Return the levels `[twentieths]`, the loudness in LUFS and the true peak in dBTP."""
        self._windows.finish()
        return self._levels.finish(), self._loudness.finish().lufs, self._peak.finish()

    def _check(self, seam: int, first: int, around: Samples) -> None:
        reference = self._reference()
        if reference is None:
            return
        found = check_inner_seam(reference, around, seam - first, seam / self._rate)
        if seam in self._softly:
            found = replace(found, level_step_db=None, loudness_jump_lu=None)
        self.seams.append(found)


def inner_seams(layout: Layout | None, edges: Sequence[int]) -> tuple[tuple[int, ...], frozenset[int]]:
    """Return the seams of a layout that are not at given edges, and those of them at which the level may change."""
    if layout is None:
        return (), frozenset()
    parts = tuple(layout.placed())
    inner = [
        (after.start, bool(_MOVED & {before.part.kind, after.part.kind}))
        for before, after in pairwise(parts)
        if all(abs(after.start - edge) > 1 for edge in edges)
        and not _SHAPED & {before.part.kind, after.part.kind}
    ]
    return tuple(start for start, _ in inner), frozenset(start for start, softly in inner if softly)


def level_spans(
    layout: Layout | None,
    stretches: Sequence[tuple[float, float]],
    full: tuple[int, int],
    frames: int,
    sample_rate: int,
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return where in the levels the person's own music is, and where full music was added."""
    if layout is None:
        own = [(start, stop) for start, stop in stretches]
        edges = [0.0, *(edge for span in stretches for edge in span), float(frames)]
        new = list(zip(edges[::2], edges[1::2], strict=True))
    else:
        own = [(start, stop) for part, start, stop in layout.placed() if part.kind is PartKind.SOURCE]
        new = [(start, stop) for part, start, stop in layout.placed() if part.kind is not PartKind.SOURCE]
    new = [(max(start, full[0]), min(stop, full[1])) for start, stop in new]
    size = LEVEL_SECONDS * sample_rate
    return _in_levels(own, size), _in_levels(_joined(new), size)


def reused(layout: Layout | None, stretches: Sequence[tuple[float, float]]) -> tuple[Reused, ...]:
    """Return which stretches of the recording the added music plays, in order."""
    if layout is None:
        return ()
    rate = layout.sample_rate
    found: list[Reused] = []
    edges = [0.0, *(edge for span in stretches for edge in span), float(layout.frames)]
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        for part in layout.between(round(start), round(stop)):
            if part.source_frame is None or part.kind is PartKind.SOURCE:
                continue
            begin, end = part.source_frame / rate, (part.source_frame + part.frames) / rate
            if found and abs(found[-1].stop_seconds - begin) < _ONWARD_SECONDS:
                found[-1] = Reused(found[-1].start_seconds, end)
            else:
                found.append(Reused(begin, end))
    return tuple(each for each in found if each.stop_seconds - each.start_seconds >= _LEAST_REUSED_SECONDS)


def at_rate(layout: Layout | None, sample_rate: int) -> Layout | None:
    """Return a layout in frames of another rate."""
    if layout is None or layout.sample_rate == sample_rate:
        return layout
    scale = sample_rate / layout.sample_rate
    parts = tuple(
        Part(
            part.kind,
            round(stop * scale) - round(start * scale),
            None if part.source_frame is None else round(part.source_frame * scale),
        )
        for part, start, stop in layout.placed()
    )
    return Layout(sample_rate, parts)


def _joined(spans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    joined: list[tuple[float, float]] = []
    for start, stop in spans:
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], stop)
        elif start < stop:
            joined.append((start, stop))
    return joined


def _in_levels(spans: Sequence[tuple[float, float]], size: float) -> list[tuple[int, int]]:
    rounded = [(round(start / size), round(stop / size)) for start, stop in spans]
    return [(start, stop) for start, stop in rounded if start < stop]
