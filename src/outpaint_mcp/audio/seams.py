"""How unusual a seam sounds, relative to what the source itself does at its own beats."""

from dataclasses import astuple, dataclass

import numpy as np

from outpaint_mcp.audio.features import Features, spectral_flux
from outpaint_mcp.audio.levels import mono, percentile, span_means
from outpaint_mcp.audio.types import Floats, Ints, Samples

LOUDNESS_SECONDS = 0.4
"""Loudness is compared over this span on each side; the momentary window of EBU R 128."""
HARMONY_SECONDS = 1.0
TIMBRE_SECONDS = 1.0
FLUX_SECONDS = 0.05
CLICK_SECONDS = 0.003
_UNUSUAL_PERCENT = 99.5
_CLICK_PERCENT, _CLICK_TOLERANCE = 99.0, 1.5
"""The click limit: a percentile of the clicks at the source's own beats, times a tolerance."""
_MARGIN_SECONDS = 1.2
"""Places nearer to the region's ends lack a full `HARMONY_SECONDS` on one side."""
_FEWEST_PLACES = 8
_CEPSTRUM = 20
"""Coefficients of the cepstrum, of which the first, the level, is left out."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that happens at the source's own beats (or grains, where it has no beats).

    Attributes:
        flux_db: largest spectral rise within 50 ms.
        click: largest fourth difference within 3 ms, times 1.5.
        loudness_db: change in loudness from the 400 ms before to the 400 ms after.
        harmony: 1 - cosine similarity of the chroma of the second before and the second after.
        novelty: distance of the mean cepstra of the second before and the second after.
    """

    flux_db: float
    click: float
    loudness_db: float
    harmony: float
    novelty: float


@dataclass(frozen=True, slots=True)
class Strain:
    """What happens at a seam relative to its limits: 1 is the most that the source itself does.

    Attributes:
        flux: spectral rise.
        click: fourth difference.
        loudness: change in loudness.
        harmony: change in harmony.
        slip: slip of the beat.
        novelty: change of timbre.
    """

    flux: float
    click: float
    loudness: float
    harmony: float
    slip: float
    novelty: float

    @property
    def cost(self) -> float:
        """Sum of what each costs."""
        return float(strain_cost(np.array(astuple(self))).sum())


def strain_cost(shares: Floats) -> Floats:
    """Cost of shares of a limit: quadratic up to three quarters, then steep."""
    shares = np.clip(shares, 0, 3)
    return np.asarray(0.25 * shares**2 + 4 * np.maximum(shares - 0.75, 0))


def usual_limits(
    features: Features, bounds: Ints, samples: Samples, sample_rate: int, weights: Floats
) -> Limits:
    """Measure the source at the inner boundaries of its units.

    Args:
        features: the region's features.
        bounds: unit boundaries in frames `[units + 1]`.
        samples: the region `[frames, channels]`.
        sample_rate: frames per second.
        weights: channel weights of the mono downmix `[channels]`.
    """
    margin = _MARGIN_SECONDS * sample_rate
    inner = bounds[(bounds > margin) & (bounds < len(samples) - margin)]
    places = inner if len(inner) >= _FEWEST_PLACES else bounds
    reach = int(FLUX_SECONDS * features.windows_per_second)
    windows = np.clip(np.rint(places / features.frames_per_window).astype(int), 0, len(features.flux_db) - 1)
    flux = [
        features.flux_db[max(0, window - reach) : window + reach + 1].max() for window in windows.tolist()
    ]
    clicks = [click_near(samples, place, sample_rate, weights) for place in places.tolist()]
    loudness = int(LOUDNESS_SECONDS * sample_rate)
    second = int(HARMONY_SECONDS * sample_rate)
    step = loudness_db(features, places, places + loudness) - loudness_db(features, places - loudness, places)
    change = 1 - cosine_similarity(
        harmony(features, places - second, places), harmony(features, places, places + second)
    )
    wide = int(TIMBRE_SECONDS * sample_rate)
    novel = timbre_distance(timbre(features, places - wide, places), timbre(features, places, places + wide))
    return Limits(
        flux_db=_most(flux, _UNUSUAL_PERCENT),
        click=_CLICK_TOLERANCE * _most(clicks, _CLICK_PERCENT),
        loudness_db=_most(np.abs(step), _UNUSUAL_PERCENT),
        harmony=_most(change, _UNUSUAL_PERCENT),
        novelty=_most(novel, _UNUSUAL_PERCENT),
    )


def _most(values: Floats | list[float], percent: float) -> float:
    """A percentile, raised slightly above zero so that it can be a divisor."""
    return percentile(np.asarray(values), percent) + 1e-9


def click_near(samples: Samples, frame: int, sample_rate: int, weights: Floats) -> float:
    """Largest fourth difference within 3 ms of a frame.

    The difference acts as a fixed whitening filter that exposes clicks.
    """
    width = int(CLICK_SECONDS * sample_rate)
    return strongest_click(mono(samples[max(0, frame - width - 2) : frame + width + 2], weights))


def strongest_click(wave: Floats) -> float:
    """Largest absolute fourth difference of a mono signal `[frames]`."""
    return float(np.abs(np.diff(wave, 4)).max(initial=0.0))


def flux_around(wave: Floats, seam: int, sample_rate: int, features: Features) -> float:
    """Largest spectral rise within 50 ms of a frame of a mono excerpt.

    Args:
        wave: `[frames]`.
        seam: the frame.
        sample_rate: frames per second.
        features: features of the source, for the audibility floor.

    Returns:
        The rise in dB.
    """
    flux, frames_per_window = spectral_flux(wave, sample_rate, features.floor_db)
    reach = FLUX_SECONDS * sample_rate
    near = flux[
        round(max(0, seam - reach) / frames_per_window) : round((seam + reach) / frames_per_window) + 1
    ]
    return float(near.max(initial=0.0))


def loudness_db(features: Features, starts: Ints, stops: Ints) -> Floats:
    """Loudness of spans of frames `[spans]`, dB."""
    hop = features.frames_per_window
    power = span_means(features.power, starts / hop, stops / hop)
    return np.asarray(10 * np.log10(np.maximum(power, 1e-10)))


def harmony(features: Features, starts: Ints, stops: Ints) -> Floats:
    """Mean strength of the twelve pitch classes over spans of frames `[spans, 12]`."""
    hop = features.chroma_frames_per_window
    return span_means(features.tones, starts / hop, stops / hop)


def timbre(features: Features, starts: Ints, stops: Ints) -> Floats:
    """Mean spectrum of spans of frames in audible mel bands `[spans, 40]`, dB."""
    hop = features.frames_per_window
    return span_means(np.maximum(features.bands_db, features.floor_db), starts / hop, stops / hop)


def timbre_distance(first: Floats, second: Floats) -> Floats:
    """Distance of the cepstra of corresponding spectra `[..., bands]`, dB; their level does not matter."""
    bands = first.shape[-1]
    order = np.arange(1, min(_CEPSTRUM, bands))[:, None]
    basis = np.sqrt(2 / bands) * np.cos(np.pi * order * (np.arange(bands) + 0.5) / bands)
    return np.asarray(np.linalg.norm((first - second) @ basis.T, axis=-1))


def cosine_similarity(first: Floats, second: Floats) -> Floats:
    """Cosine similarity of corresponding rows of two arrays `[..., k]`."""
    norms = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
    return np.asarray((first * second).sum(axis=-1) / (norms + 1e-9))
