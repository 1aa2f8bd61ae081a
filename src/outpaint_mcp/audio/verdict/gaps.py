"""The music that was added before, between and after what is preserved of a source, and the seams where they meet."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from outpaint_mcp.audio.features import extract_features
from outpaint_mcp.audio.sides import Side
from outpaint_mcp.audio.verdict.additions import measure_addition
from outpaint_mcp.audio.verdict.course import find_click, find_drop, measure_drift
from outpaint_mcp.audio.verdict.records import Addition, Seam
from outpaint_mcp.audio.verdict.reference import measure_reference, part_of
from outpaint_mcp.audio.verdict.seam_checks import LEAST_NEW_SECONDS, Joint, check_seam

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from outpaint_mcp.audio.types import Samples
    from outpaint_mcp.audio.verdict.excerpts import Excerpts
    from outpaint_mcp.audio.verdict.placing import Place
    from outpaint_mcp.audio.verdict.reference import Reference
    from outpaint_mcp.audio.verdict.spikes import Bends

EDGE_SECONDS = 90.0
"""How much of either end of the source is searched for and compared; both make three minutes."""
OWN_SECONDS = 60.0
"""How much of it is analysed."""
MOST_NEW_SECONDS = 300.0
"""How much added music beside the source is in memory; of what is longer, everything else is measured in passing."""

_FEATURES_OWN_SECONDS, _FEATURES_NEW_SECONDS = 30.0, 240.0
"""How much on both sides of a seam has its features extracted."""
_LEAST_SECONDS = 0.1


class Gap(NamedTuple):
    """Added music: its first frame, the one behind its last, and where the source next to it begins and ends.

    Attributes:
        start: its first frame.
        stop: the frame behind its last.
        own_start: where the stretch of the source before it begins; `start` where there is none.
        own_stop: where the stretch after it ends; `stop` where there is none.
        asked_seconds: how long it was to be.
        actual_seconds: how long it is, without what of the source was moved there; None where nobody knows.
    """

    start: int
    stop: int
    own_start: int
    own_stop: int
    asked_seconds: float
    actual_seconds: float | None

    @property
    def side(self) -> Side:
        """Of the source; after its first stretch for what lies between two."""
        return Side.AFTER if self.own_start < self.start else Side.BEFORE

    @property
    def is_inside(self) -> bool:
        """Whether the source goes on after it."""
        return self.own_start < self.start and self.stop < self.own_stop


def gaps_between(
    place: Place, frames: int, sample_rate: int, asked_seconds: Sequence[float], left_out: Sequence[float]
) -> Iterator[Gap]:
    """Yield what was added, or was to be.

    Args:
        place: where the source is.
        frames: the length of the file.
        sample_rate: frames per second.
        asked_seconds: how much was to be added before, between and after the stretches of the source.
        left_out: how many seconds of the source itself lie there.
    """
    edges = [0, *(round(edge) for stretch in place.stretches for edge in stretch), frames]
    for number, (asked, left) in enumerate(zip(asked_seconds, left_out, strict=True)):
        start, stop = edges[2 * number], edges[2 * number + 1]
        actual = max(0.0, (stop - start) / sample_rate - left)
        if not asked and actual <= _LEAST_SECONDS:
            continue
        own_start = edges[2 * number - 1] if number else start
        own_stop = edges[2 * number + 2] if 2 * number + 2 < len(edges) else stop
        known = None if place.survival.found is False else actual
        yield Gap(max(0, start), max(start, stop), own_start, own_stop, asked, known)


@dataclass(frozen=True, slots=True)
class GapJudge:
    """Measures added music and its seams.

    Attributes:
        theirs: the extended file.
        sample_rate: frames per second.
        reference: gives what the source does at one of its ends; None where that has to be measured in the file.
        inner_seams: frames at which parts meet otherwise.
        full: the frames between which the file is full music: behind its beginning, before its ending.
        source_seconds: the length of the source.
        bends: measures how sharply all of the source bends, beside a stretch of it.
    """

    theirs: Excerpts
    sample_rate: int
    reference: Callable[[Side], Reference | None] | None
    inner_seams: Sequence[int]
    full: tuple[int, int]
    source_seconds: float
    bends: Callable[[Reference], Bends]

    def judge(self, gap: Gap) -> tuple[Addition, list[Seam]]:
        """Measure added music, and the seam at each of its ends that meets the source."""
        rate, side = self.sample_rate, gap.side
        own, new, first = self._sides(gap, side)
        addition = measure_addition(
            own,
            new,
            side,
            rate,
            asked_seconds=gap.asked_seconds,
            actual_seconds=gap.actual_seconds,
            at_seconds=first / rate,
            source_seconds=self.source_seconds,
            outer=self._outer(gap, len(new)),
        )
        addition = replace(addition, is_inside=gap.is_inside)
        if gap.actual_seconds is None:
            return addition, []
        joint = self._joint(gap, side)
        seams = [self._seam(gap, side, joint)]
        if gap.is_inside:
            seams.append(self._seam(gap, Side.BEFORE, self._joint(gap, Side.BEFORE)))
        return addition if joint is None else self._with_course(addition, joint, new, first), seams

    def _sides(self, gap: Gap, faces: Side) -> tuple[Samples, Samples, int]:
        """The source's part beside added music, the added music, and the frame at which that begins."""
        edge, most = (round(seconds * self.sample_rate) for seconds in (EDGE_SECONDS, MOST_NEW_SECONDS))
        if faces is Side.AFTER:
            seam = gap.start
            around, first = self.theirs.between(max(gap.own_start, seam - edge), min(gap.stop, seam + most))
            cut = min(max(0, seam - first), len(around))
            return around[:cut], around[cut:], first + cut
        seam = gap.stop
        around, first = self.theirs.between(max(gap.start, seam - most), min(gap.own_stop, seam + edge))
        cut = min(max(0, seam - first), len(around))
        return around[cut:], around[:cut], first

    def _outer(self, gap: Gap, held: int) -> tuple[Samples, float] | None:
        """The outer part of added music, of which not all is in memory, and the second at which that begins."""
        if held >= gap.stop - gap.start or gap.is_inside:
            return None
        most = round(MOST_NEW_SECONDS * self.sample_rate)
        if gap.side is Side.AFTER:
            outer, first = self.theirs.between(max(gap.start, gap.stop - most), gap.stop)
        else:
            outer, first = self.theirs.between(gap.start, min(gap.stop, gap.start + most))
        return outer, first / self.sample_rate

    def _joint(self, gap: Gap, faces: Side) -> Joint | None:
        """The seam at which the source meets added music; None where there is too little to compare."""
        rate = self.sample_rate
        own, new, _first = self._sides(gap, faces)
        near = round(OWN_SECONDS * rate)
        own = own[-near:] if faces is Side.AFTER else own[:near]
        if len(new) < LEAST_NEW_SECONDS * rate:
            return None
        whole = gap.own_start < gap.start - near if faces is Side.AFTER else gap.own_stop > gap.stop + near
        if self.reference is not None and (whole or not gap.is_inside):
            reference = self.reference(faces)
        else:
            reference = measure_reference(own, rate)
        if reference is None:
            return None
        most_own, most_new = (round(s * rate) for s in (_FEATURES_OWN_SECONDS, _FEATURES_NEW_SECONDS))
        if faces is Side.AFTER:
            own, new = own[-most_own:], new[:most_new]
            parts, seam = (own, new), len(own)
        else:
            own, new = own[:most_own], new[-most_new:]
            parts, seam = (new, own), len(new)
        around = np.concatenate(parts)
        features = extract_features(around, rate, reference.weights)
        begin = seam if faces is Side.AFTER else 0
        added = part_of(features, begin / rate, (begin + len(new)) / rate)
        return Joint(reference, around, features, added, seam, faces, len(new))

    def _seam(self, gap: Gap, faces: Side, joint: Joint | None) -> Seam:
        at = (gap.start if faces is Side.AFTER else gap.stop) / self.sample_rate
        side = None if gap.is_inside else faces
        return Seam(side, at) if joint is None else check_seam(joint, side, at)

    def _with_course(self, addition: Addition, joint: Joint, new: Samples, first: int) -> Addition:
        """What goes wrong in the course of added music."""
        rate = self.sample_rate
        begin = first if joint.faces is Side.AFTER else first + len(new) - joint.new_frames
        seams = [seam - first for seam in self.inner_seams if 0 < seam - first < len(new)]
        shaped = [edge - first for edge in self.full]  # the first full beat strikes where hardly anything was
        apart = sorted([*seams, *shaped])
        click = find_click(joint.reference, joint.reference.bends, new, apart)
        if click.amount > 1:  # unless another part of the source has it as well
            click = find_click(joint.reference, self.bends(joint.reference), new, apart)
        within = (max(self.full[0], begin), min(self.full[1], begin + joint.new_frames))
        drop, drop_db = find_drop(
            joint.reference,
            joint.added,
            ((within[0] - begin) / rate, (within[1] - begin) / rate),
            [(seam + first - begin) / rate for seam in seams],
        )
        drift = measure_drift(joint.reference, joint.added, joint.new_frames)
        return replace(
            addition,
            click=click.amount,
            click_at_seconds=first / rate + click.at_seconds,
            drop=drop.amount,
            drop_db=drop_db,
            drop_at_seconds=begin / rate + drop.at_seconds,
            drift_ms=drift[0] if drift else None,
            usual_drift_ms=drift[1] if drift else None,
        )
