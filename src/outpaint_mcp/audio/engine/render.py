"""Rendering an arrangement: spans of the source, crossfaded into each other."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from outpaint_mcp.audio.engine.analysis import Material, Music
from outpaint_mcp.audio.engine.arrangement import Arrangement
from outpaint_mcp.audio.engine.crossfade import Crossfade, find_crossfade
from outpaint_mcp.audio.engine.outward import OutwardView
from outpaint_mcp.audio.engine.ringout import FELT_SHARE, RELEASE_SECONDS, release_curve
from outpaint_mcp.audio.fades import blend
from outpaint_mcp.audio.levels import level_db
from outpaint_mcp.audio.types import Progress, Samples, Segment

_LEVEL_SECONDS = 1.0
_LEVELLED_DB = 5.0
"""Up to here, what is levelled is the change of gain alone; more is a change of the music's own level."""
_INAUDIBLE_DB = -70.0
"""Levels below this are not matched."""
_LEAST_DB, _MOST_DOWN_DB = -18.0, -20.0
"""Lowest gain at an entry, alone and with what is left of the one before.

Gains of leaps closer than a release add up; without a bound, a short repeated chord would fade away.
"""


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
        sharp_in: half the length of the fade at its entry above the bass.
        gain_db: entry gain.
        release_frames: how long it takes to return to 0 dB at most; the last span ends where the source follows.
    """

    start: int
    stop: int
    fade_in: int
    fade_out: int
    sharp_in: int
    gain_db: float
    release_frames: int | None = None


def splice(view: OutwardView, arrangement: Arrangement, frames: int | None, on_progress: Progress) -> Splice:
    """Render an arrangement. Excess frames are cut off at the far end.

    Args:
        view: the material, seen outward.
        arrangement: what to play.
        frames: exactly how many frames to return; None for as many as the arrangement has.
        on_progress: called with the completed fraction.
    """
    material = view.material
    clips = _clips(material, view.music, arrangement, lambda done: on_progress(done / 2))
    total = sum(clip.stop - clip.start for clip in clips)
    frames = total if frames is None else frames
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


def cropped(rendered: Splice, view: OutwardView, frames: int | None) -> Splice:
    """Return what is nearest to the source of what was rendered; all of it where there is no more than that."""
    total = len(rendered.samples)
    if frames is None or frames >= total:
        return rendered
    first = total - frames if view.backwards else 0
    segments = (
        Segment(each.extension_frame - first, each.source_frame, each.frames) for each in rendered.segments
    )
    return Splice(
        rendered.samples[first : first + frames],
        tuple(inside for segment in segments if (inside := _crop(segment, frames)) is not None),
        tuple(seam - first for seam in rendered.seams if 0 < seam - first < frames),
        min(rendered.sounding_frames, frames),
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
            enter = min(max(following[0], 0), following[1] - 1)
            fade = crossfade.fade_frames
            crossfade = Crossfade(this[1], enter, fade, fade)
        this[1], following[0] = crossfade.leave, crossfade.enter
        fades.append(crossfade)
        on_progress(len(fades) / len(spans))
    room = [
        max(0, min(a[1] - a[0], b[1] - b[0], 2 * b[0], 2 * (len(material.samples) - a[1])))
        for a, b in pairwise(spans)
    ]
    halves = [min(fade.bass_frames, most) // 2 for fade, most in zip(fades, room, strict=True)]
    sharp = [min(fade.fade_frames, most) // 2 for fade, most in zip(fades, room, strict=True)]
    gains = _entry_gains_db(material, spans)
    clips = [
        _Clip(start, stop, fade_in, fade_out, sharp_in, gain)
        for (start, stop), fade_in, fade_out, sharp_in, gain in zip(
            spans, [0, *halves], [*halves, 0], [0, *sharp], gains, strict=True
        )
    ]
    last = clips[-1]
    clips[-1] = replace(last, release_frames=last.fade_in + last.stop - last.start)
    return clips


def _fits(crossfade: Crossfade, start: int, stop: int, total: int) -> bool:
    """Whether both spans remain longer than the fade."""
    fade = crossfade.fade_frames
    return start + fade < crossfade.leave <= total and 0 <= crossfade.enter < stop - fade


def _entry_gains_db(material: Material, spans: list[list[int]]) -> list[float]:
    """Gain at every span's entry that matches the level; it returns to 0 dB within three seconds."""
    samples, half = material.samples, int(_LEVEL_SECONDS * material.sample_rate / 2)
    release = RELEASE_SECONDS * material.sample_rate
    steps, rate = (material.music.steps if material.music else None), material.sample_rate
    gains = [0.0]
    for this, following in pairwise(spans):
        residue = gains[-1] * max(0.0, 1 - (this[1] - this[0]) / release)
        left = level_db(samples[max(0, this[1] - half) : this[1] + half])
        entered = level_db(samples[max(0, following[0] - half) : following[0] + half])
        wanted = 0.0 if min(left, entered) < _INAUDIBLE_DB else float(np.clip(left - entered, _LEAST_DB, 3))
        if steps is not None and material.music and abs(wanted) < _LEVELLED_DB:
            leave, enter = (np.array([place / rate]) for place in (this[1], following[0]))
            (louder_db,) = steps.measure_jump(material.music.features, leave, enter)
            wanted = float(np.clip(-louder_db / FELT_SHARE, -_LEVELLED_DB, _LEVELLED_DB))
        gains.append(float(np.clip(wanted + residue, _MOST_DOWN_DB, 4)))
    return gains


def _mix_in(canvas: Samples, material: Material, clip: _Clip, at: int) -> None:
    """Mix a clip into the canvas from frame `at` on, crossfading with what is there."""
    wave = material.samples[clip.start - clip.fade_in : clip.stop + clip.fade_out]
    if clip.gain_db:
        wave = wave.copy()
        near = wave[: int(RELEASE_SECONDS * material.sample_rate)]
        near *= release_curve(
            clip.gain_db, len(near), material.sample_rate, within_frames=clip.release_frames
        )
    fade = 2 * clip.fade_in
    begin = at - clip.fade_in
    wave = wave[: len(canvas) - begin]
    if fade:
        there = canvas[begin : begin + fade]
        there[:] = blend(there, wave[:fade], 2 * clip.sharp_in, material.sample_rate)
    canvas[begin + fade : begin + len(wave)] = wave[fade:]
