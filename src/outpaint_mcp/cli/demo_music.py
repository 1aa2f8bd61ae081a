"""A short piece of music to try things out with when no recording is at hand.

Six bars of drums, bass, electric piano and a plucked tune at 104 bpm. All of it is synthesised here,
so it belongs to nobody else, and it is the same every time. It is cut from the middle of an endless
groove: what rings on past the last bar line is heard at the beginning, and nothing fades.
"""

from __future__ import annotations

import wave
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    Wave = npt.NDArray[np.float64]

SAMPLE_RATE = 44_100
BPM = 104
BARS = 6
_BEATS = 4 * BARS
_SWING_BEATS = 0.04
"""How late the second half of each beat comes."""
_PEAK = 0.8

_CHORDS = ((57, 60, 64, 67), (57, 60, 64, 65), (55, 60, 62, 64), (55, 59, 62, 64))
"""A minor 7, F major 7, C added 9, G 6 as MIDI notes; two beats each."""
_ROOTS = (33, 29, 36, 31)
_BASS = ((0.0, 0), (0.75, 0), (1.5, 12))
"""Beat within a chord and interval above its root."""
_TUNE = (
    ((0, 76), (0.75, 74), (1.5, 72), (2.5, 69), (3.5, 72), (4, 74), (5.5, 76), (6, 74), (7, 71)),
    ((0, 76), (0.75, 79), (1.5, 76), (2.5, 72), (3.5, 74), (4, 76), (5, 72), (6, 71), (6.75, 69), (7.5, 67)),
    ((0, 69), (1.5, 72), (2, 74), (2.75, 76), (4, 79), (4.75, 76), (5.5, 74), (6.5, 71), (7.25, 74)),
)
"""Beat and MIDI note, for each two bars."""


def compose_piece(path: Path) -> None:
    """Write the piece to `path` as a 16-bit stereo WAV of 13.8 s at 44.1 kHz."""
    rng = np.random.default_rng(BPM)
    tonal, drums = _silence(), _silence()
    for chord in range(_BEATS // 2):
        _play_chord(tonal, chord)
    for phrase, notes in enumerate(_TUNE):
        for beat, note in notes:
            for echo in range(3):  # a dotted-eighth echo that wanders from side to side
                pan = (0.35, -0.6, 0.6)[echo]
                _add(tonal, _pluck(note), 8 * phrase + beat + 0.75 * echo, 0.2 * 0.4**echo, pan)
    for beat in range(_BEATS):
        _play_drums(drums, beat, rng)
    beats = np.arange(len(tonal)) * (BPM / 60 / SAMPLE_RATE)
    ducked = tonal * (1 - 0.35 * np.exp(-5 * (beats % 2)))[:, None]  # makes room for the kick
    mix = np.tanh(1.2 * (ducked + drums))
    pcm = np.rint(mix * (_PEAK * 2**15 / np.abs(mix).max())).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(pcm.tobytes())


def _play_chord(mix: Wave, chord: int) -> None:
    """Electric piano on the beat and off it, bass underneath."""
    beat, degree = 2 * chord, chord % len(_CHORDS)
    for voice, note in enumerate(_CHORDS[degree]):
        for start, loudness in ((0.0, 0.11), (1.5, 0.07)):
            _add(mix, _piano(note), beat + start, loudness, 0.4 * voice - 0.6)
    for start, interval in _BASS:
        _add(mix, _bass(_ROOTS[degree] + interval), beat + start, 0.34, 0.0)


def _play_drums(mix: Wave, beat: int, rng: np.random.Generator) -> None:
    in_bar = beat % 4
    if in_bar in (0, 2):
        _add(mix, _kick(), beat, 0.75, 0.0)
    else:
        _add(mix, _snare(rng), beat, 0.4, 0.05)
    if in_bar == 1:
        _add(mix, _kick(), beat + 0.5, 0.45, 0.0)
    for quarter, loudness in enumerate((0.1, 0.05, 0.15, 0.05)):
        _add(mix, _hat(rng), beat + quarter / 4, loudness * rng.uniform(0.8, 1.2), 0.3)
    if beat == _BEATS - 1:  # a fill into whatever comes next
        _add(mix, _snare(rng), beat + 0.5, 0.22, -0.2)
        _add(mix, _snare(rng), beat + 0.75, 0.3, 0.2)


def _silence() -> Wave:
    return np.zeros((round(_BEATS * 60 / BPM * SAMPLE_RATE), 2))


def _add(mix: Wave, sound: Wave, beat: float, loudness: float, pan: float) -> None:
    """Add a mono sound at a beat, panned -1 to 1 at equal power; what overhangs the end begins anew."""
    late = _SWING_BEATS if beat % 1 >= 0.5 else 0.0  # noqa: PLR2004
    start = round((beat + late) * 60 / BPM * SAMPLE_RATE)
    frames = np.arange(start, start + len(sound)) % len(mix)
    angle = (pan + 1) * np.pi / 4
    mix[frames] += loudness * sound[:, None] * (np.cos(angle), np.sin(angle))


def _times(seconds: float) -> Wave:
    return np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE


def _tone(note: float, seconds: float, partials: tuple[float, ...], damping: float) -> Wave:
    """Sum partials of these strengths that die away the faster the higher they are, damping in 1/s."""
    t, hz = _times(seconds), 440 * np.exp2((note - 69) / 12)
    rising = np.minimum(t / 0.004, 1) * np.minimum((seconds - t) / 0.02, 1)
    sound = np.zeros(len(t))
    for number, strength in enumerate(partials, 1):
        sound += strength * np.sin(2 * np.pi * hz * number * t) * np.exp(-damping * number * t)
    return rising * sound


@cache
def _piano(note: int) -> Wave:
    return _tone(note, 1.1, (1, 0.3, 0.1, 0.12), 1.8) + 0.4 * _tone(note + 0.07, 1.1, (1,), 1.5)


@cache
def _bass(note: int) -> Wave:
    return _tone(note, 0.42, (1, 0.6, 0.35, 0.2, 0.1), 2.0)


@cache
def _pluck(note: int) -> Wave:
    return _tone(note, 0.6, (1, 0.5, 0.4, 0.25, 0.15, 0.1), 3.5)


@cache
def _kick() -> Wave:
    t = _times(0.28)
    return np.sin(2 * np.pi * (48 * t + 3.2 * (1 - np.exp(-35 * t)))) * np.exp(-11 * t)


def _snare(rng: np.random.Generator) -> Wave:
    t = _times(0.2)
    return rng.normal(0, 0.5, len(t)) * np.exp(-24 * t) + 0.5 * np.sin(2 * np.pi * 185 * t) * np.exp(-30 * t)


def _hat(rng: np.random.Generator) -> Wave:
    t = _times(0.07)
    return np.diff(rng.normal(0, 1, len(t)), prepend=0) * np.exp(-70 * t)
