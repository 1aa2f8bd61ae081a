"""Music with known truth: every beat, chord and bar is where the composer put it."""

import numpy as np
import numpy.typing as npt

from outpaint_mcp.audio.types import Samples

Wave = npt.NDArray[np.float64]

CHORDS = ((57, 60, 64), (53, 57, 60), (48, 52, 55), (55, 59, 62))


def with_melody(song: Samples, sample_rate: int) -> Samples:
    """Add a melody that never returns: four notes a second, each drawn once; 2 dB under full scale."""
    song = song.copy()
    rng = np.random.default_rng(5)
    time = np.arange(sample_rate // 4) / sample_rate
    for at in range(0, len(song) - len(time), len(time)):
        hertz = 220 * 2 ** (rng.integers(0, 25) / 12)
        song[at : at + len(time)] += (
            0.1 * np.sin(2 * np.pi * hertz * time + rng.uniform(0, 6)) * np.exp(-6 * time)
        )[:, None]
    return np.asarray(0.8 * song / np.abs(song).max(), np.float32)


def sequenced(  # noqa: PLR0913 - the score
    *,
    bpm: float = 120.0,
    beats: int = 64,
    meter: int = 4,
    sample_rate: int = 22_050,
    channels: int = 2,
    jitter_seconds: float = 0.0,
    seed: int = 0,
) -> tuple[Samples, npt.NDArray[np.int64]]:
    """Kick, snare, hat, bass, chords and a melody that changes from section to section.

    Returns:
        Samples `[frames, channels]` and the frame of every beat.
    """
    rng = np.random.default_rng(seed)
    period = 60 / bpm
    at = np.arange(beats) * period + jitter_seconds * rng.standard_normal(beats)
    song = np.zeros((round(beats * period * sample_rate), channels))
    for beat in range(beats):
        for wave, later in _sounds(beat, meter, period, sample_rate, rng):
            start = max(0, round((at[beat] + later * period) * sample_rate))
            wave = wave[: len(song) - start]  # noqa: PLW2901 - cut at the end of the song
            song[start : start + len(wave)] += wave[:, None]
    song *= 0.7 / np.abs(song).max()
    return song.astype(np.float32), np.rint(at * sample_rate).astype(np.int64)


def _sounds(
    beat: int, meter: int, period: float, sample_rate: int, rng: np.random.Generator
) -> list[tuple[Wave, float]]:
    bar, place = divmod(beat, meter)
    chord = CHORDS[bar % len(CHORDS)]
    section = (bar // 4) % 3
    sounds = [(0.3 * _hat(sample_rate, rng), 0.0), (0.2 * _hat(sample_rate, rng), 0.5)]
    if place == 0:
        sounds.append((0.8 * _kick(sample_rate), 0.0))
        sounds += [(0.1 * _note(pitch, period * meter * 0.98, sample_rate), 0.0) for pitch in chord]
    else:
        sounds.append((0.3 * _hat(sample_rate, rng, decay=0.05), 0.0))
    sounds.append((0.18 * _note(chord[0] - 24, period * 0.9, sample_rate), 0.0))
    melody = chord[(beat * (section + 1)) % 3] + 12
    sounds.append((0.12 * _note(melody, period * 0.45, sample_rate), 0.5))
    return sounds


def _note(pitch: int, seconds: float, sample_rate: int) -> Wave:
    time = np.arange(int(seconds * sample_rate)) / sample_rate
    hertz = 440 * 2 ** ((pitch - 69) / 12)
    wave = sum(
        np.sin(2 * np.pi * hertz * k * time + k) / k**2 for k in range(1, 8) if hertz * k < 0.4 * sample_rate
    )
    shape = np.clip(np.minimum(time / 0.01, (seconds - time) / 0.03), 0, 1) * np.exp(-1.2 * time)
    return np.asarray(wave * shape)


def _kick(sample_rate: int) -> Wave:
    time = np.arange(int(0.25 * sample_rate)) / sample_rate
    return np.asarray(np.sin(2 * np.pi * (50 * time + 2 * (1 - np.exp(-30 * time)))) * np.exp(-14 * time))


def _hat(sample_rate: int, rng: np.random.Generator, decay: float = 0.012) -> Wave:
    time = np.arange(int(6 * decay * sample_rate)) / sample_rate
    return np.asarray(rng.standard_normal(len(time)) * np.minimum(time / 0.0005, 1) * np.exp(-time / decay))
