"""What is heard when: mel bands, onset strength, chroma and loudness over time, on mono at about 22 kHz."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import soxr

from outpaint_mcp.audio.shapes import Floats, Samples
from outpaint_mcp.audio.waves import mono, running_mean

_ANALYSIS_HZ = 22_050.0
_WINDOWS_PER_SECOND = 86.13  # a hop of 512 frames at 44.1 kHz, as in Ellis 2007
_BANDS = 40
_CHUNK_FRAMES = 1 << 18
_CHUNK_WINDOWS = 1024
_CHROMA_STRETCH = 4  # chroma windows and hops are this much longer


@dataclass(frozen=True, slots=True)
class Features:
    """The course of a region's sound.

    Attributes:
        frames_per_window: distance between two windows, in frames of the source.
        windows_per_second: the same as a rate.
        bands_db: mel bands `[windows, 40]`, dB.
        onsets: onset strength `[windows]`, local mean removed, unit variance.
        onset_bands: rise of bass, middle and treble `[windows, 3]`, dB.
        onset_patterns: the same with local mean removed and unit variance.
        punch_db: how strong the clear onsets are, dB; near 0 for drones.
        chroma: energy of the twelve pitch classes `[chroma windows, 12]`, compressed.
        chroma_frames_per_window: distance between two chroma windows, in frames of the source.
        loudness_db: loudness `[windows]`, roughly K-weighted (ITU-R BS.1770), dB.
        silence_db: loudness below which nothing counts as heard.
    """

    frames_per_window: float
    windows_per_second: float
    bands_db: Floats
    onsets: Floats
    onset_bands: Floats
    onset_patterns: Floats
    punch_db: float
    chroma: Floats
    chroma_frames_per_window: float
    loudness_db: Floats
    silence_db: float


def features(samples: Samples, sample_rate: int, weights: Floats) -> Features:
    """Measure a region `[frames, channels]` window by window; `weights` mix it down to mono."""
    signal, rate = _analysis_signal(samples, sample_rate, weights)
    hop = max(1, round(rate / _WINDOWS_PER_SECOND))
    size = max(64, 1 << round(np.log2(rate * 0.0464)))
    bank, centres_hz = mel_bank(rate, size)
    power = mel_power(signal, size, hop, bank)
    bands_db = 10 * np.log10(power + 1e-10)
    rise = band_rise(bands_db)
    second = max(3, int(rate / hop))
    strength = rise.mean(axis=1)
    thirds = _thirds(rise, centres_hz)
    loudness = 10 * np.log10(power @ _loudness_weights(centres_hz) + 1e-10)
    return Features(
        frames_per_window=hop * sample_rate / rate,
        windows_per_second=rate / hop,
        bands_db=bands_db,
        onsets=_standout(strength, second),
        onset_bands=thirds,
        onset_patterns=_standout(thirds, second),
        punch_db=float(np.percentile(strength, 98)),
        chroma=_chroma(signal, rate, size * _CHROMA_STRETCH, hop * _CHROMA_STRETCH),
        chroma_frames_per_window=hop * _CHROMA_STRETCH * sample_rate / rate,
        loudness_db=loudness,
        silence_db=float(max(loudness.max() - 60, -75)),
    )


def _analysis_signal(samples: Samples, sample_rate: int, weights: Floats) -> tuple[Samples, float]:
    """Mono at 22 to 33 kHz by whole-number decimation, mixed and resampled chunk by chunk."""
    chunks = (
        mono(samples[start : start + _CHUNK_FRAMES], weights).astype(np.float32)
        for start in range(0, len(samples), _CHUNK_FRAMES)
    )
    factor = round(sample_rate / _ANALYSIS_HZ)
    if factor <= 1 or len(samples) < 64:
        return np.concatenate(list(chunks)), float(sample_rate)
    rate = sample_rate / factor
    stream = soxr.ResampleStream(sample_rate, rate, 1, dtype="float32", quality="MQ")
    parts = [stream.resample_chunk(chunk) for chunk in chunks]
    parts.append(stream.resample_chunk(np.zeros(0, np.float32), last=True))
    return np.concatenate(parts), rate


def _power_spectra(signal: Samples, size: int, hop: int, bins: int) -> Iterator[Floats]:
    """Power spectra of Hann windows centred on every hop, `[up to 1024, bins]` at a time."""
    taper = np.hanning(size + 1)[:-1]
    total = len(signal) // hop + 1
    for first in range(0, total, _CHUNK_WINDOWS):
        count = min(_CHUNK_WINDOWS, total - first)
        start = first * hop - size // 2
        stop = start + (count - 1) * hop + size
        inner = signal[max(start, 0) : max(stop, 0)]
        padded = np.pad(inner, (max(-start, 0), stop - max(start, 0) - len(inner)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]
        # numpy transforms double precision faster than single
        spectrum = np.fft.rfft(windows * taper, axis=1)[:, :bins]
        yield spectrum.real**2 + spectrum.imag**2


def mel_power(signal: Samples, size: int, hop: int, bank: Floats) -> Floats:
    """Mean power in each mel band `[windows, bands]`, on about the scale of sample power."""
    spectra = _power_spectra(signal, size, hop, bank.shape[1])
    return np.concatenate([spectrum @ bank.T for spectrum in spectra]) / (size * 0.375)


def mel_bank(rate: float, size: int) -> tuple[Floats, Floats]:
    """Triangular filters `[bands, bins]` of unit sum from 30 Hz to 11 kHz, and their centres in Hz."""
    top_hz = min(11_000.0, rate / 2 * 0.98)
    lowest, highest = (float(2595 * np.log10(1 + hertz / 700)) for hertz in (30.0, top_hz))
    mels = np.linspace(lowest, highest, _BANDS + 2)
    edges = 700 * (10 ** (mels / 2595) - 1)
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    hertz = np.arange(size // 2 + 1) * rate / size
    bank = np.clip(np.minimum((hertz - low) / (centre - low), (high - hertz) / (high - centre)), 0, None)
    # a band narrower than a bin takes the nearest one
    empty = np.flatnonzero(bank.sum(axis=1) == 0)
    bank[empty, np.rint(edges[1:-1][empty] * size / rate).astype(int)] = 1
    return bank / bank.sum(axis=1, keepdims=True), edges[1:-1]


def band_rise(bands_db: Floats) -> Floats:
    """Half-wave rectified change of every band across two hops `[windows, bands]`, dB (spectral flux)."""
    floor = max(float(bands_db.max()) - 80, -100.0)
    heard = np.maximum(bands_db, floor)
    rise = np.zeros_like(heard)
    if len(heard) > 2:
        rise[1:-1] = np.maximum(heard[2:] - heard[:-2], 0)
    return rise


def _thirds(rise: Floats, centres_hz: Floats) -> Floats:
    """The rise in bass, middle and treble (split at 200 Hz and 2 kHz) `[windows, 3]`."""
    third = np.digitize(centres_hz, [200, 2000])
    columns = [rise[:, third == k].mean(axis=1) if (third == k).any() else rise[:, 0] * 0 for k in range(3)]
    return np.stack(columns, axis=1)


def _standout(strength: Floats, width: int) -> Floats:
    """What stands above the local mean, at unit variance; zero where nothing does."""
    above = np.maximum(strength - running_mean(strength, width), 0)
    spread = above.std(axis=0)
    return np.asarray(np.where(spread > 1e-6, above / np.maximum(spread, 1e-6), 0.0))


def _chroma(signal: Samples, rate: float, size: int, hop: int) -> Floats:
    """Pitch classes `[windows, 12]`: a 2.5 kHz spectrum folded into octaves, weighted round F#4."""
    hertz = np.arange(size // 2 + 1) * rate / size
    hertz = hertz[hertz < min(2500.0, rate / 2 * 0.95)]
    pitch = 69 + 12 * np.log2(np.maximum(hertz, 1e-3) / 440)
    weight = np.exp(-0.5 * ((pitch - 66) / 16) ** 2) * (hertz > 80)
    distance = (pitch - np.arange(12)[:, None] + 6) % 12 - 6
    fold = np.exp(-0.5 * (distance / 0.35) ** 2) * weight
    spectra = _power_spectra(signal, size, hop, len(hertz))
    return np.concatenate([np.log1p(30 * np.sqrt(spectrum)) @ fold.T for spectrum in spectra])


def _loudness_weights(centres_hz: Floats) -> Floats:
    """Power weights of the mel bands, after the K-weighting curve of ITU-R BS.1770."""
    corners = np.log([30, 100, 1000, 3000, 8000, 12_000])
    return np.asarray(10 ** (np.interp(np.log(centres_hz), corners, [-10, -4, 0, 4, 3, 2]) / 10))
