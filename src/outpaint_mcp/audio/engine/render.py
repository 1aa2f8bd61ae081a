"""Rendering an arrangement: spans of the source, crossfaded into each other."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from outpaint_mcp.audio.engine.analysis import Material, Music
from outpaint_mcp.audio.engine.arrangement import Arrangement
from outpaint_mcp.audio.engine.crossfade import Crossfade, find_crossfade
from outpaint_mcp.audio.engine.outward import OutwardView
from outpaint_mcp.audio.engine.ringout import RELEASE_SECONDS, release_curve
from outpaint_mcp.audio.fades import crossfade_gains
from outpaint_mcp.audio.levels import correlation, level_db
from outpaint_mcp.audio.types import Progress, Samples, Segment

_LEVEL_SECONDS = 1.0
_INAUDIBLE_DB = -70.0
"""Levels below this are not matched."""
_MOST_DOWN_DB = -12.0
"""Gains of leaps closer than a release add up; without a bound, a short repeated chord would fade away."""


@dataclass(frozen=True, slots=True)
class Splice:
    """Rendered spans of the source, before they meet the source's edge.

    Attributes:
        samples: exactly the requested frames; silence after an early ending of the source's own.
        segments: where they come from.
        seams: frames where one segment crossfades into the next.
        sounding_frames: how many frames, from the source on, were filled.
    """

    samples: Samples
    segments: tuple[Segment, ...]
    seams: tuple[int, ...]
    sounding_frames: int


@dataclass(frozen=True, slots=True)
class _Clip:
    """A span of the source.

    Attributes:
        start: first frame.
        stop: frame after the last.
        fade_in: half the length of the fade at its entry, in frames.
        fade_out: the same at its exit.
        gain_db: entry gain.
    """

    start: int
    stop: int
    fade_in: int
    fade_out: int
    gain_db: float


def splice(view: OutwardView, arrangement: Arrangement, frames: int, on_progress: Progress) -> Splice:
    """Render an arrangement. Excess frames are cut off at the far end.

    Args:
        view: the material, seen outward.
        arrangement: what to play.
        frames: exactly how many frames to return.
        on_progress: called with the completed fraction.
    """
    material = view.material
    clips = _clips(material, view.music, arrangement, lambda done: on_progress(done / 2))
    total = sum(clip.stop - clip.start for clip in clips)
    room = max(total, frames)
    at, crop = (room - total, room - frames) if view.backwards else (0, 0)
    canvas = np.zeros((room, material.samples.shape[1]), np.float32)
    segments, seams = [], []
    for index, clip in enumerate(clips):
        _mix_in(canvas, material, clip, at)
        segments.append(Segment(at - crop, clip.start, clip.stop - clip.start))
        if index:
            seams.append(at - crop)
        at += clip.stop - clip.start
        on_progress(0.5 + 0.5 * (index + 1) / len(clips))
    return Splice(
        canvas[crop : crop + frames],
        tuple(cropped for segment in segments if (cropped := _crop(segment, frames)) is not None),
        tuple(seam for seam in seams if 0 < seam < frames),
        min(total, frames),
    )


def _crop(segment: Segment, frames: int) -> Segment | None:
    """The part of a segment inside the extension; None if there is none."""
    start = max(segment.extension_frame, 0)
    stop = min(segment.extension_frame + segment.frames, frames)
    if stop <= start:
        return None
    return Segment(start, segment.source_frame + start - segment.extension_frame, stop - start)


def _clips(material: Material, music: Music, arrangement: Arrangement, on_progress: Progress) -> list[_Clip]:
    """Find every crossfade, then the fades that fit and the gains that match the level."""
    spans = [list(run) for run in arrangement.runs]
    fades = []
    for this, following in pairwise(spans):
        crossfade = find_crossfade(material, music, this[1], following[0])
        if not _fits(crossfade, this[0], following[1], len(material.samples)):
            crossfade = Crossfade(this[1], min(max(following[0], 0), following[1] - 1), crossfade.fade_frames)
        this[1], following[0] = crossfade.leave, crossfade.enter
        fades.append(crossfade.fade_frames)
        on_progress(len(fades) / len(spans))
    halves = [
        max(0, min(fade, a[1] - a[0], b[1] - b[0], 2 * b[0], 2 * (len(material.samples) - a[1])) // 2)
        for fade, (a, b) in zip(fades, pairwise(spans), strict=True)
    ]
    gains = _entry_gains_db(material, spans)
    return [
        _Clip(start, stop, fade_in, fade_out, gain)
        for (start, stop), fade_in, fade_out, gain in zip(
            spans, [0, *halves], [*halves, 0], gains, strict=True
        )
    ]


def _fits(crossfade: Crossfade, start: int, stop: int, total: int) -> bool:
    """Whether both spans remain longer than the fade."""
    fade = crossfade.fade_frames
    return start + fade < crossfade.leave <= total and 0 <= crossfade.enter < stop - fade


def _entry_gains_db(material: Material, spans: list[list[int]]) -> list[float]:
    """Gain at every span's entry that matches the level; it returns to 0 dB within three seconds."""
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


def _mix_in(canvas: Samples, material: Material, clip: _Clip, at: int) -> None:
    """Mix a clip into the canvas from frame `at` on, crossfading with what is there."""
    wave = material.samples[clip.start - clip.fade_in : clip.stop + clip.fade_out]
    if clip.gain_db:
        wave = wave.copy()
        near = wave[: int(RELEASE_SECONDS * material.sample_rate)]
        near *= release_curve(clip.gain_db, len(near), material.sample_rate)
    fade = 2 * clip.fade_in
    begin = at - clip.fade_in
    wave = wave[: len(canvas) - begin]
    if fade:
        there = canvas[begin : begin + fade]
        falling, rising = crossfade_gains(fade, correlation(there, wave[:fade]))
        there *= falling[:, None]
        there += wave[:fade] * rising[:, None]
    canvas[begin + fade : begin + len(wave)] = wave[fade:]
