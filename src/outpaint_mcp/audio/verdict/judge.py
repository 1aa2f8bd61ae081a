"""Judges an extended recording: what was requested, what is there, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from outpaint_mcp.audio.files.conversion import STEREO, SampleSpec
from outpaint_mcp.audio.files.decode import probe
from outpaint_mcp.audio.levels import level_db
from outpaint_mcp.audio.sides import Side
from outpaint_mcp.audio.verdict.additions import measure_addition
from outpaint_mcp.audio.verdict.exactness import Changed, changed_frames
from outpaint_mcp.audio.verdict.excerpts import Ends, read_ends
from outpaint_mcp.audio.verdict.faults import find_faults
from outpaint_mcp.audio.verdict.records import Fault, FaultKind, Survival, Verdict
from outpaint_mcp.audio.verdict.seam_checks import check_seam
from outpaint_mcp.audio.verdict.survival import track
from outpaint_mcp.errors import UnsupportedAudio

if TYPE_CHECKING:
    from pathlib import Path

    from outpaint_mcp.audio.types import Samples

_HIGHEST_RATE = 48_000
_EDGE_SECONDS = 90.0
"""How much of either end of the source is searched for and compared; both make three minutes."""
_SPARE_SECONDS = 5.0
_LOOSE_SECONDS = 0.5
_NEAREST_SECONDS, _FAINT_DB = 10.0, 30.0
"""How much of the source is compared separately beside each seam, if it is not too faint."""
_LEAST_SECONDS = 0.1
_SILENT_DB = -85.0
_WHOLE_FRAMES = 0.05
_ALIKE = 0.9999


def judge(  # noqa: PLR0913 - one file, and what is known of it
    source: Path,
    extended: Path,
    *,
    before_seconds: float,
    after_seconds: float,
    max_source_seconds: float,
    begins_seconds: float | None = None,
) -> Verdict:
    """Judge how an extended recording came out.

    Args:
        source: the recording as it was extended.
        extended: the extended one: any rate, channels, encoding and length.
        before_seconds: how much was to be added before it; 0 for nothing.
        after_seconds: how much after it; 0 for nothing.
        max_source_seconds: the longest source to accept.
        begins_seconds: where the source begins in it, if whoever put it there knows; otherwise it should begin
            after what was to be added.

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
    ours = read_ends(source, form, _EDGE_SECONDS, _EDGE_SECONDS, max_seconds=max_source_seconds)
    reach = _EDGE_SECONDS + _SPARE_SECONDS
    theirs = read_ends(extended, form, before_seconds + reach, after_seconds + reach)
    asked = (before_seconds, after_seconds)
    begins = before_seconds if begins_seconds is None else begins_seconds
    return _Case(source, extended, found.sample_rate, form, ours, theirs, *asked, begins).verdict()


class _Place(NamedTuple):
    """Where the source lies in the longer recording, in frames of the common form."""

    start: float
    stop: float
    survival: Survival


@dataclass(frozen=True, slots=True)
class _Case:
    """A source and its extended recording; `ours` and `theirs` are in the form in which they are compared."""

    source: Path
    extended: Path
    source_rate: int
    form: SampleSpec
    ours: Ends
    theirs: Ends
    before_seconds: float
    after_seconds: float
    begins_seconds: float

    def verdict(self) -> Verdict:
        place = self._find()
        additions, seams = [], []
        for side, asked in ((Side.BEFORE, self.before_seconds), (Side.AFTER, self.after_seconds)):
            beyond = place.start if side is Side.BEFORE else self.theirs.frames - place.stop
            actual = max(0.0, beyond / self.form.sample_rate)
            if not asked and actual <= _LEAST_SECONDS:
                continue
            samples, seam = self._around(side, place)
            own, new = (
                (samples[:seam], samples[seam:]) if side is Side.AFTER else (samples[seam:], samples[:seam])
            )
            known_seconds = None if place.survival.found is False else actual
            additions.append(
                measure_addition(
                    own, new, side, self.form.sample_rate, asked_seconds=asked, actual_seconds=known_seconds
                )
            )
            if known_seconds is not None:
                at_seconds = (place.start if side is Side.BEFORE else place.stop) / self.form.sample_rate
                seams.append(check_seam(samples, seam, side, self.form.sample_rate, at_seconds))
        return Verdict(
            seconds=self.theirs.frames / self.form.sample_rate,
            survival=place.survival,
            additions=tuple(additions),
            seams=tuple(seams),
            faults=find_faults(place.survival, tuple(additions), tuple(seams)),
        )

    def _around(self, side: Side, place: _Place) -> tuple[Samples, int]:
        """The source's part in the longer recording and the extension, and the frame at which they meet."""
        edge = round(_EDGE_SECONDS * self.form.sample_rate)
        start, stop = round(place.start), round(place.stop)
        if side is Side.BEFORE:
            seam = min(max(0, start), len(self.theirs.head))
            return self.theirs.head[: min(seam + edge, max(stop, seam))], seam
        first = self.theirs.frames - len(self.theirs.tail)
        seam = min(max(0, stop - first), len(self.theirs.tail))
        begin = max(0, seam - edge, start - first)
        return self.theirs.tail[begin:], seam - begin

    def _find(self) -> _Place:
        """Find the source by its values where it should be, then nearby by its sound, then by its values there."""
        rate = self.form.sample_rate
        expected = round(self.begins_seconds * self.source_rate)
        changed = self._changed(expected)
        if changed and not changed.inside:
            return self._exactly(expected, changed)
        place, whole = self._tracked(changed)
        if changed and whole is not None and rate == self.source_rate and whole != expected:
            elsewhere = self._changed(whole)
            if elsewhere and not elsewhere.inside:
                return self._exactly(whole, elsewhere)
        return place

    def _changed(self, at_frame: int) -> Changed | None:
        loose = [
            round(_LOOSE_SECONDS * self.source_rate) if asked else 0
            for asked in (self.before_seconds, self.after_seconds)
        ]
        return changed_frames(self.source, self.extended, at_frame, (loose[0], loose[1]))

    def _exactly(self, at_frame: int, changed: Changed) -> _Place:
        start = at_frame / self.source_rate * self.form.sample_rate
        survival = Survival(
            found=True,
            bit_exact=True,
            crossfaded_seconds=changed.at_edges / self.source_rate,
            correlation=1.0,
            agreeing=1.0,
            offset_seconds=at_frame / self.source_rate - self.begins_seconds,
        )
        return _Place(start, start + self.ours.frames, survival)

    def _tracked(self, changed: Changed | None) -> tuple[_Place, int | None]:
        """Where it lies by its sound, and the frame at which it begins if that is a whole one."""
        rate, total = self.form.sample_rate, self.ours.frames
        expected = round(self.begins_seconds * rate)
        start, stop = float(expected), float(expected + total)
        head = track(self.ours.head, self.theirs.head, expected, rate)
        if not head.trusted:
            return _Place(start, stop, Survival(found=self._is_silent(), correlation=head.correlation)), None
        start = head.locate(0, expected)
        stop = head.locate(total, expected)
        tail = head
        drift = head.drift
        if len(self.ours.tail) < total:
            first = self.theirs.frames - len(self.theirs.tail)
            begin = total - len(self.ours.tail)
            due = round(head.locate(begin, expected)) - first
            tail = track(self.ours.tail, self.theirs.tail, due, rate)
            if tail.trusted:
                stop = first + tail.locate(len(self.ours.tail), due)
                drift = (first + tail.locate(0, due) - start) / begin - 1
        survival = Survival(
            found=True,
            changed=changed.inside / max(1, changed.frames) if changed else 0.0,
            correlation=min(head.correlation, tail.correlation),
            agreeing=min(head.agreeing, tail.agreeing) if tail.trusted else head.agreeing / 2,
            gain_db=(head.gain_db + tail.gain_db) / 2 if tail.trusted else head.gain_db,
            offset_seconds=start / rate - self.begins_seconds,
            drift_percent=100 * drift,
            lost_seconds=self._lost_at_the_edges(start, stop),
        )
        whole = abs(start - round(start)) < _WHOLE_FRAMES and head.correlation > _ALIKE
        return _Place(start, stop, survival), round(start) if whole and start >= 0 else None

    def _lost_at_the_edges(self, start: float, stop: float) -> float:
        """How much of the source next to added music cannot be recognised, which may be little of the whole."""
        frames = round(_NEAREST_SECONDS * self.form.sample_rate)
        if self.ours.frames < 2 * frames:
            return 0.0
        first = self.theirs.frames - len(self.theirs.tail)
        edges = (
            (self.before_seconds, self.ours.head[:frames], self.theirs.head, round(start)),
            (self.after_seconds, self.ours.tail[-frames:], self.theirs.tail, round(stop) - frames - first),
        )
        usual_db = level_db(self.ours.head)
        lost = [
            asked > 0
            and level_db(own) > usual_db - _FAINT_DB
            and not track(own, theirs, at, self.form.sample_rate).trusted
            for asked, own, theirs, at in edges
        ]
        return sum(lost) * _NEAREST_SECONDS

    def _is_silent(self) -> bool | None:
        """None where there is nothing to recognise the source by, False otherwise."""
        return None if max(map(level_db, (self.ours.head, self.ours.tail))) < _SILENT_DB else False
