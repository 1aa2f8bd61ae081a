"""How unusual a seam sounds, measured against what the source does at its own beats."""

from dataclasses import astuple, dataclass

import numpy as np

from outpaint_mcp.audio.features import Features, flux_of
from outpaint_mcp.audio.shapes import Floats, Ints, Samples
from outpaint_mcp.audio.waves import mono, percentile, span_means

LOUDNESS_SECONDS = 0.4
HARMONY_SECONDS = 1.0
FLUX_SECONDS = 0.05
CLICK_SECONDS = 0.003
_UNUSUAL_PERCENT = 99.5
_CLICK_PERCENT, _CLICK_TOLERANCE = 99.0, 1.5
_MARGIN_SECONDS = 1.2
_FEWEST_PLACES = 8


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that happens at the source's own beats (or grains, where it has none).

    Attributes:
        flux_db: the strongest rise of the spectrum within 50 ms.
        click: the strongest fourth difference within 3 ms, and half as much again.
        loudness_db: change of loudness from the 400 ms before to the 400 ms after.
        harmony: 1 - cosine between the chroma of the second before and of the second after.
    """

    flux_db: float
    click: float
    loudness_db: float
    harmony: float


@dataclass(frozen=True, slots=True)
class Strain:
    """What happens at a seam as a share of its limit: 1 is the most that the source itself does."""

    flux: float
    click: float
    loudness: float
    harmony: float
    slip: float

    @property
    def cost(self) -> float:
        """Small strains cost little, what the source never does costs much."""
        shares = np.clip(astuple(self), 0, 3)
        return float(np.sum(0.25 * shares**2 + 4 * np.maximum(shares - 0.75, 0)))


def usual_limits(
    heard: Features, bounds: Ints, samples: Samples, sample_rate: int, weights: Floats
) -> Limits:
    """Measure the source at the inner bounds of its units."""
    margin = _MARGIN_SECONDS * sample_rate
    inner = bounds[(bounds > margin) & (bounds < len(samples) - margin)]
    places = inner if len(inner) >= _FEWEST_PLACES else bounds
    reach = int(FLUX_SECONDS * heard.windows_per_second)
    windows = np.clip(np.rint(places / heard.frames_per_window).astype(int), 0, len(heard.flux_db) - 1)
    flux = [heard.flux_db[max(0, window - reach) : window + reach + 1].max() for window in windows.tolist()]
    clicks = [click_near(samples, place, sample_rate, weights) for place in places.tolist()]
    loudness = int(LOUDNESS_SECONDS * sample_rate)
    second = int(HARMONY_SECONDS * sample_rate)
    step = loudness_db(heard, places, places + loudness) - loudness_db(heard, places - loudness, places)
    change = 1 - likeness(harmony(heard, places - second, places), harmony(heard, places, places + second))
    return Limits(
        flux_db=_most(flux, _UNUSUAL_PERCENT),
        click=_CLICK_TOLERANCE * _most(clicks, _CLICK_PERCENT),
        loudness_db=_most(np.abs(step), _UNUSUAL_PERCENT),
        harmony=_most(change, _UNUSUAL_PERCENT),
    )


def _most(values: Floats | list[float], percent: float) -> float:
    """A percentile, above zero so that it can be a divisor."""
    return percentile(np.asarray(values), percent) + 1e-9


def click_near(samples: Samples, frame: int, sample_rate: int, weights: Floats) -> float:
    """The strongest fourth difference within 3 ms of a frame: a fixed whitening filter that shows clicks."""
    width = int(CLICK_SECONDS * sample_rate)
    return strongest_click(mono(samples[max(0, frame - width - 2) : frame + width + 2], weights))


def strongest_click(wave: Floats) -> float:
    """The largest fourth difference of a wave."""
    return float(np.abs(np.diff(wave, 4)).max(initial=0.0))


def flux_around(wave: Floats, seam: int, sample_rate: int, heard: Features) -> float:
    """The strongest rise of the spectrum within 50 ms of a frame of a mono excerpt, dB."""
    flux, frames_per_window = flux_of(wave, sample_rate, heard.floor_db)
    reach = FLUX_SECONDS * sample_rate
    near = flux[
        round(max(0, seam - reach) / frames_per_window) : round((seam + reach) / frames_per_window) + 1
    ]
    return float(near.max(initial=0.0))


def loudness_db(heard: Features, starts: Ints, stops: Ints) -> Floats:
    """Loudness of spans of frames, dB."""
    hop = heard.frames_per_window
    power = span_means(heard.power, starts / hop, stops / hop)
    return np.asarray(10 * np.log10(np.maximum(power, 1e-10)))


def harmony(heard: Features, starts: Ints, stops: Ints) -> Floats:
    """Mean strength of the twelve pitch classes over spans of frames `[spans, 12]`."""
    hop = heard.chroma_frames_per_window
    return span_means(heard.tones, starts / hop, stops / hop)


def likeness(first: Floats, second: Floats) -> Floats:
    """Cosine between rows."""
    norms = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
    return np.asarray((first * second).sum(axis=-1) / (norms + 1e-9))
