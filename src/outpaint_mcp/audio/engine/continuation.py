"""Music that goes on: the source's own beats rearranged, after its end or before its beginning."""

import numpy as np

from outpaint_mcp.audio.engine.analysis import Material
from outpaint_mcp.audio.engine.course import chart
from outpaint_mcp.audio.engine.edges import Edge
from outpaint_mcp.audio.engine.loops import loop
from outpaint_mcp.audio.engine.meeting import (
    RELEASE_SECONDS,
    SETTLE_SECONDS,
    Ringing,
    limit,
    release_curve,
    ring_out,
    settling,
)
from outpaint_mcp.audio.engine.outlook import Outlook
from outpaint_mcp.audio.engine.render import splice
from outpaint_mcp.audio.shapes import Extension, Progress, Samples, Side

_LEAST_UNITS = 8
_CHOOSING_SHARE = 0.7
_LANDED_FADE_SECONDS = 0.005
_SETTLED = 24  # time constants after which 24 bits hold nothing of it
_SEED_BITS = (1 << 64) - 1


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
        seed: the same seed makes the same samples; another one usually another take, as far as the source
            has several good ones.
        on_progress: told the fraction done; may raise to stop the work.

    Returns:
        The asked frames, never louder at their peak than the region.
    """
    rng = np.random.default_rng([seed & _SEED_BITS, 1 if side is Side.AFTER else 2])
    if material.music is None or frames <= 0:
        made = _silence(material, side, max(frames, 0))
    else:
        outlook = Outlook(material, material.music, side)
        made = _rearranged(outlook, frames, rng, on_progress) or _looped(outlook, frames, rng, on_progress)
    limit(made.samples if side is Side.AFTER else made.samples[::-1], material.peak, material.sample_rate)
    on_progress(1.0)
    return made


def _silence(material: Material, side: Side, frames: int) -> Extension:
    """Silence for silence and for what is too short to tell, come to from the value that the region stops at."""
    samples = np.zeros((frames, material.samples.shape[1]), np.float32)
    edge = material.samples[-1:] if side is Side.AFTER else material.samples[:1]
    if len(edge):
        outward = samples if side is Side.AFTER else samples[::-1]
        near = outward[: int(_SETTLED * SETTLE_SECONDS * material.sample_rate)]
        near += settling(len(near), material.sample_rate) * edge
    return Extension(samples, (), (), "silence", None)


def _rearranged(
    outlook: Outlook, frames: int, rng: np.random.Generator, on_progress: Progress
) -> Extension | None:
    """Beats or grains in a new order; None where there are too few."""
    if len(outlook.music.units) < _LEAST_UNITS:
        return None
    ringing = ring_out(outlook)
    course = chart(outlook, ringing, frames, rng, lambda done: on_progress(_CHOOSING_SHARE * done))
    if course is None:
        return None
    rendered = splice(
        outlook, course, frames, lambda done: on_progress(1 - (1 - done) * (1 - _CHOOSING_SHARE))
    )
    far = outlook.turned(rendered.samples)
    _meet_source(far, ringing, course.edge, outlook.sample_rate)
    _finish(far, outlook, rendered.sounding_frames, landed=course.landed)
    method = "beats" if outlook.music.units.metric else "texture"
    return Extension(rendered.samples, rendered.segments, rendered.seams, method, _tempo_bpm(outlook))


def _tempo_bpm(outlook: Outlook) -> float | None:
    """The tempo over the 16 beats next to the edge; None where there is no steady beat."""
    beats = outlook.music.beats
    if beats is None:
        return None
    near = beats.frames[:17] if outlook.backwards else beats.frames[-17:]
    return 60 * outlook.sample_rate * (len(near) - 1) / float(near[-1] - near[0])


def _meet_source(extension: Samples, ringing: Ringing, edge: Edge, sample_rate: int) -> None:
    """Set the level at the source's edge and let its ringing die away there, in place (outward)."""
    near = extension[: int(RELEASE_SECONDS * sample_rate)]
    near *= release_curve(edge.gain_db, len(near), sample_rate).astype(np.float32)
    blended = ringing.under(near, edge.agreement)
    near[: len(blended)] = blended


def _finish(extension: Samples, outlook: Outlook, sounding_frames: int, *, landed: bool) -> None:
    """Fade the far end in 2 to 4 s, or the last quarter of what is shorter than 8 to 16 s, in place (outward).

    A landed ending of the source's own needs only a moment, and silence follows it.
    """
    rate, frames = outlook.sample_rate, len(extension)
    if landed:
        fade = min(frames // 2, sounding_frames, int(_LANDED_FADE_SECONDS * rate))
        curve = np.linspace(1, 0, fade)
    else:
        sounding_frames = frames
        fade = int(min(0.25 * frames, max(2.0 * rate, 4 * outlook.music.units.period_frames), 4 * rate))
        curve = np.cos(np.pi / 2 * (np.arange(fade) + 0.5) / max(fade, 1)) ** 2
    extension[sounding_frames - fade : sounding_frames] *= curve.astype(np.float32)[:, None]


def _looped(outlook: Outlook, frames: int, rng: np.random.Generator, on_progress: Progress) -> Extension:
    """Overlapping grains where there are too few units."""
    extension, segments = loop(outlook, frames, rng, on_progress)
    fade = int(min(0.25 * frames, 2 * outlook.sample_rate))
    extension[frames - fade :] *= (np.linspace(1, 0, fade, dtype=np.float32) ** 2)[:, None]
    samples = np.ascontiguousarray(outlook.turned(extension))
    seams = tuple(segment.extension_frame for segment in segments[1:])
    return Extension(samples, segments, seams, "loop", None)
