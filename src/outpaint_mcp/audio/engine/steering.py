"""Choosing material by its energy or its section: costs for the search of a path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from outpaint_mcp.audio.engine.section_names import find_section
from outpaint_mcp.audio.levels import median, percentile, running_mean
from outpaint_mcp.audio.sections import Stretch, find_stretches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outpaint_mcp.audio.engine.analysis import Music
    from outpaint_mcp.audio.steering_words import Energy, Wish
    from outpaint_mcp.audio.types import Floats

_WEIGHT = 0.3
"""Cost of playing a unit that is the opposite of what is wanted: eight of them cost what three good leaps do."""
_SMOOTHED_UNITS = 9
_ATTACKS_SHARE = 0.3
"""Weight of the attacks beside the loudness, both in standard deviations."""
_LEAST_SPREAD_DB, _LEAST_SPREAD_ATTACKS = 1.0, 0.15
"""Smaller standard deviations (of attacks: relative to their mean) are no difference worth choosing by."""
_FADED_DB = 20.0
"""Units this far below the median are a fade or a rest, not a calm passage."""
_STEPS = 64
_MOMENT_WINDOWS = 44


@dataclass(frozen=True, slots=True)
class Steering:
    """What a wish comes to in a region.

    Attributes:
        preference: cost of playing each unit `[units]`, or each at each step `[steps, units]` of the extension, both in
            playing order, on the scale of `leaps`; None where nothing can be chosen by.
        stretches: the stretches of the region that are wanted, in its seconds; empty for any.
        unmet: why a part of the wish cannot be met, in sentences without a full stop.
    """

    preference: Floats | None
    stretches: tuple[Stretch, ...] = ()
    unmet: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _RegionSound:
    """A region's features as `find_stretches` reads them."""

    windows_per_second: float
    power: Floats
    moment_seconds: float
    bands: Floats
    tones: Floats


def stretches_of(music: Music, sample_rate: int) -> list[Stretch]:
    """Find the sections of a region, with the letters that the analysis of the same recording gives."""
    features = music.features
    bands = 10 ** (features.bands_db / 10)
    moments = np.arange(0, len(bands), _MOMENT_WINDOWS)
    means = np.add.reduceat(bands, moments) / np.diff(moments, append=len(bands))[:, None]
    seconds = _MOMENT_WINDOWS / features.windows_per_second
    sound = _RegionSound(features.windows_per_second, features.power, seconds, means, features.tones)
    return find_stretches(sound, int(music.units.bounds[-1]) / sample_rate)


def steer(wish: Wish, music: Music, sample_rate: int, stretches: Sequence[Stretch] | None = None) -> Steering:
    """Turn a wish into costs of the units.

    Args:
        wish: what is asked of the material.
        music: the region that it is chosen from.
        sample_rate: frames per second.
        stretches: its sections, in its seconds; found in the region itself where they are not given.
    """
    costs: list[Floats] = []
    unmet: list[str] = []
    wanted: tuple[Stretch, ...] = ()
    if wish.section is not None:
        found = stretches_of(music, sample_rate) if stretches is None else stretches
        chosen = find_section(wish.section, found)
        if isinstance(chosen, str):
            unmet.append(chosen)
        else:
            wanted = chosen
            costs.append(_section_costs(wanted, music, sample_rate))
    if wish.energy is not None:
        energy = unit_energy(music, sample_rate)
        if energy is None:
            unmet.append("it is equally energetic throughout")
        else:
            costs.append(_energy_costs(energy, wish.energy))
    return Steering(_WEIGHT * sum(costs[1:], start=costs[0]) if costs else None, wanted, tuple(unmet))


def unit_energy(music: Music, sample_rate: int) -> Floats | None:
    """Energy of each unit within the recording's own range, 0 to 1 `[units]`: its loudness and its attacks, smoothed.

    Returns:
        NaN for silent and faded units. None where the recording hardly varies.
    """
    units = music.units
    loudness = 10 * np.log10(running_mean(10 ** (units.loudness_db / 10), _SMOOTHED_UNITS))
    rate = (units.rhythm**2).sum(axis=1) / (np.diff(units.bounds) / sample_rate)
    attacks = running_mean(rate, _SMOOTHED_UNITS)
    usable = ~units.silent & (units.loudness_db > median(units.loudness_db[~units.silent]) - _FADED_DB)
    if usable.sum() < _SMOOTHED_UNITS:
        return None
    spread_db = float(loudness[usable].std())
    spread = float(attacks[usable].std()) / (float(attacks[usable].mean()) + 1e-9)
    if spread_db < _LEAST_SPREAD_DB and spread < _LEAST_SPREAD_ATTACKS:
        return None
    energy = loudness / max(spread_db, _LEAST_SPREAD_DB)
    usual = float(attacks[usable].mean()) * max(spread, _LEAST_SPREAD_ATTACKS) + 1e-9
    energy = energy + _ATTACKS_SHARE * attacks / usual
    low, high = percentile(energy[usable], 10), percentile(energy[usable], 90)
    return np.where(usable, np.clip((energy - low) / max(high - low, 1e-9), 0, 1), np.nan)


def _section_costs(wanted: tuple[Stretch, ...], music: Music, sample_rate: int) -> Floats:
    """Share of each unit that is outside the wanted stretches `[units]`."""
    starts, stops = music.units.bounds[:-1] / sample_rate, music.units.bounds[1:] / sample_rate
    inside = sum(
        np.clip(np.minimum(stops, each.end_seconds) - np.maximum(starts, each.start_seconds), 0, None)
        for each in wanted
    )
    return np.asarray(1 - inside / np.maximum(stops - starts, 1e-9))


def _energy_costs(energy: Floats, wanted: Energy) -> Floats:
    """Distance from the wanted energy: of each unit `[units]`, for a build of each at each step `[steps, units]`."""
    target = np.linspace(0, 1, _STEPS)[:, None] if wanted == "build" else float(wanted == "loud")
    return np.where(np.isnan(energy), 1.0, np.abs(np.nan_to_num(energy) - target))
