"""What the measures hear: log-mel, spectral flux, chroma, click residual and K-weighting.

Its windows, bands and filters are its own and share nothing with the engine, so that an engine
cannot please the measures by construction.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft
import scipy.signal
from pyloudnorm.iirfilter import IIRfilter

if TYPE_CHECKING:
    from outpaint_mcp.audio.types import Floats, Samples

CHROMA_HOPS = 4
"""One chroma window every four log-mel windows, each four times as long."""

_MEL_BANDS = 64
_FLOOR_DB = 80.0
_CHUNK_WINDOWS = 512
_MARGIN_CHROMA_WINDOWS = 6
"""240 ms: more than half a chroma window at every sample rate, so that stitching changes nothing."""


@dataclass(frozen=True, slots=True)
class Spectra:
    """Spectra before anything that depends on the whole recording.

    Attributes:
        mel_db: log-mel energies, `[64, windows]`, a window every 10 ms.
        chroma: pitch-class magnitudes 100 to 3000 Hz, `[12, windows / 4]`.
    """

    mel_db: Floats
    chroma: Floats


@dataclass(frozen=True, slots=True)
class Sound:
    """A recording as the measures hear it.

    Attributes:
        mono: the downmix.
        sample_rate: in Hz.
        log_mel: `[64, windows]` dB, floored 80 dB under the loudest band anywhere.
        flux: mean rise over two windows in dB, `[windows]`.
        chroma: as in `Spectra`.
    """

    mono: Floats
    sample_rate: int
    log_mel: Floats
    flux: Floats
    chroma: Floats

    @property
    def hop(self) -> int:
        """Frames between two windows."""
        return hop_frames(self.sample_rate)


def hop_frames(sample_rate: int) -> int:
    """Frames in 10 ms, the distance of two windows."""
    return round(sample_rate * 0.01)


def downmix(samples: Samples) -> Floats:
    """All channels' mean, as float64."""
    total = samples[:, 0].copy()  # several times faster than a mean along the short axis
    for channel in range(1, samples.shape[1]):
        total += samples[:, channel]
    return (total / np.float32(samples.shape[1])).astype(np.float64)


def hear(mono: Floats, sample_rate: int) -> Sound:
    """The sound of a whole recording."""
    return assemble(mono, sample_rate, spectra(mono, sample_rate))


def assemble(mono: Floats, sample_rate: int, seen: Spectra) -> Sound:
    """Add what depends on the whole recording: the floor, and with it the flux."""
    log_mel = np.maximum(seen.mel_db, seen.mel_db.max() - _FLOOR_DB)
    rise = np.maximum(log_mel[:, 2:] - log_mel[:, :-2], 0).mean(axis=0)
    return Sound(mono, sample_rate, log_mel, np.concatenate([[0.0], rise, [0.0]]), seen.chroma)


def spectra(mono: Floats, sample_rate: int) -> Spectra:
    """Log-mel and chroma of mono samples, zero-padded at both ends."""
    hop, size = hop_frames(sample_rate), _window_frames(sample_rate)
    mel, pitches = _mel_filters(sample_rate), _pitch_filters(sample_rate)
    energy = [mel @ part**2 for part in _magnitudes(mono, size, hop)]
    chroma = [pitches @ part for part in _magnitudes(mono, CHROMA_HOPS * size, CHROMA_HOPS * hop)]
    return Spectra(10 * np.log10(np.concatenate(energy, axis=1) + 1e-10), np.concatenate(chroma, axis=1))


def stitch(before: Floats, source: Sound, seen: Spectra, after: Floats) -> Sound:
    """The sound of `before + source + after`, computed anew only where windows reach beyond the source.

    `before` must be whole chroma hops long, so that the source's own windows fall on the grid.
    """
    rate, length = source.sample_rate, len(source.mono)
    mono = np.concatenate([before, source.mono, after])
    chroma_hop = CHROMA_HOPS * source.hop
    margin = _MARGIN_CHROMA_WINDOWS
    tail_start = max(0, length // chroma_hop - 2 * margin)
    if len(before) % chroma_hop or length < 4 * margin * chroma_hop:
        return hear(mono, rate)
    lead = len(before) // chroma_hop
    head = spectra(mono[: len(before) + 2 * margin * chroma_hop], rate)
    tail = spectra(mono[len(before) + tail_start * chroma_hop :], rate)

    def joined(head: Floats, body: Floats, tail: Floats, per_chroma: int) -> Floats:
        m = margin * per_chroma
        middle = body[:, m : tail_start * per_chroma + m]
        return np.concatenate([head[:, : lead * per_chroma + m], middle, tail[:, m:]], axis=1)

    mel_db = joined(head.mel_db, seen.mel_db, tail.mel_db, CHROMA_HOPS)
    return assemble(mono, rate, Spectra(mel_db, joined(head.chroma, seen.chroma, tail.chroma, 1)))


def cepstrum(log_mel: Floats) -> Floats:
    """Cepstral coefficients 1 to 19, `[19, windows]`."""
    coefficients: Floats = scipy.fft.dct(log_mel, axis=0, norm="ortho")[1:20]
    return coefficients


def residual(mono: Floats) -> Floats:
    """Magnitude of the fourth-order difference: a fixed whitening filter in which clicks stand out."""
    whitened: Floats = np.convolve(mono, [1.0, -4.0, 6.0, -4.0, 1.0], "same")
    return np.abs(whitened)


def k_weighted(mono: Floats, sample_rate: int) -> Floats:
    """Samples through the two filters of ITU-R BS.1770."""
    shelf = IIRfilter(4.0, 1 / np.sqrt(2), 1500.0, sample_rate, "high_shelf")
    high_pass = IIRfilter(0.0, 0.5, 38.0, sample_rate, "high_pass")
    weighted: Floats = high_pass.apply_filter(shelf.apply_filter(mono))
    return weighted


def _window_frames(sample_rate: int) -> int:
    return int(2 ** np.ceil(np.log2(sample_rate * 0.04)))


def _magnitudes(mono: Floats, size: int, hop: int) -> list[Floats]:
    """Magnitude spectra `[bins, windows]` in chunks; a full-scale sine's bin is 0.5."""
    window = scipy.signal.get_window("hann", size)
    window = window / window.sum()
    padded = np.concatenate([np.zeros(size // 2), mono, np.zeros(size // 2 + (-len(mono)) % hop)])
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]
    starts = range(0, len(frames), _CHUNK_WINDOWS)
    return [np.abs(scipy.fft.rfft(frames[s : s + _CHUNK_WINDOWS] * window, axis=1)).T for s in starts]


@lru_cache
def _mel_filters(sample_rate: int) -> Floats:
    """Triangles of equal weight, 40 Hz to 12 kHz or 95 % of Nyquist, `[64, bins]`."""
    highest = min(12000.0, sample_rate / 2 * 0.95)
    mels = np.linspace(2595 * np.log10(1 + 40 / 700), 2595 * np.log10(1 + highest / 700), _MEL_BANDS + 2)
    edges = 700 * (10 ** (mels / 2595) - 1)
    bins = scipy.fft.rfftfreq(_window_frames(sample_rate), 1 / sample_rate)[None]
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    filters = np.maximum(0, np.minimum(rising, falling))
    weighted: Floats = filters / (filters.sum(axis=1, keepdims=True) + 1e-12)
    return weighted


@lru_cache
def _pitch_filters(sample_rate: int) -> Floats:
    """Which bins belong to which pitch class, `[12, bins]`."""
    bins = scipy.fft.rfftfreq(CHROMA_HOPS * _window_frames(sample_rate), 1 / sample_rate)
    pitch = np.round(69 + 12 * np.log2(np.maximum(bins, 1) / 440)).astype(int) % 12
    audible = (bins > 100) & (bins < 3000)
    filters: Floats = ((pitch[None] == np.arange(12)[:, None]) & audible[None]).astype(np.float64)
    return filters
