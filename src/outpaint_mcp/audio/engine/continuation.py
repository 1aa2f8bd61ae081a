"""Extending a region: its beats in a new order, after its end or before its beginning."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from outpaint_mcp.audio.engine.arrangement import Course, arrange
from outpaint_mcp.audio.engine.candidates import best_candidate, candidate_count
from outpaint_mcp.audio.engine.edges import find_edges
from outpaint_mcp.audio.engine.intent import Intent
from outpaint_mcp.audio.engine.loop_end import frames_until
from outpaint_mcp.audio.engine.loops import loop
from outpaint_mcp.audio.engine.outer_end import Lines
from outpaint_mcp.audio.engine.outward import OutwardView
from outpaint_mcp.audio.engine.render import cropped, splice
from outpaint_mcp.audio.engine.ringout import SETTLE_SECONDS, RingOut, limit, meet_source, ring_out, settling
from outpaint_mcp.audio.engine.shaping import lines_of, shape_outer
from outpaint_mcp.audio.engine.tiling import tile
from outpaint_mcp.audio.levels import percentile
from outpaint_mcp.audio.sides import Side
from outpaint_mcp.audio.types import Extension

if TYPE_CHECKING:
    from outpaint_mcp.audio.engine.analysis import Material
    from outpaint_mcp.audio.engine.edges import Edge
    from outpaint_mcp.audio.engine.units import Units
    from outpaint_mcp.audio.types import Floats, Progress, Samples

_LEAST_UNITS = 8
_CHOOSING_SHARE = 0.7
"""Share of the progress that choosing the units takes; rendering takes the rest."""
_LANDED_FADE_SECONDS = 0.005
_BEYOND_SECONDS, _LIKE_BEYOND_SECONDS = 0.045, 0.030
"""How much of what the source itself plays on behind the edge is faded out under new music."""
_QUIET_PERCENT, _QUIET_DB, _QUIET_COST = 10.0, 6.0, 1.5
"""Units this much below all but a tenth cost this, on the scale of `leaps`; a little less, a little."""
_SETTLED = 24  # time constants until the decay falls below one step of 24 bits
_SEED_BITS = (1 << 64) - 1
MOST_STRETCH = 0.01
"""Music is played this much faster or slower at most to end on a line: a sixth of a semitone."""
_CUT_STRETCH = 0.002
"""The same for a cut, which need not end on a line: a drift would be heard before that."""


_NATURAL = Intent()


def _ignore_progress(_done: float) -> None:
    """Discard progress reports."""


def extend(  # noqa: PLR0913 - one extension, each part of it named
    material: Material,
    side: Side,
    frames: int,
    *,
    seed: int,
    intent: Intent = _NATURAL,
    on_progress: Progress = _ignore_progress,
) -> Extension:
    """Generate music that follows a region's last frame, or leads into its first.

    Args:
        material: the analysed region at the edge.
        side: the edge to extend.
        frames: exactly how many frames to generate.
        seed: the same seed produces the same samples; a different one usually gives a different take, if the
            source allows several good ones.
        intent: what it is to be like.
        on_progress: called with the completed fraction; it may raise to stop the work.

    Returns:
        The requested frames, whose peak never exceeds the region's; if it returned, about as many.
    """
    rng = np.random.default_rng([seed & _SEED_BITS, 1 if side is Side.AFTER else 2, intent.leg])
    if material.music is None or frames <= 0:
        extension = _silence(material, side, max(frames, 0))
    else:
        view = OutwardView(material, material.music, side)
        extension = (
            _tiled(view, frames, intent)
            or _rearranged(view, frames, intent, rng, on_progress)
            or _looped(view, frames, intent, rng, on_progress)
        )
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


def _tiled(view: OutwardView, frames: int, intent: Intent) -> Extension | None:
    """A loop, continued as it is; None where the region is none."""
    period, total = intent.period, len(view.samples)
    if period is None:
        return None
    if intent.returns:
        frames = max(1, round(frames / period.frames)) * period.frames
    extension = tile(view.material.samples, period, view.side, frames, view.sample_rate)
    if intent.returns or intent.landings is not None:
        return replace(extension, returned=True)
    beat = period.beat_frames or view.music.units.period_frames
    first = period.first - (total if view.side is Side.AFTER else -frames)
    beats = np.rint(np.arange(first % beat, frames, beat)).astype(np.int64)
    bar = beat * (period.beats_per_bar or 1)
    bars = np.rint(np.arange(first % bar, frames, bar)).astype(np.int64)
    lines = Lines(beats, bars if period.beats_per_bar else beats[:0], beat)
    shaped = shape_outer(
        view.turned(extension.samples), lines.turned(frames, view.direction), view, intent.outer
    )
    return replace(extension, outer_frames=shaped)


def _rearranged(
    view: OutwardView, frames: int, intent: Intent, rng: np.random.Generator, on_progress: Progress
) -> Extension | None:
    """Beats or grains in a new order; None where there are too few."""
    if len(view.music.units) < _LEAST_UNITS:
        return None
    ringing = _ringing(view, intent)
    edges = find_edges(view, ringing)
    count = candidate_count(frames, view.sample_rate)
    turns = iter(range(count))

    def render(child: np.random.Generator) -> Extension | None:
        turn = next(turns)
        return _candidate(
            view, ringing, edges, frames, intent, child, lambda done: on_progress((turn + done) / count)
        )

    return best_candidate(view, render, rng, count)


def _candidate(  # noqa: PLR0913 - what the candidates of an extension share, and what they do not
    view: OutwardView,
    ringing: RingOut,
    edges: dict[int, Edge],
    frames: int,
    intent: Intent,
    rng: np.random.Generator,
    on_progress: Progress,
) -> Extension | None:
    """One choice and order of beats or grains, rendered; None where nothing can follow the edge."""
    units = view.music.units
    fill = round(_near(frames)[1] + 2 * units.period_frames) if intent.on_line else frames
    arrangement = arrange(
        view, edges, fill, _course(view, intent), rng, lambda done: on_progress(_CHOOSING_SHARE * done)
    )
    if arrangement is None:
        return None
    returned = arrangement.landed and (intent.returns or intent.landings is not None)
    rendered = splice(
        view,
        arrangement,
        None if returned or intent.on_line else frames,
        lambda done: on_progress(1 - (1 - done) * (1 - _CHOOSING_SHARE)),
    )
    if returned and intent.landings is not None:
        leave = intent.landings.leave_frame(arrangement.last_unit)
        rendered = cropped(rendered, view, frames_until(rendered.segments, leave))
    elif intent.on_line and not returned:
        lines = lines_of(view, rendered)
        rendered = cropped(rendered, view, lines.nearest(frames, *_near(frames)))
    far = view.turned(rendered.samples)
    edge = arrangement.edge
    meet_source(far, ringing, edge.gain_db, edge.agreement, view.sample_rate)
    shaped = 0
    if arrangement.landed and not returned:
        _end_in_silence(far, rendered.sounding_frames, view.sample_rate)
    elif not returned:
        shaped = shape_outer(far, lines_of(view, rendered), view, intent.outer)
    return Extension(
        rendered.samples,
        rendered.segments,
        rendered.seams,
        "beats" if units.metric else "texture",
        _tempo_bpm(view),
        outer_frames=shaped,
        returned=returned,
        lines=tuple(lines_of(view, rendered).frames.tolist()) if returned else (),
        outer_unit=arrangement.last_unit,
    )


def _course(view: OutwardView, intent: Intent) -> Course:
    preference = intent.preference
    if not view.ends_quietly():
        preference = _avoiding_quiet(view.music.units, preference)
    finish = None if intent.landings is None else intent.landings.finish(len(view.music.units))
    return Course(intent.returns, intent.exactly, intent.outer == "natural", preference, finish)


def _near(frames: int) -> tuple[float, float]:
    """Lengths that can be stretched to the one that is wanted."""
    return (1 - _CUT_STRETCH) * frames, (1 + _CUT_STRETCH) * frames


def _avoiding_quiet(units: Units, preference: Floats | None) -> Floats:
    """Add the cost of playing what is quieter than nearly all of the music: a rest is soon mistaken for a hole."""
    usual_db = percentile(units.loudness_db, _QUIET_PERCENT)
    cost = _QUIET_COST * np.clip((usual_db - units.loudness_db) / _QUIET_DB, 0, 1)
    return np.asarray(cost if preference is None else preference + cost)


def _ringing(view: OutwardView, intent: Intent) -> RingOut:
    """What fades out under the new music: what the source itself plays on where it does, else its ring-out."""
    fade = int(_BEYOND_SECONDS * view.sample_rate)
    if intent.beyond is None or len(intent.beyond) < fade:
        return ring_out(view)
    beyond = intent.beyond[:fade]
    return RingOut(beyond, int(_LIKE_BEYOND_SECONDS * view.sample_rate), np.zeros(len(beyond)))


def _tempo_bpm(view: OutwardView) -> float | None:
    """Tempo over the 16 beats next to the edge; None without a steady beat."""
    beats = view.music.beats
    if beats is None:
        return None
    near = beats.frames[:17] if view.backwards else beats.frames[-17:]
    return 60 * view.sample_rate * (len(near) - 1) / float(near[-1] - near[0])


def _end_in_silence(extension: Samples, sounding_frames: int, sample_rate: int) -> None:
    """Close the source's own ending (or beginning) within a moment, in place (outward); silence follows."""
    fade = min(len(extension) // 2, sounding_frames, int(_LANDED_FADE_SECONDS * sample_rate))
    curve = np.linspace(1, 0, fade).astype(np.float32)
    extension[sounding_frames - fade : sounding_frames] *= curve[:, None]


def _looped(
    view: OutwardView, frames: int, intent: Intent, rng: np.random.Generator, on_progress: Progress
) -> Extension:
    """Overlapping grains, for a region with too few units."""
    extension, segments = loop(view, frames, rng, on_progress)
    seams = tuple(segment.extension_frame for segment in segments[1:])
    lines = np.array(sorted(frames - each if view.backwards else each for each in seams), np.int64)
    period = frames / max(1, len(segments))
    shaped = shape_outer(extension, Lines(lines, lines[:0], period), view, intent.outer)
    samples = np.ascontiguousarray(view.turned(extension))
    return Extension(samples, segments, seams, "repetition", None, outer_frames=shaped)
