"""Faults to put into longer recordings that are known to be good: true continuations of real ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import soundfile
import soxr

from outpaint_mcp.audio.verdict.records import FaultKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.recordings import Recording

    from outpaint_mcp.audio.types import Samples

BEFORE_SECONDS, SOURCE_SECONDS, AFTER_SECONDS = 20.0, 60.0, 30.0
"""At most: a fifth and a third of a short recording."""

LONG_SECONDS, ENDING_SECONDS = 75.0, 15.0
"""What lasts long enough is used without its ending, in which recordings fade out and are silent themselves."""


@dataclass(frozen=True, slots=True)
class Case:
    """A recording, and where in it the source is; what comes before and after is the true extension."""

    name: str
    music: Samples
    sample_rate: int
    start: int
    stop: int
    first: int
    last: int

    @property
    def before_seconds(self) -> float:
        """How much comes before the source."""
        return (self.start - self.first) / self.sample_rate

    @property
    def after_seconds(self) -> float:
        """How much comes after it."""
        return (self.last - self.stop) / self.sample_rate

    @property
    def source(self) -> Samples:
        """The source alone."""
        return self.music[self.start : self.stop]

    def made(self) -> tuple[Samples, int, int]:
        """A copy of the whole, and where in it the source begins and ends."""
        return self.music[self.first : self.last].copy(), self.start - self.first, self.stop - self.first


def cut(recording: Recording, seed: int) -> Case:
    """Choose a source in the middle of a recording; seams fall anywhere, on the beat or off it."""
    music, rate = soundfile.read(recording.path, dtype="float32", always_2d=True)
    seconds = len(music) / rate
    if seconds > LONG_SECONDS:
        music = music[: -round(ENDING_SECONDS * rate)]
        seconds -= ENDING_SECONDS
    before, after = min(BEFORE_SECONDS, seconds / 5), min(AFTER_SECONDS, seconds / 3)
    length = min(SOURCE_SECONDS, seconds - before - after)
    rng = np.random.default_rng(seed)
    start = rng.uniform(before, max(before, seconds - length - after))
    frames = [round(at * rate) for at in (start - before, start, start + length, start + length + after)]
    return Case(recording.name, music, rate, frames[1], frames[2], frames[0], min(frames[3], len(music)))


def click(case: Case) -> Samples:
    """A jump of a quarter of full scale at the seam that dies away within two milliseconds."""
    made, _, stop = case.made()
    frames = round(0.002 * case.sample_rate)
    made[stop : stop + frames] += 0.25 * np.exp(-np.linspace(0, 5, frames))[:, None].astype(np.float32)
    return made


def jump(case: Case) -> Samples:
    """Three LU softer from the seam on."""
    made, _, stop = case.made()
    made[stop:] *= np.float32(10 ** (-3 / 20))
    return made


def slip(case: Case) -> Samples:
    """Forty milliseconds left out at the seam, with a crossfade of ten, so that nothing clicks."""
    made, _, stop = case.made()
    gone, fade = (round(s * case.sample_rate) for s in (0.04, 0.01))
    weights = np.linspace(0, 1, fade, dtype=np.float32)[:, None]
    made[stop + gone : stop + gone + fade] *= weights
    made[stop + gone : stop + gone + fade] += made[stop : stop + fade] * (1 - weights)
    return np.concatenate([made[:stop], made[stop + gone :]])


def silent_end(case: Case) -> Samples:
    """Two seconds of silence at the end."""
    made, _, _ = case.made()
    made[-2 * case.sample_rate :] = 0
    return made


def silent_inside(case: Case) -> Samples:
    """Two seconds of silence in the middle of the extension."""
    made, _, stop = case.made()
    middle = (stop + len(made)) // 2
    made[middle - case.sample_rate : middle + case.sample_rate] = 0
    return made


def shifted(case: Case) -> Samples:
    """The source comes 93 ms late."""
    made, late = case.made()[0], round(0.093 * case.sample_rate)
    return np.concatenate([made[:late], made[:-late]])


def resampled(case: Case) -> Samples:
    """All of it runs slower by a thousandth."""
    return np.asarray(soxr.resample(case.made()[0], 1.0, 1.001))


def softer(case: Case) -> Samples:
    """The source is two decibels softer than it was."""
    made, start, stop = case.made()
    made[start:stop] *= np.float32(10 ** (-2 / 20))
    return made


def again(case: Case) -> Samples:
    """The last twelve seconds of the source over and over again."""
    made, start, stop = case.made()
    length = min(12 * case.sample_rate, stop - start)
    places = np.arange(len(made) - stop) % length
    made[stop:] = made[stop - length + places]
    return made


def shorter(case: Case) -> Samples:
    """Two seconds are missing at the end."""
    return case.made()[0][: -2 * case.sample_rate]


def clipped(case: Case) -> Samples:
    """The extension four times as loud, cut off at full scale."""
    made, _, stop = case.made()
    loud = 4 * made[stop:] / max(float(np.abs(made[stop:]).max()), 1e-3)
    made[stop:] = np.clip(loud, -1, 1)
    return made


def hole(case: Case) -> Samples:
    """A dead stop of 0.6 s and 45 dB in the middle of the extension, as a fade that was kept leaves it."""
    made, _, stop = case.made()
    rate = case.sample_rate
    first = (stop + len(made)) // 2
    ramp = round(0.1 * rate)
    gains = np.concatenate(
        [np.linspace(0, -45, ramp), np.full(round(0.6 * rate), -45), np.linspace(-45, 0, ramp // 4)]
    )
    made[first : first + len(gains)] *= (10 ** (gains / 20)).astype(np.float32)[:, None]
    return made


def drifting(case: Case) -> Samples:
    """The extension is ten milliseconds late with every four seconds, as a loop that was cut wrongly is."""
    made, _, stop = case.made()
    rate = case.sample_rate
    late, every = round(0.01 * rate), round(4 * rate)
    weights = np.linspace(0, 1, late, dtype=np.float32)[:, None]
    parts = [made[:stop]]
    for first in range(stop, len(made), every):
        part = made[first : first + every].copy()
        if first > stop:  # the ten milliseconds before it once more, crossfaded into it
            again = made[first - late : first]
            again = made[first : first + late] * (1 - weights) + again * weights
            parts.append(again[: len(part)])
        parts.append(part)
    return np.concatenate(parts)[: len(made)]


def stuck(case: Case) -> Samples:
    """The same four seconds of the source over and over again, crossfaded for twenty milliseconds."""
    made, start, stop = case.made()
    rate = case.sample_rate
    length, fade = min(4 * rate, (stop - start) // 2), round(0.02 * rate)
    first = start + (stop - start) // 3
    period = made[first : first + length].copy()
    weights = np.linspace(0, 1, fade, dtype=np.float32)[:, None]
    period[-fade:] = period[-fade:] * (1 - weights) + made[first - fade : first] * weights
    made[stop:] = period[np.arange(len(made) - stop) % length]
    return made


def click_inside(case: Case) -> Samples:
    """A jump of a quarter of full scale in the middle of the extension that dies away within two milliseconds."""
    made, _, stop = case.made()
    frames = round(0.002 * case.sample_rate)
    at = (2 * stop + len(made)) // 3
    made[at : at + frames] += 0.25 * np.exp(-np.linspace(0, 5, frames))[:, None].astype(np.float32)
    return made


def drop_inside(case: Case) -> Samples:
    """Twelve decibels softer from the middle of the extension on, within ten milliseconds."""
    made, _, stop = case.made()
    middle, ramp = (stop + len(made)) // 2, round(0.01 * case.sample_rate)
    made[middle : middle + ramp] *= np.linspace(1, 0.25, ramp, dtype=np.float32)[:, None]
    made[middle + ramp :] *= np.float32(0.25)
    return made


FAULTS: dict[str, tuple[Callable[[Case], Samples], FaultKind]] = {
    "a click at the seam": (click, FaultKind.CLICK),
    "3 LU softer from the seam on": (jump, FaultKind.LOUDNESS_JUMP),
    "the beat slips by 40 ms": (slip, FaultKind.BEAT_SLIP),
    "2 s of silence at the end": (silent_end, FaultKind.SILENCE),
    "2 s of silence inside": (silent_inside, FaultKind.SILENCE),
    "the source 93 ms late": (shifted, FaultKind.SOURCE_SHIFTED),
    "slower by 0.1 %": (resampled, FaultKind.SOURCE_RESAMPLED),
    "the source 2 dB softer": (softer, FaultKind.SOURCE_GAIN),
    "the tail over again": (again, FaultKind.REPETITION),
    "the same 4 s over and over": (stuck, FaultKind.STUCK),
    "a hole of 45 dB inside": (hole, FaultKind.HOLE),
    "10 ms late every 4 s": (drifting, FaultKind.DRIFT),
    "a click inside": (click_inside, FaultKind.CLICK),
    "12 dB softer from the middle on": (drop_inside, FaultKind.LOUDNESS_JUMP),
    "2 s too short": (shorter, FaultKind.TOO_SHORT),
    "clipped": (clipped, FaultKind.CLIPPING),
}
