"""How unusual a seam sounds, measured against what the source does at its own beats."""

from collections.abc import Callable
from dataclasses import astuple, dataclass

import numpy as np

from outpaint_mcp.audio.features import Features, flux_db
from outpaint_mcp.audio.shapes import Floats, Ints, Samples
from outpaint_mcp.audio.waves import mono

FLUX_SECONDS = 0.05
_CLICK_SECONDS = 0.003
LOUDNESS_SECONDS = 0.4
HARMONY_SECONDS = 1.0
_UNUSUAL_PERCENT = 99.5
_CLICK_PERCENT, _CLICK_RATIO = 99.0, 1.5
_MARGIN_SECONDS = 1.2
_FEWEST_PLACES = 8
_SLIP_LIMIT_SECONDS = 0.04


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that happens at the source's own beats (or grains, where it has none).

    Attributes:
        flux_db: the strongest rise of the spectrum within 50 ms.
        click: the strongest fourth difference within 3 ms, with half as much again for tolerance.
        loudness_db: change of loudness from the 400 ms before to the 400 ms after.
        harmony: 1 - cosine between the chroma of the second before and of the second after.
    """

    flux_db: float
    click: float
    loudness_db: float
    harmony: float


@dataclass(frozen=True, slots=True)
class Strain:
    """What happens at a seam as a share of its limit: 1 is the most that the source does itself."""

    flux: float
    click: float
    loudness: float
    harmony: float
    slip: float

    @property
    def worst(self) -> float:
        """The largest share."""
        return max(astuple(self))


def usual_limits(heard: Features, bounds: Ints, samples: Samples, sample_rate: int, weights: Floats) -> Limits:
    """Measure the source at the inner bounds of its units."""
    margin = _MARGIN_SECONDS * sample_rate
    inner = bounds[(bounds > margin) & (bounds < len(samples) - margin)]
    places = inner if len(inner) >= _FEWEST_PLACES else bounds
    clicks = [click_at(samples, int(place), sample_rate, weights) for place in places]
    before, after = loudness_around(heard, places)
    return Limits(
        flux_db=_most([flux_near(heard, int(place)) for place in places]),
        click=_CLICK_RATIO * float(np.percentile(clicks, _CLICK_PERCENT)),
        loudness_db=_most(np.abs(after - before)),
        harmony=_most(1 - _cosine(*harmony_around(heard, places))),
    )


def _most(values: Floats | list[float]) -> float:
    return float(np.percentile(values, _UNUSUAL_PERCENT))


def click_at(samples: Samples, frame: int, sample_rate: int, weights: Floats) -> float:
    """The strongest fourth difference within 3 ms of a frame: a fixed whitening filter that shows clicks."""
    width = int(_CLICK_SECONDS * sample_rate)
    near = mono(samples[max(0, frame - width - 2) : frame + width + 2], weights)
    return float(np.abs(np.diff(near, 4)).max(initial=0.0))
