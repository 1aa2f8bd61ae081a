"""Layers of a mix: struck and sustained sounds (Fitzgerald 2010), the latter again by band.

Sustained sounds are horizontal ridges of a spectrogram, struck ones vertical: a median over time keeps the former, a
median over frequency the latter, and the two compete for each bin (Fitzgerald, "Harmonic/percussive separation using
median filtering", DAFx 2010).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import log2
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from outpaint_mcp.audio.levels import span_means
from outpaint_mcp.audio.types import Floats, Ints, Samples

Layer = Literal["middle", "bass", "drums", "treble"]
LAYERS: tuple[Layer, ...] = get_args(Layer)

_WINDOW_SECONDS = 0.0464
_OVERLAP = 4
_TIME_WINDOWS, _FREQUENCY_BINS = 17, 17
"""Lengths of the two medians, as in the paper."""
_LOW_TIME_WINDOWS = 31
"""The former in the bass, where a kick drum rings as long as a short note elsewhere."""
_BASS_HZ, _TREBLE_HZ = (140.0, 260.0), (3_500.0, 5_500.0)
"""From where to where the bands cross over."""
_MEAN_SQUARED_TAPER = 0.375
_BATCH_WINDOWS = 64
_FAINTEST, _NO_POWER = np.float32(1e-20), 1e-12

_Spectrogram = npt.NDArray[np.float32]
"""Magnitudes or weights `[windows, bins]`."""


@dataclass(frozen=True, slots=True)
class LayerMasks:
    """Which share of each bin belongs to the layers; what is left over is the layer `middle`.

    Attributes:
        struck: share of struck sounds `[windows, bins]`.
        bass: share of the bass band `[bins]`.
        treble: share of the treble band `[bins]`.
        power: of each layer, in the order of `LAYERS` `[windows, layers]`.
        frames_per_window: distance between windows, the first of which is centred half a window before frame 0.
    """

    struck: _Spectrogram
    bass: _Spectrogram
    treble: _Spectrogram
    power: Floats
    frames_per_window: int

    def levels_db(self, bounds: Ints) -> Floats:
        """Level of each layer beside the whole, in each span of frames `[spans, layers]`, dB."""
        places = bounds / self.frames_per_window + _OVERLAP / 2
        power = span_means(self.power, places[:-1], places[1:]) + _NO_POWER
        return np.asarray(10 * np.log10(power / power.sum(axis=1, keepdims=True)))

    def share(self, layer: Layer, windows: slice) -> _Spectrogram:
        """Share of a layer other than `middle`; sustained and struck sounds are one in the treble."""
        if layer == "bass":
            return (1 - self.struck[windows]) * self.bass
        if layer == "drums":
            return self.struck[windows] * (1 - self.treble)
        return np.broadcast_to(self.treble, self.struck[windows].shape)


def find_layers(samples: Samples, sample_rate: int) -> LayerMasks:
    """Find the layers of `[frames, channels]`, the same ones in every channel."""
    size = _window_frames(sample_rate)
    power = sum((_power(channel, size) for channel in samples.T[1:]), start=_power(samples[:, 0], size))
    hertz = np.arange(size // 2 + 1) * sample_rate / size
    bass = (1 - _crossover(hertz, *_BASS_HZ)).astype(np.float32)
    treble = _crossover(hertz, *_TREBLE_HZ).astype(np.float32)
    struck = _struck_share(np.sqrt(power), int(np.searchsorted(hertz, _BASS_HZ[1])))
    return LayerMasks(struck, bass, treble, _layer_power(power, struck, bass, treble), size // _OVERLAP)


def _power(wave: npt.NDArray[np.float32], size: int) -> _Spectrogram:
    """Power spectra of a channel `[windows, bins]`."""
    return np.concatenate([np.square(np.abs(batch)) for _, batch in _spectra(wave, size)], dtype=np.float32)


def _layer_power(
    power: _Spectrogram, struck: _Spectrogram, bass: _Spectrogram, treble: _Spectrogram
) -> Floats:
    """Power of the layers in the order of `LAYERS` `[windows, layers]`."""
    in_bass, in_drums = (1 - struck) * bass, struck * (1 - treble)
    in_middle = 1 - in_bass - in_drums - treble
    shares = (in_middle, in_bass, in_drums, np.broadcast_to(treble, struck.shape))
    return np.stack(
        [np.einsum("wb,wb,wb->w", power, share, share) for share in shares], axis=1, dtype=np.float64
    )


def split_channel(
    wave: npt.NDArray[np.float32], masks: LayerMasks, sample_rate: int, layers: tuple[Layer, ...]
) -> dict[Layer, npt.NDArray[np.float32]]:
    """Split one channel `[frames]` into some of its layers, each `[frames]`; all of them add up to the channel."""
    size = _window_frames(sample_rate)
    hop, taper = size // _OVERLAP, _taper(size)
    masked = LAYERS[1:] if "middle" in layers else layers
    parts = {layer: np.zeros(_padded_frames(len(wave), size), np.float32) for layer in masked}
    for first, spectra in _spectra(wave, size):
        windows = slice(first, first + len(spectra))
        for layer, part in parts.items():
            pieces = np.fft.irfft(spectra * masks.share(layer, windows), size, axis=1).astype(np.float32)
            for index, piece in enumerate(pieces * taper, first):
                part[index * hop : index * hop + size] += piece
    scale = np.float32(1 / (_MEAN_SQUARED_TAPER * _OVERLAP))
    split = {layer: part[size : size + len(wave)] * scale for layer, part in parts.items()}
    if "middle" in layers:
        split["middle"] = wave - sum(split.values())
    return {layer: split[layer] for layer in layers}


def _window_frames(sample_rate: int) -> int:
    """Length of an analysis window: about 46 ms."""
    return max(64, 1 << round(log2(sample_rate * _WINDOW_SECONDS)))


def _padded_frames(frames: int, size: int) -> int:
    """A length that whole hops fill, with a window of silence on either side."""
    hop = size // _OVERLAP
    return -(-frames // hop) * hop + 2 * size


def _taper(size: int) -> npt.NDArray[np.float32]:
    return np.asarray(np.hanning(size + 1)[:-1], np.float32)


def _spectra(wave: npt.NDArray[np.float32], size: int) -> Iterator[tuple[int, npt.NDArray[np.complex128]]]:
    """Yield the first window's index and the spectra `[windows, bins]` of each batch of a channel `[frames]`."""
    padded = np.zeros(_padded_frames(len(wave), size), np.float32)
    padded[size : size + len(wave)] = wave
    windows = np.lib.stride_tricks.sliding_window_view(padded, size)[:: size // _OVERLAP]
    taper = _taper(size).astype(np.float64)
    for first in range(0, len(windows), _BATCH_WINDOWS):
        yield first, np.fft.rfft(windows[first : first + _BATCH_WINDOWS] * taper, axis=1)


def _crossover(hertz: Floats, low: float, high: float) -> Floats:
    """A raised-cosine step from 0 to 1 over logarithmic frequency `[bins]`."""
    position = np.log(np.maximum(hertz, 1.0) / low) / np.log(high / low)
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * np.clip(position, 0, 1)))


def _struck_share(magnitude: _Spectrogram, low_bins: int) -> _Spectrogram:
    """Share of struck sounds in each bin: Wiener masks of the two medians (Fitzgerald 2010, equations 8 and 9)."""
    struck, sustained = _over_frequency(magnitude), _over_time(magnitude, _TIME_WINDOWS)
    low = magnitude[:, :low_bins]
    sustained[:, :low_bins] = _over_time(low, _LOW_TIME_WINDOWS)
    # a kick drum is too narrow a sound for the median over frequency
    struck[:, :low_bins] = np.maximum(struck[:, :low_bins], low - sustained[:, :low_bins])
    struck *= struck
    sustained *= sustained
    return np.asarray(struck / (struck + sustained + _FAINTEST))


def _over_time(magnitude: _Spectrogram, length: int) -> _Spectrogram:
    """Median of each bin over `length` windows."""
    half, count = length // 2, len(magnitude)
    padded = np.pad(magnitude, ((half, half), (0, 0)), mode="symmetric")
    medians = np.empty_like(magnitude)
    for first in range(0, count, _BATCH_WINDOWS):
        stop = min(first + _BATCH_WINDOWS, count)
        medians[first:stop] = _median([padded[first + shift : stop + shift] for shift in range(length)])
    return medians


def _over_frequency(magnitude: _Spectrogram) -> _Spectrogram:
    """Median of each window over neighbouring bins."""
    half, (count, bins) = _FREQUENCY_BINS // 2, magnitude.shape
    padded = np.pad(magnitude, ((0, 0), (half, half)), mode="symmetric")
    medians = np.empty_like(magnitude)
    for first in range(0, count, _BATCH_WINDOWS):
        part = padded[first : first + _BATCH_WINDOWS]
        medians[first : first + _BATCH_WINDOWS] = _median(
            [part[:, shift : shift + bins] for shift in range(_FREQUENCY_BINS)]
        )
    return medians


def _median(values: list[_Spectrogram]) -> _Spectrogram:
    """Median of an odd number of arrays, element by element.

    Forgetful selection: the smallest and the largest of just over half of the values cannot be the median, so they
    give way to the next value. Each step is one `minimum` or `maximum` of whole arrays, which is ten times as fast as
    sorting along a short axis.
    """
    room = len(values) // 2 + 2
    rivals, waiting = [value.copy() for value in values[:room]], values[room:]
    spare = np.empty_like(rivals[0])
    for following in [*waiting, None]:
        for index in range(1, len(rivals)):  # the largest to the end
            spare = _order(rivals, index - 1, index, spare)
        for index in range(len(rivals) - 2, 0, -1):  # the smallest to the front
            spare = _order(rivals, index - 1, index, spare)
        rivals = rivals[1:-1]
        if following is not None:
            rivals.append(following.copy())
    return rivals[0]


def _order(values: list[_Spectrogram], low: int, high: int, spare: _Spectrogram) -> _Spectrogram:
    """Put the smaller elements of two arrays into the first; return the array that is free afterwards."""
    first, second = values[low], values[high]
    np.minimum(first, second, out=spare)
    np.maximum(first, second, out=second)
    values[low] = spare
    return first
