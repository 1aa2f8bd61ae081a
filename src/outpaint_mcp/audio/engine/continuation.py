"""Extending a region: its beats in a new order, after its end or before its beginning."""

import numpy as np

from outpaint_mcp.audio.engine.analysis import Material
from outpaint_mcp.audio.engine.arrangement import arrange
from outpaint_mcp.audio.engine.edges import Edge
from outpaint_mcp.audio.engine.loops import loop
from outpaint_mcp.audio.engine.outward import OutwardView
from outpaint_mcp.audio.engine.render import splice
from outpaint_mcp.audio.engine.ringout import (
    RELEASE_SECONDS,
    SETTLE_SECONDS,
    RingOut,
    limit,
    release_curve,
    ring_out,
    settling,
)
from outpaint_mcp.audio.sides import Side
from outpaint_mcp.audio.types import Extension, Progress, Samples

_LEAST_UNITS = 8
_CHOOSING_SHARE = 0.7
"""Share of the progress that choosing the units takes; rendering takes the rest."""
_LANDED_FADE_SECONDS = 0.005
_SETTLED = 24  # time constants until the decay falls below one step of 24 bits
_SEED_BITS = (1 << 64) - 1


def _ignore_progress(_done: float) -> None:
    """Discard progress reports."""


def extend(
    material: Material, side: Side, frames: int, *, seed: int, on_progress: Progress = _ignore_progress
) -> Extension:
    """Generate music that follows a region's last frame, or leads into its first.

    Args:
        material: the analysed region at the edge.
        side: the edge to extend.
        frames: exactly how many frames to generate.
        seed: the same seed produces the same samples; a different one usually gives a different take, if the
            source allows several good ones.
        on_progress: called with the completed fraction; it may raise to stop the work.

    Returns:
        The requested frames, whose peak never exceeds the region's.
    """
    rng = np.random.default_rng([seed & _SEED_BITS, 1 if side is Side.AFTER else 2])
    if material.music is None or frames <= 0:
        extension = _silence(material, side, max(frames, 0))
    else:
        view = OutwardView(material, material.music, side)
        extension = _rearranged(view, frames, rng, on_progress) or _looped(view, frames, rng, on_progress)
    limit(
        extension.samples if side is Side.AFTER else extension.samples[::-1],
        material.peak,
        material.sample_rate,
    )
    on_progress(1.0)
    return extension


def _silence(material: Material, side: Side, frames: int) -> Extension:
    """Silence, for a silent or very short region, reached by a short decay from the region's last value."""
    samples = np.zeros((frames, material.samples.shape[1]), np.float32)
    edge = material.samples[-1:] if side is Side.AFTER else material.samples[:1]
    if len(edge):
        outward = samples if side is Side.AFTER else samples[::-1]
        near = outward[: int(_SETTLED * SETTLE_SECONDS * material.sample_rate)]
        near += settling(len(near), material.sample_rate) * edge
    return Extension(samples, (), (), "silence", None)


def _rearranged(
    view: OutwardView, frames: int, rng: np.random.Generator, on_progress: Progress
) -> Extension | None:
    """Beats or grains in a new order; None where there are too few."""
    if len(view.music.units) < _LEAST_UNITS:
        return None
    ringing = ring_out(view)
    arrangement = arrange(view, ringing, frames, rng, lambda done: on_progress(_CHOOSING_SHARE * done))
    if arrangement is None:
        return None
    rendered = splice(
        view, arrangement, frames, lambda done: on_progress(1 - (1 - done) * (1 - _CHOOSING_SHARE))
    )
    far = view.turned(rendered.samples)
    _meet_source(far, ringing, arrangement.edge, view.sample_rate)
    _finish(far, view, rendered.sounding_frames, landed=arrangement.landed)
    method = "beats" if view.music.units.metric else "texture"
    return Extension(rendered.samples, rendered.segments, rendered.seams, method, _tempo_bpm(view))


def _tempo_bpm(view: OutwardView) -> float | None:
    """Tempo over the 16 beats next to the edge; None without a steady beat."""
    beats = view.music.beats
    if beats is None:
        return None
    near = beats.frames[:17] if view.backwards else beats.frames[-17:]
    return 60 * view.sample_rate * (len(near) - 1) / float(near[-1] - near[0])


def _meet_source(extension: Samples, ringing: RingOut, edge: Edge, sample_rate: int) -> None:
    """Match the level at the source's edge and fade out its ring-out there, in place (outward)."""
    near = extension[: int(RELEASE_SECONDS * sample_rate)]
    near *= release_curve(edge.gain_db, len(near), sample_rate).astype(np.float32)
    blended = ringing.under(near, edge.agreement)
    near[: len(blended)] = blended


def _finish(extension: Samples, view: OutwardView, sounding_frames: int, *, landed: bool) -> None:
    """Fade out the far end, in place (outward).

    The fade lasts 2 to 4 s, or a quarter of an extension shorter than 8 to 16 s. Where the source's own
    ending (or beginning) was reached, it takes only a moment and silence follows.
    """
    rate, frames = view.sample_rate, len(extension)
    if landed:
        fade = min(frames // 2, sounding_frames, int(_LANDED_FADE_SECONDS * rate))
        curve = np.linspace(1, 0, fade)
    else:
        sounding_frames = frames
        fade = int(min(0.25 * frames, max(2.0 * rate, 4 * view.music.units.period_frames), 4 * rate))
        curve = np.cos(np.pi / 2 * (np.arange(fade) + 0.5) / max(fade, 1)) ** 2
    extension[sounding_frames - fade : sounding_frames] *= curve.astype(np.float32)[:, None]


def _looped(view: OutwardView, frames: int, rng: np.random.Generator, on_progress: Progress) -> Extension:
    """Overlapping grains, for a region with too few units."""
    extension, segments = loop(view, frames, rng, on_progress)
    fade = int(min(0.25 * frames, 2 * view.sample_rate))
    extension[frames - fade :] *= (np.linspace(1, 0, fade, dtype=np.float32) ** 2)[:, None]
    samples = np.ascontiguousarray(view.turned(extension))
    seams = tuple(segment.extension_frame for segment in segments[1:])
    return Extension(samples, segments, seams, "loop", None)
