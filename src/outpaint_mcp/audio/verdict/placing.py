"""Where the preserved stretches of a source lie in its extended recording, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from outpaint_mcp.audio.levels import level_db
from outpaint_mcp.audio.verdict.exactness import Changed, changed_frames
from outpaint_mcp.audio.verdict.records import Survival
from outpaint_mcp.audio.verdict.survival import track

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from outpaint_mcp.audio.layout import Preserved
    from outpaint_mcp.audio.verdict.excerpts import Excerpts

_LOOSE_SECONDS = 0.5
_NEAREST_SECONDS, _FAINT_DB = 10.0, 30.0
"""How much of the source is compared separately beside each seam, if it is not too faint."""
_SILENT_DB = -85.0
_WHOLE_FRAMES = 0.05
_ALIKE = 0.9999


class Stretch(NamedTuple):
    """A stretch of the source in the longer recording, in frames of the common form."""

    start: float
    stop: float


class Place(NamedTuple):
    """Where the source lies, and what became of it."""

    stretches: tuple[Stretch, ...]
    survival: Survival

    @property
    def start(self) -> float:
        """Where the first of it lies."""
        return self.stretches[0].start

    @property
    def stop(self) -> float:
        """Where the last of it ends."""
        return self.stretches[-1].stop


@dataclass(frozen=True, slots=True)
class Search:
    """A source and the recording that should hold it.

    Attributes:
        source: the source's file.
        extended: the longer file.
        preserved: what of the source should be where, in frames of the source; the last may stop beyond its end.
        source_rate: the source's frames per second.
        sample_rate: those of the form in which both are compared.
        ours: both ends of what is preserved, in that form.
        theirs: excerpts of the longer recording in it.
        is_longer: whether anything was to be added before, and after.
    """

    source: Path
    extended: Path
    preserved: tuple[Preserved, ...]
    source_rate: int
    sample_rate: int
    ours: Excerpts
    theirs: Excerpts
    is_longer: tuple[bool, bool]

    def find(self) -> Place:
        """Find the source by its values where it should be, then nearby by its sound, then by its values there."""
        changed = self._changed(0)
        if changed and not changed.inside:
            return self._exactly(0, changed)
        place, shift = self._tracked(changed)
        if changed and shift and self.sample_rate == self.source_rate:
            elsewhere = self._changed(shift)
            if elsewhere and not elsewhere.inside:
                return self._exactly(shift, elsewhere)
        return place

    def due(self) -> tuple[Stretch, ...]:
        """Where the stretches should lie."""
        scale = self.sample_rate / self.source_rate
        starts = [each.at_frame * scale for each in self.preserved]
        lengths = [(each.stop - each.start) * scale for each in self.preserved]
        lengths[-1] = min(
            lengths[-1], self.ours.frames - (self.preserved[-1].start - self.preserved[0].start) * scale
        )
        return tuple(Stretch(start, start + length) for start, length in zip(starts, lengths, strict=True))

    def _changed(self, shift: int) -> Changed | None:
        loose = [round(_LOOSE_SECONDS * self.source_rate) if longer else 0 for longer in self.is_longer]
        moved: Sequence[Preserved] = [
            replace(each, at_frame=each.at_frame + shift) for each in self.preserved
        ]
        return changed_frames(self.source, self.extended, moved, (loose[0], loose[1]))

    def _exactly(self, shift: int, changed: Changed) -> Place:
        by = shift / self.source_rate * self.sample_rate
        survival = Survival(
            found=True,
            bit_exact=True,
            crossfaded_seconds=changed.at_edges / self.source_rate,
            correlation=1.0,
            agreeing=1.0,
            offset_seconds=shift / self.source_rate,
        )
        return Place(tuple(Stretch(start + by, stop + by) for start, stop in self.due()), survival)

    def _tracked(self, changed: Changed | None) -> tuple[Place, int]:
        """Where it lies by its sound, and how many whole frames later than it should; 0 if not whole."""
        rate, due = self.sample_rate, self.due()
        expected = round(due[0].start)
        total = round(due[-1].stop) - expected
        head = track(self.ours.head, self.theirs.head, expected, rate)
        if not head.trusted:
            return Place(due, Survival(found=self._is_silent(), correlation=head.correlation)), 0
        start, stop = head.locate(0, expected), head.locate(total, expected)
        tail, drift = head, head.drift
        if len(self.ours.tail) < total:
            first = self.theirs.frames - len(self.theirs.tail)
            begin = total - len(self.ours.tail)
            at = round(head.locate(begin, expected)) - first
            tail = track(self.ours.tail, self.theirs.tail, at, rate)
            if tail.trusted:
                stop = first + tail.locate(len(self.ours.tail), at)
                drift = (first + tail.locate(0, at) - start) / begin - 1
        survival = Survival(
            found=True,
            changed=changed.inside / max(1, changed.frames) if changed else 0.0,
            correlation=min(head.correlation, tail.correlation),
            agreeing=min(head.agreeing, tail.agreeing) if tail.trusted else head.agreeing / 2,
            gain_db=(head.gain_db + tail.gain_db) / 2 if tail.trusted else head.gain_db,
            offset_seconds=(start - due[0].start) / rate,
            drift_percent=100 * drift,
            lost_seconds=self._lost_at_the_edges(start, stop),
        )
        inner = [edge + start - due[0].start for stretch in due for edge in stretch][1:-1]
        edges = [start, *inner, stop]
        place = Place(tuple(map(Stretch, edges[::2], edges[1::2])), survival)
        whole = abs(start - round(start)) < _WHOLE_FRAMES and head.correlation > _ALIKE and start >= 0
        return place, round(start) - expected if whole else 0

    def _lost_at_the_edges(self, start: float, stop: float) -> float:
        """How much of the source next to added music cannot be recognised, which may be little of the whole."""
        frames = round(_NEAREST_SECONDS * self.sample_rate)
        if min(self.ours.frames, len(self.ours.head), len(self.ours.tail)) < 2 * frames:
            return 0.0
        first = self.theirs.frames - len(self.theirs.tail)
        edges = (
            (self.is_longer[0], self.ours.head[:frames], self.theirs.head, round(start)),
            (self.is_longer[1], self.ours.tail[-frames:], self.theirs.tail, round(stop) - frames - first),
        )
        usual_db = level_db(self.ours.head)
        lost = [
            longer
            and level_db(own) > usual_db - _FAINT_DB
            and not track(own, theirs, at, self.sample_rate).trusted
            for longer, own, theirs, at in edges
        ]
        return sum(lost) * _NEAREST_SECONDS

    def _is_silent(self) -> bool | None:
        """None where there is nothing to recognise the source by, False otherwise."""
        return None if max(map(level_db, (self.ours.head, self.ours.tail))) < _SILENT_DB else False
