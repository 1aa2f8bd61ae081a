"""Music that goes on: the source's own beats rearranged, after its end or before its beginning."""

import numpy as np

from outpaint_mcp.audio.analysis import Material, Music
from outpaint_mcp.audio.course import Course, chart
from outpaint_mcp.audio.loops import loop
from outpaint_mcp.audio.meeting import meet
from outpaint_mcp.audio.render import splice
from outpaint_mcp.audio.shapes import Extension, Floats, Progress, Samples, Segment, Side

_LEAST_UNITS = 8
_CHOOSING_SHARE = 0.7


def _untold(_done: float) -> None:
    """Tell nobody."""


def extend(
    material: Material, side: Side, frames: int, *, seed: int, on_progress: Progress = _untold
) -> Extension:
    """Make music that follows the region's last frame, or leads into its first.

    Args:
        material: the analysed region that touches the edge.
        side: which edge.
        frames: exactly how many to make.
        seed: another seed makes another take; the same seed makes the same samples.
        on_progress: told the fraction done; may raise to stop the work.
    """
    rng = np.random.default_rng([seed & 0xFFFF_FFFF_FFFF_FFFF, 1 if side is Side.AFTER else 2])
    if material.music is None or frames <= 0:
        made = _silence(material, max(frames, 0))
    else:
        made = _rearranged(material, material.music, side, frames, rng, on_progress) or _looped(
            material, side, frames, rng, on_progress
        )
    on_progress(1.0)
    return made


def _silence(material: Material, frames: int) -> Extension:
    """Silence for silence."""
    return Extension(np.zeros((frames, material.samples.shape[1]), np.float32), (), (), "silence", None)


def _rearranged(  # noqa: PLR0913 - the whole request
    material: Material, music: Music, side: Side, frames: int, rng: np.random.Generator, on_progress: Progress
) -> Extension | None:
    """Beats or grains in a new order; None where there are too few."""
    if len(music.units) < _LEAST_UNITS:
        return None
    course = chart(material, music, side, frames, rng, lambda done: on_progress(_CHOOSING_SHARE * done))
    if course is None:
        return None
    rendered = splice(
        material,
        music,
        course,
        side,
        frames,
        lambda done: on_progress(_CHOOSING_SHARE + (1 - _CHOOSING_SHARE) * done),
    )
    samples = rendered.samples
    meet(_outward(samples, side), material, course.edge, side)
    _finish(samples, rendered.sounding, material, music, course, side)
    limit = max(1.0, material.peak)
    np.clip(samples, -limit, limit, out=samples)
    method = "beats" if music.units.metric else "texture"
    return Extension(samples, rendered.segments, rendered.seams, method, tempo_bpm(material, music, side))


def tempo_bpm(material: Material, music: Music, side: Side) -> float | None:
    """The tempo over the 16 beats next to the edge; None where there is no steady beat."""
    if music.beats is None:
        return None
    near = music.beats.frames[-17:] if side is Side.AFTER else music.beats.frames[:17]
    return 60 * material.sample_rate * (len(near) - 1) / float(near[-1] - near[0])


def _outward(samples: Samples, side: Side) -> Samples:
    """The same samples seen from the source's edge."""
    return samples if side is Side.AFTER else samples[::-1]


def _finish(
    samples: Samples, sounding: tuple[int, int], material: Material, music: Music, course: Course, side: Side
) -> None:  # noqa: PLR0913, E501
    """Fade the far end in place, in 2 to 4 s; a landed ending of the source's own needs only a moment."""
    rate, frames = material.sample_rate, len(samples)
    far = _outward(samples, side)
    if course.landed:
        length = sounding[1] - sounding[0]
        fade = min(frames // 2, length, int(0.005 * rate))
        curve: Floats = np.linspace(1, 0, fade)
        far = far[length - fade : length]
    else:
        fade = int(min(0.25 * frames, max(2.0 * rate, 4 * music.units.period_frames), 4 * rate))
        curve = np.cos(np.pi / 2 * (np.arange(fade) + 0.5) / max(fade, 1)) ** 2
        far = far[frames - fade :]
    far *= curve.astype(np.float32)[:, None]


def _looped(
    material: Material, side: Side, frames: int, rng: np.random.Generator, on_progress: Progress
) -> Extension:
    """Overlapping grains where there are too few units."""
    samples, segments = loop(_outward(material.samples, side), material, frames, rng, on_progress)
    fade = int(min(0.25 * frames, 2 * material.sample_rate))
    samples[frames - fade :] *= (np.linspace(1, 0, fade, dtype=np.float32) ** 2)[:, None]
    if side is Side.BEFORE:
        total = len(material.samples)
        samples = np.ascontiguousarray(samples[::-1])
        segments = [
            Segment(
                frames - part.extension_frame - part.frames,
                total - part.source_frame - part.frames,
                part.frames,
            )
            for part in reversed(segments)
        ]
    limit = max(1.0, material.peak)
    np.clip(samples, -limit, limit, out=samples)
    seams = tuple(part.extension_frame for part in segments[1:])
    return Extension(samples, tuple(segments), seams, "loop", None)
