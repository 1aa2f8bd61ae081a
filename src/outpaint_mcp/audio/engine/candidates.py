"""Rendering several candidates of an extension and keeping the one whose seams strain least."""

from __future__ import annotations

from dataclasses import astuple, replace
from typing import TYPE_CHECKING

import numpy as np

from outpaint_mcp.audio.beats import Beats
from outpaint_mcp.audio.features import extract_features
from outpaint_mcp.audio.levels import mono
from outpaint_mcp.audio.pulse import SLIP_LIMIT_SECONDS, slip_seconds
from outpaint_mcp.audio.seams import (
    CLICK_SECONDS,
    HARMONY_SECONDS,
    LOUDNESS_SECONDS,
    TIMBRE_SECONDS,
    Strain,
    cosine_similarity,
    flux_around,
    harmony,
    loudness_db,
    strongest_click,
    timbre,
    timbre_distance,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from outpaint_mcp.audio.engine.outward import OutwardView
    from outpaint_mcp.audio.features import Features
    from outpaint_mcp.audio.types import Extension, Floats, Ints, Samples

    Render = Callable[[np.random.Generator], Extension | None]
    """Renders one candidate; None where nothing can follow the edge."""

_MOST, _SECONDS_FOR_ALL = 3, 90.0
"""How many candidates are rendered, and up to which length; longer extensions get fewer, so that time is bounded."""
_REACH_SECONDS, _FLUX_REACH_SECONDS = 4.5, 0.3
"""How much on either side of a seam is measured, and how much of it for the flux."""
_LOUDEST_DB = 60.0
_MOST_SEAMS = 12
"""More than these are not measured: many are of one kind, and each takes some milliseconds."""


def candidate_count(frames: int, sample_rate: int) -> int:
    """How many candidates of an extension of so many frames to render, at least one."""
    seconds = max(frames, 1) / sample_rate
    return max(1, min(_MOST, int(_MOST * _SECONDS_FOR_ALL / seconds)))


def best_candidate(
    view: OutwardView, render: Render, rng: np.random.Generator, count: int
) -> Extension | None:
    """Render `count` candidates, each from a random generator of its own, and keep the best.

    The best one leads back to the music at the edge if any does, and has the fewest seams at which something exceeds
    what the source does itself; of several, it is the one that strains least on average.

    Args:
        view: the material, seen outward.
        render: renders one candidate.
        rng: the source of the candidates' generators.
        count: how many to render at most.

    Returns:
        None if `render` returns None.
    """
    best: Extension | None = None
    least = (True, np.inf, np.inf)
    for child in rng.spawn(count):
        candidate = render(child)
        if candidate is None or count == 1:
            return best or candidate
        score = _score(view, candidate)
        if best is None or score < least:
            best, least = candidate, score
    return best


def _score(view: OutwardView, extension: Extension) -> tuple[bool, float, float]:
    """Whether it does not lead back, number of seams with a fault, and mean cost of a seam."""
    strains = seam_strains(view, extension)
    faulty = sum(max(astuple(strain)) > 1 for strain in strains)
    return not extension.returned, float(faulty), float(np.mean([strain.cost for strain in strains]))


def seam_strains(view: OutwardView, extension: Extension) -> list[Strain]:
    """Measure the join with the source and every seam inside an extension; the join comes first."""
    reach = round(_REACH_SECONDS * view.sample_rate)
    edge = view.turned(view.samples[-reach:])
    parts = (extension.samples, edge) if view.backwards else (edge, extension.samples)
    join = len(parts[0])
    offset = 0 if view.backwards else join
    length = len(parts[0]) + len(parts[1])

    def excerpt(seam: int) -> tuple[Samples, int]:
        first, stop = max(0, seam - reach), min(length, seam + reach)
        pieces = [parts[0][first:stop], parts[1][max(0, first - join) : max(0, stop - join)]]
        return np.concatenate(pieces), seam - first

    inner = sorted(_inner_seams(extension), reverse=view.backwards)
    nearest = inner[:_MOST_SEAMS]
    return [
        _strain(view, *excerpt(join), _place_at_edge(view), join=True),
        *(_strain(view, *excerpt(offset + seam), place, join=False) for seam, place in nearest),
    ]


def _place_at_edge(view: OutwardView) -> int:
    return 0 if view.backwards else len(view.samples)


def _inner_seams(extension: Extension) -> Iterator[tuple[int, int]]:
    """Yield each inner seam and the frame of the source that is entered there."""
    entered = {segment.extension_frame: segment.source_frame for segment in extension.segments}
    for seam in extension.seams:
        yield seam, entered.get(seam, 0)


def _strain(view: OutwardView, around: Samples, seam: int, place: int, *, join: bool) -> Strain:
    """Measure a seam in an excerpt, relative to what the source does; a quiet join may change level and harmony."""
    rate, limits = view.sample_rate, view.music.limits
    wave = mono(around, view.material.downmix)
    found = extract_features(around, rate, view.material.downmix)
    features = replace(found, floor_db=view.music.features.floor_db)
    width, reach = round(CLICK_SECONDS * rate), round(_FLUX_REACH_SECONDS * rate)
    before = 4 if join and not view.backwards else width  # what lies inside the source is its own
    after = 4 if join and view.backwards else width
    click = strongest_click(wave[max(0, seam - before) : seam + after])
    first = max(0, seam - reach)
    flux = flux_around(wave[first : seam + reach], seam - first, rate, view.music.features)
    waived = join and view.ends_quietly()

    def change(measure: Callable[[Features, Ints, Ints], Floats], seconds: float) -> tuple[Floats, Floats]:
        span = round(seconds * rate)
        starts, stops = np.array([max(0, seam - span), seam]), np.array([seam, min(len(wave), seam + span)])
        values = measure(features, starts, stops)
        return values[0], values[1]

    loudness = np.subtract(*change(loudness_db, LOUDNESS_SECONDS))
    steps = view.music.steps
    at_seconds = np.array([seam / rate])
    gain_step = 0.0 if steps is None else abs(float(steps.measure(found, at_seconds)[0])) / steps.limit_db
    chroma = 1 - cosine_similarity(*change(harmony, HARMONY_SECONDS))
    return Strain(
        flux / limits.flux_db,
        click / limits.click,
        0.0 if waived else max(min(abs(float(loudness)), _LOUDEST_DB) / limits.loudness_db, gain_step),
        0.0 if waived else float(chroma) / limits.harmony,
        _slip_share(view, features, seam, place),
        float(timbre_distance(*change(timbre, TIMBRE_SECONDS))) / limits.novelty,
    )


def _slip_share(view: OutwardView, features: Features, seam: int, place: int) -> float:
    beats = view.music.beats
    if beats is None:
        return 0.0
    steady = Beats(np.zeros(0, np.int64), beats.period_near(place))
    return abs(slip_seconds(features, steady, seam, seam) or 0.0) / SLIP_LIMIT_SECONDS
