"""Finding where the context ends inside a model output.

The model resamples, codes and decodes the context; some models decode to a spectrum and invent the phases. So
the level contours of a few bands are compared first, which locates the end to a few milliseconds whatever the
phases are, and then the waveforms, which locate it to the frame. Time runs outward here, towards the new
music.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from outpaint_mcp.audio.levels import running_mean

if TYPE_CHECKING:
    from outpaint_mcp.audio.types import Floats, Samples

HOP_SECONDS = 0.005
"""Resolution of the level contours."""
REACH_SECONDS = 0.5
"""How far from its expected position the end of the context is searched for."""
COMPARED_SECONDS = 5.0
"""How much of the context is compared."""

_WAVES_AGREE, _LEVELS_AGREE = 0.4, 0.5
_BARELY_ENOUGH_SECONDS, _CERTAIN = 1.0, 0.9
"""With a shorter context, waveforms have to agree better, up to `_CERTAIN`, and levels are not compared.

Where the waveforms agree that well, levels are ignored: a slow swell has similar levels at many places.
"""
LEAST_SECONDS = 0.02
"""With a shorter context, waveforms are not compared either."""
_NEARER_IS_LIKELIER = 0.02
"""Penalty at the largest shift, which decides between equal matches."""
_LEVELS_ERR_SECONDS = 0.008
"""Accuracy of a match of level contours."""
_MEETING_SECONDS = 0.1
"""The last part of the context, which alone places the end where the waveforms of the whole do not agree."""
_TAPER_SECONDS = 0.005
_BRIGHT_HZ, _DULL_HZ = 6_000.0, 12_000.0
"""Between these, waveforms are rolled off, because lossy coding removes or invents what lies above."""
_WINDOW_SECONDS, _LEAST_WINDOW = 0.023, 64
_LOWEST_HZ, _HIGHEST_HZ, _BANDS = 60.0, 12_000.0, 8
_RANGE_DB, _LOCAL_SECONDS = 60.0, 0.5
_NO_ENERGY, _LITTLE_ENERGY = 1e-12, 1e-9


class Location(NamedTuple):
    """Where the context ends in a model output.

    Attributes:
        end: the frame after its last one.
        agreement: of the waveforms where they agree, otherwise of the levels; -1 to 1.
        aligned: False if nothing agrees; then `end` is the expected position.
        exact: whether the waveforms agree, so that `end` is accurate to the frame.
    """

    end: int
    agreement: float
    aligned: bool
    exact: bool


def locate(edge: Samples, output: Samples, expected: int, least: int, sample_rate: int) -> Location:
    """Find where the outermost part of a context ends in a model output.

    Args:
        edge: the outermost part of the context, at least one frame `[frames, channels]`.
        output: the model output, with as many channels.
        expected: the end if there was no delay, in frames.
        least: the earliest possible end, at most `expected`.
        sample_rate: of both, frames per second.
    """
    length = min(len(edge), expected, int(COMPARED_SECONDS * sample_rate))
    reach = min(int(REACH_SECONDS * sample_rate), length)  # a short context has matches everywhere
    first = max(least, expected - reach)
    wanted = edge[len(edge) - length :]
    searched = cut_out(output, first - length, expected + reach)
    away = (np.arange(first, expected + reach + 1) - expected) / reach
    waves = wave_agreements(sharpened(wanted, sample_rate), sharpened(searched, sample_rate))
    likely = waves - _NEARER_IS_LIKELIER * away**2
    best = int(likely.argmax())
    shortness = max(0.0, 1 - length / sample_rate / _BARELY_ENOUGH_SECONDS)
    needed = _WAVES_AGREE + (_CERTAIN - _WAVES_AGREE) * shortness
    if not shortness and waves[best] < _CERTAIN:
        lag, agreement = _level_match(wanted, searched, sample_rate)
        if agreement >= _LEVELS_AGREE:
            around = int(_LEVELS_ERR_SECONDS * sample_rate)
            near = slice(max(0, lag - around), lag + around + 1)
            best = near.start + int(likely[near].argmax())
            if waves[best] < needed:
                meeting = int(_MEETING_SECONDS * sample_rate)
                local = wave_agreements(wanted[-meeting:], searched[length - meeting :])
                best = near.start + int(local[near].argmax())
                return Location(first + best, agreement, aligned=True, exact=False)
    if waves[best] >= needed and length >= LEAST_SECONDS * sample_rate:
        return Location(first + best, float(waves[best]), aligned=True, exact=True)
    return Location(expected, float(waves[expected - first]), aligned=False, exact=False)


def cut_out(samples: Samples, first: int, stop: int) -> Samples:
    """Frames `first` to `stop`, padded with silence beyond the ends."""
    inside = samples[max(0, first) : max(0, stop)]
    lead = min(max(0, -first), stop - first)
    return np.pad(inside, ((lead, stop - first - lead - len(inside)), (0, 0)))


def sharpened(samples: Samples, sample_rate: int) -> Floats:
    """First differences of the waveform, rolled off where lossy coding removes detail.

    They are evenly loud over frequency for most music, so that a single frame of shift matters.
    """
    size = fft_size(len(samples) + sample_rate // 100)
    hertz = np.fft.rfftfreq(size, 1 / sample_rate)
    # excerpts begin and end mid-wave, and those steps would dominate the differences
    taper = max(1, min(len(samples) // 8, round(_TAPER_SECONDS * sample_rate)))
    rise = (np.arange(taper) + 0.5) / taper
    samples = samples - samples.mean(axis=0)
    samples[:taper] *= rise[:, None].astype(samples.dtype)
    samples[len(samples) - taper :] *= rise[::-1, None].astype(samples.dtype)
    weights = 1j * hertz * np.clip((_DULL_HZ - hertz) / (_DULL_HZ - _BRIGHT_HZ), 0, 1)
    return np.fft.irfft(np.fft.rfft(samples, size, axis=0) * weights[:, None], size, axis=0)[: len(samples)]


def wave_agreements(wanted: Samples | Floats, searched: Samples | Floats) -> Floats:
    """Normalised correlation over all channels, for each shift at which `wanted` lies inside `searched`."""
    count, length = len(searched) - len(wanted) + 1, len(wanted)
    size = fft_size(len(searched))
    products = np.zeros(count)
    for one, other in zip(wanted.T.astype(np.float64), searched.T.astype(np.float64), strict=True):
        # circular wrap-around only affects shifts outside the requested range
        products += np.fft.irfft(np.fft.rfft(other, size) * np.conj(np.fft.rfft(one, size)), size)[:count]
    power = np.concatenate([[0.0], np.cumsum((searched.astype(np.float64) ** 2).sum(axis=1))])
    energies = power[length:] - power[: len(power) - length]
    energy = float((wanted.astype(np.float64) ** 2).sum())
    least = _NO_ENERGY + _LITTLE_ENERGY * max(energy, float(energies.max()))
    return np.asarray(products / np.sqrt(np.maximum(energies, least) * max(energy, least)))


def fft_size(frames: int) -> int:
    """The smallest power of two that holds `frames`."""
    return 1 << max(1, (frames - 1).bit_length())


def _level_match(wanted: Samples, searched: Samples, sample_rate: int) -> tuple[int, float]:
    """Shift in frames at which the level contours agree best, and their correlation there."""
    reference = level_contours(wanted, sample_rate)
    views = np.lib.stride_tricks.sliding_window_view(
        level_contours(searched, sample_rate), len(reference), axis=0
    )
    products = np.einsum("kbl,lb->k", views, reference)
    energies = np.einsum("kbl,kbl->k", views, views) * (reference**2).sum()
    agreements = products / np.sqrt(np.maximum(energies, 1.0))
    best = int(agreements.argmax())
    between = 0.0
    if 0 < best < len(agreements) - 1:
        left, middle, right = agreements[best - 1 : best + 2]
        curve = left - 2 * middle + right
        between = 0.5 * (left - right) / curve if curve < 0 else 0.0
    return round((best + between) * _hop(sample_rate)), float(agreements[best])


def level_contours(samples: Samples, sample_rate: int) -> Floats:
    """Levels of a few bands minus their local mean, dB `[windows, bands]`, summed over the channels' power."""
    size = max(_LEAST_WINDOW, 1 << round(np.log2(_WINDOW_SECONDS * sample_rate)))
    taper = np.hanning(size)
    highest = min(_HIGHEST_HZ, 0.45 * sample_rate)
    edges = np.unique(np.rint(np.geomspace(_LOWEST_HZ, highest, _BANDS + 1) / sample_rate * size).astype(int))
    power = np.zeros(len(edges) - 1)
    for channel in samples.T:
        windows = np.lib.stride_tricks.sliding_window_view(channel, size)[:: _hop(sample_rate)]
        spectra = np.fft.rfft(windows * taper, axis=1)[:, : edges[-1]]
        power = power + np.add.reduceat(spectra.real**2 + spectra.imag**2, edges[:-1], axis=1)
    floor = power.max() * 10 ** (-_RANGE_DB / 10) + _NO_ENERGY
    levels = 10 * np.log10(np.maximum(power, floor))
    return np.asarray(levels - running_mean(levels, round(_LOCAL_SECONDS / HOP_SECONDS)))


def _hop(sample_rate: int) -> int:
    return max(1, round(HOP_SECONDS * sample_rate))
