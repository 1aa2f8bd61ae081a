"""Where the context ends inside what a model made of it.

The model resamples, codes and decodes it; some decode to a spectrum and invent the phases. So the course of
the levels in a few bands is compared first, which tells the place to some milliseconds whatever the phases
are; then the waves, which tell it to the frame. Time runs outwards here: towards the new music.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from outpaint_mcp.audio.waves import running_mean

if TYPE_CHECKING:
    from outpaint_mcp.audio.shapes import Floats, Samples

HOP_SECONDS = 0.005
"""How far apart levels are told."""
REACH_SECONDS = 0.5
"""How far from where it should be the end of the context is looked for."""
HEARD_SECONDS = 5.0
"""How much of the context is compared."""

_WAVES_AGREE, _LEVELS_AGREE = 0.4, 0.5
_BARELY_ENOUGH_SECONDS, _CERTAIN = 1.0, 0.9
"""With less to compare, waves have to agree better, up to this; levels of so little tell nothing.

Where waves agree that well, levels are not asked: what swells slowly has the same levels at many places.
"""
LEAST_SECONDS = 0.02
"""With less than this, neither do waves."""
_NEARER_IS_LIKELIER = 0.02
_LEVELS_ERR_SECONDS = 0.008
_MEETING_SECONDS = 0.1
_TAPER_SECONDS = 0.005
_BRIGHT_HZ, _DULL_HZ = 6_000.0, 12_000.0
_WINDOW_SECONDS, _LEAST_WINDOW = 0.023, 64
_LOWEST_HZ, _HIGHEST_HZ, _BANDS = 60.0, 12_000.0, 8
_RANGE_DB, _LOCAL_SECONDS = 60.0, 0.5
_NO_ENERGY, _LITTLE_ENERGY = 1e-12, 1e-9


class Place(NamedTuple):
    """Where the context ends in a piece.

    Attributes:
        end: the frame after its last.
        agreement: of the waves there where these agree, of the levels otherwise; -1 to 1.
        aligned: False where nothing agrees; then the end is where it should be.
        exact: whether the waves agree, so that the end is right to the frame.
    """

    end: int
    agreement: float
    aligned: bool
    exact: bool


def locate(edge: Samples, piece: Samples, expected: int, least: int, sample_rate: int) -> Place:
    """Find where `edge`, the outermost part of a context, ends in a piece.

    Args:
        edge: at least a frame `[frames, channels]`.
        piece: as many channels.
        expected: the end if nothing was shifted, in frames.
        least: no end before this, at most `expected`.
        sample_rate: of both, frames per second.
    """
    length = min(len(edge), expected, int(HEARD_SECONDS * sample_rate))
    reach = min(int(REACH_SECONDS * sample_rate), length)  # of little there is something like it anywhere
    first = max(least, expected - reach)
    wanted = edge[len(edge) - length :]
    heard = cut_out(piece, first - length, expected + reach)
    away = (np.arange(first, expected + reach + 1) - expected) / reach
    waves = wave_agreements(sharpened(wanted, sample_rate), sharpened(heard, sample_rate))
    likely = waves - _NEARER_IS_LIKELIER * away**2
    best = int(likely.argmax())
    shortness = max(0.0, 1 - length / sample_rate / _BARELY_ENOUGH_SECONDS)
    needed = _WAVES_AGREE + (_CERTAIN - _WAVES_AGREE) * shortness
    if not shortness and waves[best] < _CERTAIN:
        lag, agreement = _level_match(wanted, heard, sample_rate)
        if agreement >= _LEVELS_AGREE:
            around = int(_LEVELS_ERR_SECONDS * sample_rate)
            near = slice(max(0, lag - around), lag + around + 1)
            best = near.start + int(likely[near].argmax())
            if waves[best] < needed:
                meeting = int(_MEETING_SECONDS * sample_rate)
                local = wave_agreements(wanted[-meeting:], heard[length - meeting :])
                best = near.start + int(local[near].argmax())
                return Place(first + best, agreement, aligned=True, exact=False)
    if waves[best] >= needed and length >= LEAST_SECONDS * sample_rate:
        return Place(first + best, float(waves[best]), aligned=True, exact=True)
    return Place(expected, float(waves[expected - first]), aligned=False, exact=False)


def cut_out(samples: Samples, first: int, stop: int) -> Samples:
    """Frames `first` to `stop`, silence where there are none."""
    inside = samples[max(0, first) : max(0, stop)]
    lead = min(max(0, -first), stop - first)
    return np.pad(inside, ((lead, stop - first - lead - len(inside)), (0, 0)))


def sharpened(samples: Samples, sample_rate: int) -> Floats:
    """The slopes of waves, up to what lossy coding leaves out: evenly loud for most music, so that a frame tells."""
    size = fft_size(len(samples) + sample_rate // 100)
    hertz = np.fft.rfftfreq(size, 1 / sample_rate)
    # what is cut out of music begins and ends in mid-wave, and slopes would show little but that
    taper = max(1, min(len(samples) // 8, round(_TAPER_SECONDS * sample_rate)))
    rise = (np.arange(taper) + 0.5) / taper
    samples = samples - samples.mean(axis=0)
    samples[:taper] *= rise[:, None].astype(samples.dtype)
    samples[len(samples) - taper :] *= rise[::-1, None].astype(samples.dtype)
    weights = 1j * hertz * np.clip((_DULL_HZ - hertz) / (_DULL_HZ - _BRIGHT_HZ), 0, 1)
    return np.fft.irfft(np.fft.rfft(samples, size, axis=0) * weights[:, None], size, axis=0)[: len(samples)]


def wave_agreements(wanted: Samples | Floats, heard: Samples | Floats) -> Floats:
    """Normalised correlation over all channels, for each shift at which `wanted` lies inside `heard`."""
    count, length = len(heard) - len(wanted) + 1, len(wanted)
    size = fft_size(len(heard))
    products = np.zeros(count)
    for one, other in zip(wanted.T.astype(np.float64), heard.T.astype(np.float64), strict=True):
        # what wraps round falls on shifts that are not asked for
        products += np.fft.irfft(np.fft.rfft(other, size) * np.conj(np.fft.rfft(one, size)), size)[:count]
    power = np.concatenate([[0.0], np.cumsum((heard.astype(np.float64) ** 2).sum(axis=1))])
    energies = power[length:] - power[: len(power) - length]
    energy = float((wanted.astype(np.float64) ** 2).sum())
    least = _NO_ENERGY + _LITTLE_ENERGY * max(energy, float(energies.max()))
    return np.asarray(products / np.sqrt(np.maximum(energies, least) * max(energy, least)))


def fft_size(frames: int) -> int:
    """The power of two that so many frames fit into."""
    return 1 << max(1, (frames - 1).bit_length())


def _level_match(wanted: Samples, heard: Samples, sample_rate: int) -> tuple[int, float]:
    """Shift in frames at which the courses of the levels agree best, and how well."""
    reference = level_courses(wanted, sample_rate)
    views = np.lib.stride_tricks.sliding_window_view(
        level_courses(heard, sample_rate), len(reference), axis=0
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


def level_courses(samples: Samples, sample_rate: int) -> Floats:
    """Levels of some bands less their local mean, dB `[windows, bands]`, the power of all channels summed."""
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
