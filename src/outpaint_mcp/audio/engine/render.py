"""From a course to sound: spans of the source faded into each other, met by the source's own ringing at its edge."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from outpaint_mcp.audio.engine.analysis import Material, Music
from outpaint_mcp.audio.engine.course import Course
from outpaint_mcp.audio.engine.handover import Handover, hand_over
from outpaint_mcp.audio.engine.meeting import RELEASE_SECONDS, release_curve
from outpaint_mcp.audio.engine.outlook import Outlook
from outpaint_mcp.audio.fades import crossfade_gains
from outpaint_mcp.audio.shapes import Progress, Samples, Segment
from outpaint_mcp.audio.waves import correlation, level_db

_LEVEL_SECONDS = 1.0
_INAUDIBLE_DB = -70.0
# Leaps closer than a release add up: without a bound, a short chord that is struck again and again sinks away.
_MOST_DOWN_DB = -12.0


@dataclass(frozen=True, slots=True)
class Splice:
    """Music made of spans of the source, before it meets the source's edge.

    Attributes:
        samples: exactly the asked frames; silence where a landed ending came earlier.
        segments: where they come from.
        seams: where one segment hands over to the next.
        sounding_frames: how many of them, from the source on, were filled.
    """

    samples: Samples
    segments: tuple[Segment, ...]
    seams: tuple[int, ...]
    sounding_frames: int


@dataclass(frozen=True, slots=True)
class _Piece:
    """A span of the source with the fades (half their length) and the gain at its entry."""

    start: int
    stop: int
    fade_in: int
    fade_out: int
    gain_db: float


def splice(outlook: Outlook, course: Course, frames: int, on_progress: Progress) -> Splice:
    """Render a course; what is too long for the asked frames is cut away at the far end."""
    material = outlook.material
    pieces = _pieces(material, outlook.music, course, lambda done: on_progress(done / 2))
    total = sum(piece.stop - piece.start for piece in pieces)
    room = max(total, frames)
    at, crop = (room - total, room - frames) if outlook.backwards else (0, 0)
    canvas = np.zeros((room, material.samples.shape[1]), np.float32)
    segments, seams = [], []
    for index, piece in enumerate(pieces):
        _paint(canvas, material, piece, at)
        segments.append(Segment(at - crop, piece.start, piece.stop - piece.start))
        if index:
            seams.append(at - crop)
        at += piece.stop - piece.start
        on_progress(0.5 + 0.5 * (index + 1) / len(pieces))
    return Splice(
        canvas[crop : crop + frames],
        tuple(cropped for segment in segments if (cropped := _crop(segment, frames)) is not None),
        tuple(seam for seam in seams if 0 < seam < frames),
        min(total, frames),
    )


def _crop(segment: Segment, frames: int) -> Segment | None:
    """The part of a segment that lies inside the extension, if any."""
    start = max(segment.extension_frame, 0)
    stop = min(segment.extension_frame + segment.frames, frames)
    if stop <= start:
        return None
    return Segment(start, segment.source_frame + start - segment.extension_frame, stop - start)


def _pieces(material: Material, music: Music, course: Course, on_progress: Progress) -> list[_Piece]:
    """Find every handover, then the fades that fit and the gains that keep the level."""
    spans = [list(run) for run in course.runs]
    fades = []
    for this, following in pairwise(spans):
        handover = hand_over(material, music, this[1], following[0])
        if not _fits(handover, this[0], following[1], len(material.samples)):
            handover = Handover(this[1], min(max(following[0], 0), following[1] - 1), handover.fade_frames)
        this[1], following[0] = handover.leave, handover.enter
        fades.append(handover.fade_frames)
        on_progress(len(fades) / len(spans))
    halves = [
        max(0, min(fade, a[1] - a[0], b[1] - b[0], 2 * b[0], 2 * (len(material.samples) - a[1])) // 2)
        for fade, (a, b) in zip(fades, pairwise(spans), strict=True)
    ]
    gains = _entry_gains_db(material, spans)
    return [
        _Piece(start, stop, fade_in, fade_out, gain)
        for (start, stop), fade_in, fade_out, gain in zip(
            spans, [0, *halves], [*halves, 0], gains, strict=True
        )
    ]


def _fits(handover: Handover, start: int, stop: int, total: int) -> bool:
    """Whether both spans keep more than the fade when handed over like that."""
    fade = handover.fade_frames
    return start + fade < handover.leave <= total and 0 <= handover.enter < stop - fade


def _entry_gains_db(material: Material, spans: list[list[int]]) -> list[float]:
    """Gain at every span's entry that carries the level across; it fades within three seconds."""
    samples, half = material.samples, int(_LEVEL_SECONDS * material.sample_rate / 2)
    release = RELEASE_SECONDS * material.sample_rate
    gains = [0.0]
    for this, following in pairwise(spans):
        residue = gains[-1] * max(0.0, 1 - (this[1] - this[0]) / release)
        left = level_db(samples[max(0, this[1] - half) : this[1] + half])
        entered = level_db(samples[max(0, following[0] - half) : following[0] + half])
        wanted = 0.0 if min(left, entered) < _INAUDIBLE_DB else float(np.clip(left - entered, -9, 3))
        gains.append(float(np.clip(wanted + residue, _MOST_DOWN_DB, 4)))
    return gains


def _paint(canvas: Samples, material: Material, piece: _Piece, at: int) -> None:
    """Put a piece on the canvas from frame `at` on, crossfaded with what is there."""
    wave = material.samples[piece.start - piece.fade_in : piece.stop + piece.fade_out]
    if piece.gain_db:
        wave = wave.copy()
        near = wave[: int(RELEASE_SECONDS * material.sample_rate)]
        near *= release_curve(piece.gain_db, len(near), material.sample_rate)
    fade = 2 * piece.fade_in
    begin = at - piece.fade_in
    wave = wave[: len(canvas) - begin]
    if fade:
        there = canvas[begin : begin + fade]
        falling, rising = crossfade_gains(fade, correlation(there, wave[:fade]))
        there *= falling[:, None]
        there += wave[:fade] * rising[:, None]
    canvas[begin + fade : begin + len(wave)] = wave[fade:]
