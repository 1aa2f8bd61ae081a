"""Judges an extended recording: what was requested, what is there, and what is wrong with it."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np

from outpaint_mcp.audio.files.conversion import STEREO, SampleSpec
from outpaint_mcp.audio.files.decode import probe
from outpaint_mcp.audio.layout import Preserved
from outpaint_mcp.audio.sides import Side
from outpaint_mcp.audio.verdict.ends import measure_ends, missing_end, without_what_was_asked
from outpaint_mcp.audio.verdict.excerpts import read_excerpts
from outpaint_mcp.audio.verdict.faults import find_faults, length_fault
from outpaint_mcp.audio.verdict.gaps import (
    EDGE_SECONDS,
    MOST_NEW_SECONDS,
    OWN_SECONDS,
    GapJudge,
    gaps_between,
)
from outpaint_mcp.audio.verdict.holes import find_hole, softest_db
from outpaint_mcp.audio.verdict.listeners import LEVEL_SECONDS
from outpaint_mcp.audio.verdict.placing import Place, Search, Stretch
from outpaint_mcp.audio.verdict.records import Addition, End, Fault, FaultKind, Seam, Survival, Verdict
from outpaint_mcp.audio.verdict.reference import Reference, combined, measure_all_bends, measure_reference
from outpaint_mcp.audio.verdict.seam_checks import NEAR_SECONDS, check_inner_seam
from outpaint_mcp.audio.verdict.whole import WholeFile, at_rate, inner_seams, level_spans, reused
from outpaint_mcp.errors import UnsupportedAudio

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from outpaint_mcp.audio.types import Floats
    from outpaint_mcp.audio.verdict.excerpts import Excerpts
    from outpaint_mcp.audio.verdict.records import Asked

_HIGHEST_RATE = 48_000
_SPARE_SECONDS = 5.0
_END_SECONDS = 4.0
"""How long a beginning or an ending may be that was made and nobody asked for."""
_LOOP_SECONDS = 4.0
"""A loop is as long as its bars allow."""


def judge(source: Path, extended: Path, asked: Asked, *, max_source_seconds: float) -> Verdict:
    """Judge how an extended recording came out.

    Args:
        source: the recording as it was extended.
        extended: the extended one: any rate, channels, encoding and length.
        asked: what was asked of it, and what is known of it.
        max_source_seconds: the longest source to accept.

    Raises:
        SourceUnreachable: if one of the files is not there or may not be read.
        SourceTooLarge: if the source lasts longer than `max_source_seconds`.
        UnsupportedAudio: if the source cannot be decoded.
    """
    found = probe(source)
    try:
        channels = probe(extended).channels
    except UnsupportedAudio:
        return Verdict(0.0, Survival(found=False), faults=(Fault(FaultKind.UNREADABLE),))
    form = SampleSpec(min(found.sample_rate, _HIGHEST_RATE), min(STEREO, found.channels, channels))
    preserved = asked.preserved or (
        Preserved(0, sys.maxsize, round(asked.before_seconds * found.sample_rate)),
    )
    scale = form.sample_rate / found.sample_rate
    head, tail = (
        min(EDGE_SECONDS, (each.stop - each.start) / found.sample_rate)
        for each in (preserved[0], preserved[-1])
    )
    ours = read_excerpts(
        source,
        form,
        head,
        tail,
        start_frame=round(preserved[0].start * scale),
        stop_frame=preserved[-1].stop * scale,
        max_seconds=max_source_seconds,
    )
    return _Judgement(source, extended, asked, form, found.sample_rate, preserved, ours).verdict()


class _Judgement:
    """A source and its extended recording; all frames are those of the form in which they are compared."""

    def __init__(  # noqa: PLR0913 - what is compared
        self,
        source: Path,
        extended: Path,
        asked: Asked,
        form: SampleSpec,
        source_rate: int,
        preserved: tuple[Preserved, ...],
        ours: Excerpts,
    ) -> None:
        self._source, self._extended, self._asked = source, extended, asked
        self._form, self._rate, self._source_rate = form, form.sample_rate, source_rate
        self._preserved, self._ours = preserved, ours
        self._scale = form.sample_rate / source_rate
        self._layout = at_rate(asked.layout, form.sample_rate)
        self._source_seconds = ours.stored_frames / source_rate
        self._reference = cache(self._measure_reference)

    def verdict(self) -> Verdict:
        due = Search(*self._files(), self._ours, self._ours, self._is_longer()).due()
        edges = [round(edge) for stretch in due for edge in stretch]
        inner, softly = inner_seams(self._layout, edges)
        whole = WholeFile(self._rate, self._form.channels, inner, softly, self._any_reference)
        theirs = self._read(due, whole)
        levels, lufs, true_peak = whole.finish()
        place = Search(*self._files(), self._ours, theirs, self._is_longer()).find()
        reaches = (place.start / self._rate, (theirs.frames - place.stop) / self._rate)
        beginning, ending = measure_ends(levels, self._layout, self._asked, reaches)
        gaps = GapJudge(
            theirs=theirs,
            sample_rate=self._rate,
            reference=self._reference if place.survival.bit_exact else None,
            inner_seams=inner,
            full=self._full(theirs, beginning, ending),
            source_seconds=self._source_seconds,
            bends=partial(measure_all_bends, self._source, self._form),
        )
        if self._asked.ending == "loop" and (around := self._round_trip(theirs)):
            whole.seams.append(around)
        additions: list[Addition] = []
        seams: list[Seam] = []
        for gap in gaps_between(place, theirs.frames, self._rate, self._asked_seconds(), self._left_out()):
            addition, met = gaps.judge(gap)
            additions.append(addition)
            seams += met
        others = self._others(place, theirs, levels, beginning, ending)
        found = find_faults(place.survival, tuple(additions), (*seams, *whole.seams), tuple(others))
        faults = tuple(without_what_was_asked(found, self._asked, beginning, ending))
        faulty = {each.at_seconds for each in faults}
        return Verdict(
            seconds=theirs.frames / self._rate,
            survival=self._with_span(place.survival),
            additions=tuple(additions),
            seams=(*seams, *(each for each in whole.seams if each.at_seconds in faulty)),
            faults=faults,
            seams_checked=len(seams) + len(whole.seams),
            beginning=beginning,
            ending=ending,
            lufs=lufs,
            true_peak_dbtp=true_peak,
            reused=reused(self._layout, place.stretches),
        )

    def _files(self) -> tuple[Path, Path, tuple[Preserved, ...], int, int]:
        return self._source, self._extended, self._preserved, self._source_rate, self._rate

    def _is_longer(self) -> tuple[bool, bool]:
        is_inside = len(self._preserved) > 1
        return self._asked.before_seconds > 0 or is_inside, self._asked.after_seconds > 0 or is_inside

    def _left_out(self) -> tuple[float, ...]:
        """How many seconds of the source are not where they were: before, between and after what is preserved."""
        edges = [
            0,
            *(edge for each in self._preserved for edge in (each.start, each.stop)),
            self._ours.stored_frames,
        ]
        return tuple(
            max(0, stop - start) / self._source_rate
            for start, stop in zip(edges[::2], edges[1::2], strict=True)
        )

    def _asked_seconds(self) -> tuple[float, ...]:
        """How much was to be added before, between and after what is preserved."""
        before, after = self._asked.before_seconds, self._asked.after_seconds
        if self._asked.ending == "loop" and self._asked.layout is not None:
            as_bars_allow = self._asked.layout.frames / self._source_rate - self._source_seconds - before
            after = as_bars_allow if abs(as_bars_allow - after) <= _LOOP_SECONDS else after
        inside = len(self._preserved) - 1
        return (0.0, before + after, *[0.0] * inside) if inside else (before, after)

    def _read(self, due: Sequence[Stretch], whole: WholeFile) -> Excerpts:
        """Decode the extended file: all of it is measured, and what lies near the source is kept."""
        first, last = due[0].start / self._rate, self._expected_seconds() - due[-1].stop / self._rate
        most, edge = (round(seconds * self._rate) for seconds in (MOST_NEW_SECONDS, EDGE_SECONDS))
        spans = [(round(each.stop) - edge, round(each.stop) + most) for each in due[:-1]]
        spans += [(round(each.start) - most, round(each.start) + edge) for each in due[1:]]
        if first > MOST_NEW_SECONDS:
            spans.append((round(due[0].start) - most, round(due[0].start) + edge))
        if last > MOST_NEW_SECONDS:
            spans.append((round(due[-1].stop) - edge, round(due[-1].stop) + most))
        reach = EDGE_SECONDS + _SPARE_SECONDS
        return read_excerpts(
            self._extended,
            self._form,
            min(max(first, self._asked.before_seconds), MOST_NEW_SECONDS) + reach,
            min(max(last, self._asked.after_seconds), MOST_NEW_SECONDS) + reach,
            spans=spans,
            listeners=whole.listeners,
        )

    def _expected_seconds(self) -> float:
        added = self._asked.before_seconds + self._asked.after_seconds
        return self._source_seconds + added

    def _measure_reference(self, side: Side) -> Reference | None:
        frames = round(OWN_SECONDS * self._rate)
        own = self._ours.tail[-frames:] if side is Side.AFTER else self._ours.head[:frames]
        return measure_reference(own, self._rate)

    def _any_reference(self) -> Reference | None:
        after = self._reference(Side.AFTER)
        if self._ours.frames <= OWN_SECONDS * self._rate:
            return after
        return combined(after, self._reference(Side.BEFORE))

    def _full(self, theirs: Excerpts, beginning: End | None, ending: End | None) -> tuple[int, int]:
        """The first frame of full music and the one behind its last."""
        if self._layout is not None:
            return self._layout.full_from, self._layout.full_to
        first, last = (
            round(max(end.seconds, _END_SECONDS) * self._rate) if end else 0 for end in (beginning, ending)
        )
        return first, theirs.frames - last

    def _others(
        self, place: Place, theirs: Excerpts, levels: Floats, beginning: End | None, ending: End | None
    ) -> Iterator[Fault]:
        """What is wrong with the whole, and with its ends."""
        if place.survival.found is False:
            return
        full = self._full(theirs, beginning, ending)
        own, new = level_spans(self._layout, place.stretches, full, theirs.frames, self._rate)
        softest = softest_db(levels, own)
        size = LEVEL_SECONDS * self._rate
        inner = (
            round(full[0] / size) if beginning else -1,
            round(full[1] / size) if ending else len(levels) + 1,
        )
        hole = None if softest is None else find_hole(levels, new, softest, inner)
        if hole:
            yield hole
        for end, side, at in (
            (beginning, Side.BEFORE, 0.0),
            (ending, Side.AFTER, theirs.frames / self._rate),
        ):
            if end and (missing := missing_end(end, side, at)):
                yield missing
        if self._asked.layout is not None and self._asked.layout.sample_rate == self._source_rate:
            side = Side.AFTER if self._asked.after_seconds else Side.BEFORE
            missing_seconds = self._missing_seconds(theirs)
            if wrong := length_fault(missing_seconds, side):
                yield wrong

    def _round_trip(self, theirs: Excerpts) -> Seam | None:
        """The seam at which a loop's end meets its beginning."""
        reference = self._any_reference()
        if reference is None:
            return None
        near = round(NEAR_SECONDS * self._rate)
        end = theirs.tail[-near:]
        return check_inner_seam(
            reference, np.concatenate([end, theirs.head[:near]]), len(end), theirs.frames / self._rate
        )

    def _with_span(self, survival: Survival) -> Survival:
        """Say which part of the source was to be preserved, if that is not all of it."""
        preserved, rate = self._asked.preserved, self._source_rate
        if len(preserved) != 1:
            return survival
        start, stop = preserved[0].start / rate, preserved[0].stop / rate
        if start == 0 and stop >= self._source_seconds:
            return survival
        return replace(survival, from_seconds=start, to_seconds=stop)

    def _missing_seconds(self, theirs: Excerpts) -> float:
        if self._asked.ending == "loop" and self._asked.layout is not None:
            return (self._asked.layout.frames - theirs.stored_frames) / self._source_rate
        rate = self._source_rate
        added = round(self._asked.before_seconds * rate) + round(self._asked.after_seconds * rate)
        return (self._ours.stored_frames + added - theirs.stored_frames) / rate
