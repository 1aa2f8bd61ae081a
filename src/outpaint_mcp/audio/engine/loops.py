"""What is too short to be rearranged goes on as overlapping grains of itself."""

import numpy as np

from outpaint_mcp.audio.engine.outlook import Outlook
from outpaint_mcp.audio.fades import crossfade_gains, extrapolate
from outpaint_mcp.audio.shapes import Progress, Samples, Segment
from outpaint_mcp.audio.waves import correlation, mono

_GRAIN_SHARE = 0.6
_WHOLE_SECONDS = 0.2
_SHORTEST_GRAIN_SECONDS = 0.1
_PAST_SECONDS = 0.12
_TRIED = 16


def loop(
    outlook: Outlook, frames: int, rng: np.random.Generator, on_progress: Progress
) -> tuple[Samples, tuple[Segment, ...]]:
    """Go on outward from the source's edge, each grain the best of a few at random places.

    Returns:
        Exactly the asked frames, outward, and the segments in playing order.
    """
    source, rate = outlook.samples, outlook.sample_rate
    grain = _grain_frames(len(source), rate)
    fade = max(4, grain // 4)
    canvas = np.zeros((frames + 2 * grain + fade, source.shape[1]), np.float32)
    canvas[:fade] = extrapolate(source[-int(_PAST_SECONDS * rate) :], fade, rate)
    segments = []
    at = 0
    while at < frames:
        start = _likest_start(canvas[at : at + fade], outlook, grain, rng)
        wave = source[start : start + grain]
        _lay_over(canvas[at : at + len(wave)], wave, fade)
        step = max(len(wave) - fade, 1)
        segments.append(_segment(outlook, frames, at, start, min(step, frames - at)))
        at += step
        on_progress(min(at / frames, 1.0))
    return canvas[:frames], tuple(reversed(segments) if outlook.backwards else segments)


def _grain_frames(total: int, rate: int) -> int:
    """All of a very short source, most of a longer one."""
    if total <= _WHOLE_SECONDS * rate:
        return total
    return max(int(_SHORTEST_GRAIN_SECONDS * rate), int(_GRAIN_SHARE * total))


def _lay_over(there: Samples, wave: Samples, fade: int) -> None:
    """Crossfade into a wave of the same length, in place."""
    fade = min(fade, len(wave))
    falling, rising = crossfade_gains(fade, correlation(there[:fade], wave[:fade]))
    there[:fade] = there[:fade] * falling[:, None] + wave[:fade] * rising[:, None]
    there[fade:] = wave[fade:]


def _segment(outlook: Outlook, frames: int, at: int, start: int, length: int) -> Segment:
    """An outward span of both, in playing order."""
    source_frame, _ = outlook.forward(start, start + length)
    return Segment(frames - at - length if outlook.backwards else at, source_frame, length)


def _likest_start(there: Samples, outlook: Outlook, grain: int, rng: np.random.Generator) -> int:
    """Of a few random places the one whose wave is most like what is to be faded out."""
    source, weights = outlook.samples, outlook.material.downmix
    if len(source) - grain <= _TRIED:
        return 0
    starts = rng.integers(0, len(source) - grain, _TRIED).tolist()
    wanted = mono(there, weights)
    alike = [correlation(wanted, mono(source[start : start + len(there)], weights)) for start in starts]
    return int(starts[int(np.argmax(alike))])
