"""What is too short to be rearranged goes on as overlapping grains of itself."""

import numpy as np

from outpaint_mcp.audio.analysis import Material
from outpaint_mcp.audio.fades import crossfade_gains, extrapolate
from outpaint_mcp.audio.shapes import Progress, Samples, Segment
from outpaint_mcp.audio.waves import correlation, mono

_GRAIN_SHARE = 0.6
_SHORTEST_GRAIN_SECONDS = 0.1
_PAST_SECONDS = 0.12
_TRIED = 16


def loop(
    source: Samples, material: Material, frames: int, rng: np.random.Generator, on_progress: Progress
) -> tuple[Samples, list[Segment]]:
    """Go on outward from the last frame of `source`, each grain the best of a few at random places.

    Returns:
        Exactly the asked frames, and the segments (in outward frames of extension and source).
    """
    total, rate = len(source), material.sample_rate
    grain = (
        total if total <= 0.2 * rate else max(int(_SHORTEST_GRAIN_SECONDS * rate), int(_GRAIN_SHARE * total))
    )
    fade = max(4, grain // 4)
    canvas = np.zeros((frames + 2 * grain + fade, source.shape[1]), np.float32)
    canvas[:fade] = extrapolate(source[-int(_PAST_SECONDS * rate) :], fade, rate)
    segments = []
    at = 0
    while at < frames:
        there = canvas[at : at + fade]
        start = _likest_start(there, source, material, grain, rng)
        wave = source[start : start + grain]
        over = min(fade, len(wave))
        falling, rising = crossfade_gains(over, correlation(there[:over], wave[:over]))
        there[:over] = there[:over] * falling[:, None] + wave[:over] * rising[:, None]
        canvas[at + over : at + len(wave)] = wave[over:]
        segments.append(Segment(at, start, min(max(len(wave) - fade, 1), frames - at)))
        at += max(len(wave) - fade, 1)
        on_progress(min(at / frames, 1.0))
    return canvas[:frames], segments


def _likest_start(
    there: Samples, source: Samples, material: Material, grain: int, rng: np.random.Generator
) -> int:
    """Of a few random places the one whose wave is most like what is to be faded out."""
    if len(source) - grain <= 8:
        return 0
    starts = rng.integers(0, len(source) - grain, _TRIED)
    wanted = mono(there, material.downmix)
    alike = [
        correlation(wanted, mono(source[start : start + len(there)], material.downmix))
        for start in starts.tolist()
    ]
    return int(starts[int(np.argmax(alike))])
