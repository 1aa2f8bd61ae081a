"""Short-time features: mel bands, onset strength, chroma and loudness, on mono audio at about 22 kHz."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import soxr

from outpaint_mcp.audio.levels import CHUNK_FRAMES, median, percentile, running_mean
from outpaint_mcp.audio.types import Floats, Samples

_ANALYSIS_HZ = 22_050.0
_WINDOWS_PER_SECOND = 86.13  # a hop of 512 frames at 44.1 kHz, as in Ellis 2007
_BANDS = 40
_LOWEST_PITCH_HZ = 80.0
_LEAST_FRAMES = 64
_FLAT = 1e-6
_CHUNK_POINTS = 1 << 14  # FFT points per batch, so that a batch fits in the CPU cache
_CHROMA_STRETCH = 4  # chroma windows and hops are longer by this factor
_CHROMA_HZ = 5_512.5
_CHROMA_GAIN = 120.0  # of the logarithmic compression


Spectra = npt.NDArray[np.float32]
"""Power spectra `[windows, bins]`."""


@dataclass(frozen=True, slots=True)
class Features:
    """Features of a region over time.

    Attributes:
        frames_per_window: hop between windows, in frames of the source.
        windows_per_second: the same as a rate.
        bands_db: mel bands `[windows, 40]`, dB.
        floor_db: the level below which a band is treated as inaudible.
        flux_db: mean rise over all bands `[windows]`, dB (spectral flux).
        usual_flux_db: its median.
        onsets: onset strength `[windows]` with the local mean removed, unit variance.
        onset_bands: rise of the bass, middle and treble bands `[windows, 3]`, dB.
        onset_patterns: the same with the local mean removed, unit variance.
        punch_db: strength of the clear onsets (98th percentile of the flux), dB; near 0 for drones.
        chroma: energy of the twelve pitch classes `[chroma windows, 12]`, compressed and weighted.
        tones: the same, neither compressed nor weighted.
        chroma_frames_per_window: hop between chroma windows, in frames of the source.
        power: loudness `[windows]`, roughly K-weighted (ITU-R BS.1770), as power.
        silence_db: the loudness below which a window counts as silent.
    """

    frames_per_window: float
    windows_per_second: float
    bands_db: Floats
    floor_db: float
    flux_db: Floats
    usual_flux_db: float
    onsets: Floats
    onset_bands: Floats
    onset_patterns: Floats
    punch_db: float
    chroma: Floats
    tones: Floats
    chroma_frames_per_window: float
    power: Floats
    silence_db: float


def extract_features(samples: Samples, sample_rate: int, weights: Floats) -> Features:
    """Compute the features of a region.

    Args:
        samples: `[frames, channels]`.
        sample_rate: frames per second.
        weights: channel weights of the mono downmix `[channels]`.
    """
    signal, rate = _analysis_signal(samples, sample_rate, weights)
    hop, size = _window(rate)
    bank, centres_hz = _mel_bank(rate, size)
    bands = _mel_power(signal, size, hop, bank)
    bands_db = 10 * np.log10(bands + 1e-10)
    floor_db = max(float(bands_db.max()) - 80, -100.0)
    rise = _band_rise(bands_db, floor_db)
    second = max(3, int(rate / hop))
    strength = rise.mean(axis=1)
    thirds = _thirds(rise, centres_hz)
    loudness = bands @ _loudness_weights(centres_hz) + 1e-10
    chroma, tones, chroma_hop_seconds = _chroma(signal, rate)
    return Features(
        frames_per_window=hop * sample_rate / rate,
        windows_per_second=rate / hop,
        bands_db=bands_db,
        floor_db=floor_db,
        flux_db=strength,
        usual_flux_db=median(strength),
        onsets=_standout(strength, second),
        onset_bands=thirds,
        onset_patterns=_standout(thirds, second),
        punch_db=percentile(strength, 98),
        chroma=chroma,
        tones=tones,
        chroma_frames_per_window=chroma_hop_seconds * sample_rate,
        power=loudness,
        silence_db=float(max(10 * np.log10(loudness.max()) - 60, -75)),
    )


def spectral_flux(wave: Floats, sample_rate: int, floor_db: float) -> tuple[Floats, float]:
    """Spectral flux of a short mono excerpt, as in `Features.flux_db`.

    Args:
        wave: `[frames]`.
        sample_rate: frames per second.
        floor_db: the level below which bands are treated as inaudible.

    Returns:
        The flux `[windows]` in dB, and the hop between windows in frames.
    """
    signal, rate = _decimated([wave.astype(np.float32)], len(wave), sample_rate, _ANALYSIS_HZ)
    hop, size = _window(rate)
    power = _mel_power(signal, size, hop, _mel_bank(rate, size)[0])
    return _band_rise(10 * np.log10(power + 1e-10), floor_db).mean(axis=1), hop * sample_rate / rate


def mel_centres_hz(rate: float) -> Floats:
    """Centre frequency of each band of `Features.bands_db` `[40]`, for audio analysed at `rate`."""
    return _mel_bank(rate, _window(rate)[1])[1]


def _window(rate: float, stretch: int = 1) -> tuple[int, int]:
    """Hop and window length in frames at a rate: about 12 and 46 ms, multiplied by `stretch`."""
    hop, size = rate * stretch / _WINDOWS_PER_SECOND, rate * stretch * 0.0464
    return max(1, round(hop)), max(64, 1 << round(np.log2(size)))


def _analysis_signal(samples: Samples, sample_rate: int, weights: Floats) -> tuple[Samples, float]:
    """Downmix and resample to mono at 22 to 33 kHz, chunk by chunk."""
    mix = weights.astype(np.float32)
    chunks = (samples[start : start + CHUNK_FRAMES] @ mix for start in range(0, len(samples), CHUNK_FRAMES))
    return _decimated(chunks, len(samples), sample_rate, _ANALYSIS_HZ)


def _decimated(
    chunks: Iterable[Samples], frames: int, rate: float, wanted_hz: float
) -> tuple[Samples, float]:
    """Divide the rate of a mono signal by an integer, to come near `wanted_hz`; return it with its new rate."""
    factor = round(rate / wanted_hz)
    if factor <= 1 or frames < _LEAST_FRAMES:
        return np.concatenate(list(chunks)), rate
    stream = soxr.ResampleStream(rate, rate / factor, 1, dtype="float32", quality="MQ")
    parts = [stream.resample_chunk(chunk) for chunk in chunks]
    parts.append(stream.resample_chunk(np.zeros(0, np.float32), last=True))
    return np.concatenate(parts), rate / factor


def _power_spectra(signal: Samples, size: int, hop: int, bins: int) -> Iterator[Spectra]:
    """Yield batches of power spectra `[windows, bins]` of Hann windows centred on every hop."""
    taper = np.hanning(size + 1)[:-1].astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(signal, size // 2), size)[::hop]
    most = max(1, _CHUNK_POINTS // size)
    for first in range(0, len(windows), most):
        spectrum = np.fft.rfft(windows[first : first + most] * taper, axis=1)
        yield np.asarray(spectrum.real**2 + spectrum.imag**2, np.float32)[:, :bins]


def _mel_power(signal: Samples, size: int, hop: int, bank: Floats) -> Floats:
    """Mean power in each mel band `[windows, bands]`, on roughly the scale of sample power."""
    spectra = _power_spectra(signal, size, hop, bank.shape[1])
    filters = (bank.T / (size * 0.375)).astype(np.float32)
    return np.concatenate([spectrum @ filters for spectrum in spectra], dtype=np.float64)


@cache
def _mel_bank(rate: float, size: int) -> tuple[Floats, Floats]:
    """Triangular filters `[bands, bins]` of unit sum from 30 Hz to 11 kHz, and their centres in Hz."""
    top_hz = min(11_000.0, rate / 2 * 0.98)
    lowest, highest = (float(2595 * np.log10(1 + hertz / 700)) for hertz in (30.0, top_hz))
    mels = np.linspace(lowest, highest, _BANDS + 2)
    edges = 700 * (10 ** (mels / 2595) - 1)
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    hertz = np.arange(size // 2 + 1) * rate / size
    bank = np.clip(np.minimum((hertz - low) / (centre - low), (high - hertz) / (high - centre)), 0, None)
    # a band narrower than a bin uses the nearest bin
    empty = np.flatnonzero(bank.sum(axis=1) == 0)
    bank[empty, np.rint(edges[1:-1][empty] * size / rate).astype(int)] = 1
    return bank / bank.sum(axis=1, keepdims=True), edges[1:-1]


def _band_rise(bands_db: Floats, floor_db: float) -> Floats:
    """Half-wave rectified change of every band across two hops `[windows, bands]`, dB."""
    audible = np.maximum(bands_db, floor_db)
    rise = np.zeros_like(audible)
    np.subtract(audible[2:], audible[:-2], out=rise[1:-1])
    return np.maximum(rise, 0, out=rise)


def _thirds(rise: Floats, centres_hz: Floats) -> Floats:
    """Mean rise of the bass, middle and treble bands (split at 200 Hz and 2 kHz) `[windows, 3]`."""
    third = np.digitize(centres_hz, [200, 2000])
    columns = [rise[:, third == k].mean(axis=1) if (third == k).any() else rise[:, 0] * 0 for k in range(3)]
    return np.stack(columns, axis=1)


def _standout(strength: Floats, width: int) -> Floats:
    """Subtract the local mean, clip at zero and scale to unit variance; all zeros where nothing stands out."""
    above = np.maximum(strength - running_mean(strength, width), 0)
    spread = above.std(axis=0)
    return np.asarray(np.where(spread > _FLAT, above / np.maximum(spread, _FLAT), 0.0))


def _chroma(signal: Samples, rate: float) -> tuple[Floats, Floats, float]:
    """Fold a 2.5 kHz spectrum into octaves.

    Returns:
        Pitch-class energy, compressed and weighted around F#4; the same unprocessed; both `[windows, 12]`;
        and the hop in seconds.
    """
    signal, rate = _decimated([signal], len(signal), rate, _CHROMA_HZ)
    hop, size = _window(rate, _CHROMA_STRETCH)
    hertz = np.arange(size // 2 + 1) * rate / size
    hertz = hertz[hertz < min(2500.0, rate / 2 * 0.95)]
    pitch = 69 + 12 * np.log2(np.maximum(hertz, 1e-3) / 440)[:, None]
    distance = (pitch - np.arange(12) + 6) % 12 - 6
    fold = (np.exp(-0.5 * (distance / 0.35) ** 2) * (hertz > _LOWEST_PITCH_HZ)[:, None]).astype(np.float32)
    weighted = (fold * np.exp(-0.5 * ((pitch - 66) / 16) ** 2)).astype(np.float32)
    chroma, tones = [], []
    for spectrum in _power_spectra(signal, size, hop, len(hertz)):
        magnitude = np.sqrt(spectrum)
        chroma.append(np.log1p(_CHROMA_GAIN * magnitude) @ weighted)
        tones.append(magnitude @ fold)
    return np.concatenate(chroma, dtype=np.float64), np.concatenate(tones, dtype=np.float64), hop / rate


def _loudness_weights(centres_hz: Floats) -> Floats:
    """Power weights of the mel bands that approximate the K-weighting of ITU-R BS.1770."""
    corners = np.log([30, 100, 1000, 3000, 8000, 12_000])
    return np.asarray(10 ** (np.interp(np.log(centres_hz), corners, [-10, -4, 0, 4, 3, 2]) / 10))
