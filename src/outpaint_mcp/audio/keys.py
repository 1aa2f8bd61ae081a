"""Musical key estimation from pitch-class strengths."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from outpaint_mcp.audio.tonality import Key, Mode

if TYPE_CHECKING:
    from outpaint_mcp.audio.types import Floats

_MODES: tuple[Mode, Mode] = ("major", "minor")
_PROFILES = np.array(
    [
        [0.238, 0.006, 0.111, 0.006, 0.137, 0.094, 0.016, 0.214, 0.009, 0.080, 0.008, 0.081],
        [0.220, 0.006, 0.104, 0.123, 0.019, 0.103, 0.012, 0.214, 0.062, 0.022, 0.061, 0.052],
    ]
)
"""Relative strength of each semitone above the tonic, major and minor (Albrecht & Shanahan 2013, "The Use of
Large Corpora to Train a New Type of Key-Finding Algorithm", Music Perception 31(1))."""

_RELATIVE_MAJOR, _FIFTH = 3, 7
_OCTAVE = 12

_LEAST_FIT = 0.45
"""Lowest correlation with a key's profile; random pitch classes reach 0.4 on average."""
_MOST_RELIEF = 1.6
"""Highest ratio of standard deviation to mean of the pitch classes; above it there are only one or two notes."""
_STRETCH_WINDOWS, _FEWEST_STRETCHES = 430, 4
"""A stretch lasts 20 s, or a quarter of a shorter piece."""
_CLEAR_LEAD = 0.25
"""Lead in correlation over all keys with another signature at which the confidence reaches 1."""


def find_key(tones: Floats) -> Key | None:
    """Estimate the key by correlation with the profiles of all 24 keys (Krumhansl & Schmuckler 1990).

    Energy that all pitch classes share at an instant (noise, drums) is removed first.

    Args:
        tones: strength of the pitch classes from C, `[windows, 12]`, as in `Features.tones`.

    Returns:
        None for silence, noise and music without a clear key.
    """
    strength = _pitched(tones)
    mean = float(strength.mean())
    if mean <= 0 or strength.std() > _MOST_RELIEF * mean:
        return None
    fits = _fits(strength)
    mode, tonic = divmod(int(fits.argmax()), _OCTAVE)
    best = Key(tonic, _MODES[mode], 0.0)
    others = [
        fits[m, t]
        for m in range(len(_MODES))
        for t in range(_OCTAVE)
        if fifths_between(best, Key(t, _MODES[m], 0.0))
    ]
    lead = (float(fits.max()) - float(max(others))) / _CLEAR_LEAD
    return Key(tonic, _MODES[mode], round(min(lead, 1.0), 2)) if fits.max() >= _LEAST_FIT else None


def steadiness(tones: Floats, key: Key) -> float:
    """Return the share of a piece's stretches that no key of another signature fits better.

    Args:
        tones: as `find_key` takes them.
        key: of the whole.
    """
    length = max(1, min(_STRETCH_WINDOWS, len(tones) // _FEWEST_STRETCHES))
    starts = range(0, len(tones) - length + 1, length)
    fitting = [_prefers_signature(_fits(_pitched(tones[start : start + length])), key) for start in starts]
    return sum(fitting) / max(len(fitting), 1)


def _prefers_signature(fits: Floats, key: Key) -> bool:
    """Whether some key of this key's signature fits as well as any other."""
    return any(
        fits[index, tonic] >= fits.max()
        for index, mode in enumerate(_MODES)
        for tonic in range(_OCTAVE)
        if not fifths_between(key, Key(tonic, mode, 0.0))
    )


def fifths_between(one: Key, other: Key) -> int:
    """Distance between two key signatures on the circle of fifths, 0 (same or relative keys) to 6."""
    steps = (_signature(one) - _signature(other)) * _FIFTH % _OCTAVE  # 7 is its own inverse modulo 12
    return min(steps, _OCTAVE - steps)


def _signature(key: Key) -> int:
    """The tonic of the major key with the same signature."""
    return (key.tonic + (_RELATIVE_MAJOR if key.mode == "minor" else 0)) % _OCTAVE


def _pitched(tones: Floats) -> Floats:
    """Mean strength of the pitch classes `[12]` above the weakest one of each window."""
    if not len(tones):
        return np.zeros(_OCTAVE)
    return np.asarray((tones - tones.min(axis=1, keepdims=True)).mean(axis=0))


def _fits(strength: Floats) -> Floats:
    """Correlation with every key's profile `[2 modes, 12 tonics]`."""
    turned = np.stack([np.roll(_PROFILES, tonic, axis=1) for tonic in range(_OCTAVE)], axis=1)
    turned = turned - turned.mean(axis=2, keepdims=True)
    level = strength - strength.mean()
    norms = np.linalg.norm(turned, axis=2) * np.linalg.norm(level)
    return np.asarray(turned @ level / (norms + 1e-12))
