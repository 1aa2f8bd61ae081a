"""Overlapping grains, for regions too short to be rearranged."""

import numpy as np

from outpaint_mcp.audio.engine.outward import OutwardView
from outpaint_mcp.audio.fades import crossfade_gains, extrapolate
from outpaint_mcp.audio.levels import correlation, mono
from outpaint_mcp.audio.types import Progress, Samples, Segment

_GRAIN_SHARE = 0.6
"""Length of a grain as a share of the region."""
_WHOLE_SECONDS = 0.2
"""Regions up to this long are repeated whole."""
_SHORTEST_GRAIN_SECONDS = 0.1
_PAST_SECONDS = 0.12
_TRIED = 16
"""Random positions compared for each grain."""


def loop(
    view: OutwardView, frames: int, rng: np.random.Generator, on_progress: Progress
) -> tuple[Samples, tuple[Segment, ...]]:
    """Extend outward from the source's edge with grains, each the best match among random positions.

    Args:
        view: the material, seen outward.
        frames: exactly how many frames to generate.
        rng: random generator.
        on_progress: called with the completed fraction.

    Returns:
        The frames, outward, and the segments in playing order.
    """
    source, rate = view.samples, view.sample_rate
    grain = _grain_frames(len(source), rate)
    fade = max(4, grain // 4)
    canvas = np.zeros((frames + 2 * grain + fade, source.shape[1]), np.float32)
    canvas[:fade] = extrapolate(source[-int(_PAST_SECONDS * rate) :], fade, rate)
    segments = []
    at = 0
    while at < frames:
        start = _best_start(canvas[at : at + fade], view, grain, rng)
        wave = source[start : start + grain]
        _crossfade_into(canvas[at : at + len(wave)], wave, fade)
        step = max(len(wave) - fade, 1)
        segments.append(_segment(view, frames, at, start, min(step, frames - at)))
        at += step
        on_progress(min(at / frames, 1.0))
    return canvas[:frames], tuple(reversed(segments) if view.backwards else segments)


def _grain_frames(total: int, rate: int) -> int:
    """All of a very short source, most of a longer one."""
    if total <= _WHOLE_SECONDS * rate:
        return total
    return max(int(_SHORTEST_GRAIN_SECONDS * rate), int(_GRAIN_SHARE * total))


def _crossfade_into(there: Samples, wave: Samples, fade: int) -> None:
    """Crossfade into a signal of the same length, in place."""
    fade = min(fade, len(wave))
    falling, rising = crossfade_gains(fade, correlation(there[:fade], wave[:fade]))
    there[:fade] = there[:fade] * falling[:, None] + wave[:fade] * rising[:, None]
    there[fade:] = wave[fade:]


def _segment(view: OutwardView, frames: int, at: int, start: int, length: int) -> Segment:
    """Convert an outward span to a segment in playing order."""
    source_frame, _ = view.forward(start, start + length)
    return Segment(frames - at - length if view.backwards else at, source_frame, length)


def _best_start(there: Samples, view: OutwardView, grain: int, rng: np.random.Generator) -> int:
    """The random position whose waveform best matches what is faded out."""
    source, weights = view.samples, view.material.downmix
    if len(source) - grain <= _TRIED:
        return 0
    starts = rng.integers(0, len(source) - grain, _TRIED).tolist()
    wanted = mono(there, weights)
    alike = [correlation(wanted, mono(source[start : start + len(there)], weights)) for start in starts]
    return int(starts[int(np.argmax(alike))])
