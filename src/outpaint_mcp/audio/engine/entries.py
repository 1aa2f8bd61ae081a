"""How much the sound would change where an extension enters the source again.

Everything here runs outward; see `outward`.
"""

import numpy as np

from outpaint_mcp.audio.engine.outward import OutwardView
from outpaint_mcp.audio.engine.ringout import RELEASE_SECONDS
from outpaint_mcp.audio.seams import TIMBRE_SECONDS, loudness_db, timbre, timbre_distance
from outpaint_mcp.audio.types import Floats, Ints

LEVEL_SECONDS = 1.0
"""Time over which the level before the entry is matched to the level before the edge."""
LOWEST_GAIN_DB, HIGHEST_GAIN_DB = -40.0, 3.0
"""Bounds of the gain for that."""
_EMPTY, _EMPTY_DB, _EMPTY_SECONDS = 4.0, 15.0, 4.0
"""Cost of material this far under the source's mean, and the time after an entry that is looked at."""


def emptiness_cost(view: OutwardView) -> Floats:
    """Cost of entering where the source is about to be almost silent `[units]`: that would be a hole in the music."""
    total, rate = len(view.samples), view.sample_rate
    starts = np.minimum(view.bounds[1:], total - 1)
    stops = np.minimum(starts + int(_EMPTY_SECONDS * rate), total)
    features = view.music.features
    entered_db = loudness_db(features, *view.forward(starts, stops))
    usual_db = 10 * np.log10(features.power.mean())
    return np.asarray(_EMPTY * np.clip((usual_db - _EMPTY_DB - entered_db) / _EMPTY_DB, 0, 2))


def novelty_at(view: OutwardView, frame: int, gain_db: float) -> float:
    """Change of timbre from the source's edge to new material with an entry gain, relative to its limit."""
    return float(_novelties_at(view, np.array([frame]), np.array([gain_db]))[0])


def novelties(view: OutwardView) -> Floats:
    """The same for the entry that stands in for each outward unit `[units]`, at the level that matches the edge."""
    bounds = view.bounds
    frames = bounds[:-1] + (bounds[-1] - bounds[-2])
    span = int(LEVEL_SECONDS * view.sample_rate)
    edge_db, before_db = (
        loudness_db(view.music.features, *view.forward(places - span, places))
        for places in (np.full(1, len(view.samples)), frames)
    )
    return _novelties_at(view, frames, np.clip(edge_db - before_db, LOWEST_GAIN_DB, HIGHEST_GAIN_DB))


def _novelties_at(view: OutwardView, frames: Ints, gains_db: Floats) -> Floats:
    features, total = view.music.features, len(view.samples)
    width = int(TIMBRE_SECONDS * view.sample_rate)
    edge = timbre(features, *view.forward(np.array([total - width]), np.array([total])))
    count = round(TIMBRE_SECONDS * features.windows_per_second)
    after = (np.arange(count) + 0.5) * features.frames_per_window
    places = np.minimum(frames[:, None] + after, total - 1)
    if view.backwards:
        places = total - 1 - places
    windows = np.clip(places / features.frames_per_window, 0, len(features.bands_db) - 1).astype(int)
    gain_db = gains_db[:, None] * np.clip(1 - after / (RELEASE_SECONDS * view.sample_rate), 0, 1)
    entered = np.maximum(features.bands_db[windows] + gain_db[:, :, None], features.floor_db).mean(axis=1)
    return timbre_distance(edge, entered) / view.music.limits.novelty


def gain_step(view: OutwardView, frame: int) -> tuple[float, float]:
    """How much louder the new material is than the music at the edge, apart from what music does, and the limit, dB."""
    steps = view.music.steps
    if steps is None:
        return 0.0, np.inf
    rate, total = view.sample_rate, len(view.samples)
    edge, entered = (view.forward(place, place)[0] / rate for place in (total, frame))
    leave, enter = (entered, edge) if view.backwards else (edge, entered)
    (louder_db,) = steps.measure_jump(view.music.features, np.array([leave]), np.array([enter]))
    return float(-louder_db if view.backwards else louder_db), steps.limit_db
