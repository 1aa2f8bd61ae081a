"""Composed pieces whose beats are known exactly; `python -m bench.synthetic DIR` writes them down."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile

if TYPE_CHECKING:
    from outpaint_mcp.audio.types import Floats, Samples

SAMPLE_RATE = 44100

_MINOR = ((57, 60, 64), (53, 57, 60), (48, 52, 55), (55, 59, 62))
_MAJOR = ((60, 64, 67), (57, 60, 64), (53, 57, 60), (55, 59, 65))
_PEAK = 0.7


@dataclass(frozen=True, slots=True)
class Score:
    """What a piece is composed from.

    Attributes:
        name: of the piece.
        kind: `sequenced`, `live` or `drift`: how steady its beat is.
        bpm: its tempo.
        bars: how many.
        meter: beats in a bar.
        jitter_seconds: standard deviation of each onset.
        swing: how late the off-beat is, in beats.
        drift: how much faster it ends than it begins, half of it on each side of the tempo.
        seed: of its chances.
        chords: MIDI notes, a chord a bar.
        noise: level of the background.
        tail_seconds: silence after the last beat.
        fades: whether it fades out over its last 6 s.
    """

    name: str
    kind: str
    bpm: float
    bars: int
    meter: int = 4
    jitter_seconds: float = 0.0
    swing: float = 0.0
    drift: float = 0.0
    seed: int = 0
    chords: tuple[tuple[int, int, int], ...] = _MINOR
    noise: float = 0.0
    tail_seconds: float = 0.0
    fades: bool = False


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece and its truth.

    Attributes:
        score: what it was composed from.
        samples: stereo.
        beats_seconds: when each beat falls, and the end of the last one.
    """

    score: Score
    samples: Samples
    beats_seconds: Floats


SCORES = (
    Score("pop120", "sequenced", 120, 32),
    Score("waltz140", "sequenced", 140, 40, meter=3, chords=_MAJOR),
    Score("fade126", "sequenced", 126, 32, fades=True, seed=6),
    Score("odd128_cut", "sequenced", 128, 30, tail_seconds=0.137, seed=7),
    Score("live97", "live", 97.3, 28, jitter_seconds=0.006, swing=0.12, noise=0.002, seed=3),
    Score("drift112", "drift", 112, 32, drift=0.04, jitter_seconds=0.003, seed=5),
)


@dataclass(frozen=True, slots=True)
class Beat:
    """One beat of a piece: which it is, when it falls, how long it lasts."""

    index: int
    seconds: float
    period_seconds: float


def compose(score: Score) -> Piece:
    """Drums, bass, chords and a melody that changes every four bars."""
    rng = np.random.default_rng(score.seed)
    count = score.bars * score.meter
    periods = 60 / score.bpm * (1 - score.drift * np.linspace(-1, 1, count))
    beats = np.concatenate([[0.0], np.cumsum(periods)])
    out = np.zeros((int((beats[-1] + score.tail_seconds) * SAMPLE_RATE), 2))
    for index in range(count):
        at = float(beats[index] + rng.normal() * score.jitter_seconds)
        beat = Beat(index, at, float(periods[index]))
        _play_drums(out, score, beat, rng)
        _play_notes(out, score, beat)
    out += score.noise * rng.standard_normal(out.shape)
    out *= _PEAK / np.abs(out).max()
    if score.fades:
        length = 6 * SAMPLE_RATE
        out[-length:] *= np.linspace(1, 0, length)[:, None] ** 2
    return Piece(score, out.astype(np.float32), beats)


def _play_drums(out: Floats, score: Score, beat: Beat, rng: np.random.Generator) -> None:
    place = beat.index % score.meter
    if place == 0 or (score.meter == 4 and place == 2):
        _add(out, beat.seconds, _kick() * 0.8)
    if place in (1, 3) if score.meter == 4 else place > 0:
        snare = _burst(rng, 0.2, 0.001, 0.05) * 0.7
        _add(out, beat.seconds, snare * 0.4 * (1 + 0.1 * rng.normal()))
    for part in (0.0, 0.5 + score.swing):
        onset = beat.seconds + part * beat.period_seconds + rng.normal() * score.jitter_seconds
        hat = np.diff(_burst(rng, 0.06, 0.0005, 0.012), prepend=0) * 0.5
        _add(out, onset, hat * 0.4, 0.3)


def _play_notes(out: Floats, score: Score, beat: Beat) -> None:
    bar, place = divmod(beat.index, score.meter)
    at, period = beat.seconds, beat.period_seconds
    chord, section = score.chords[bar % len(score.chords)], (bar // 4) % 4
    if place == 0:
        for voice, pitch in enumerate(chord):
            _add(out, at, _note(pitch, period * score.meter * 0.98, bright=False) * 0.10, (voice - 1) * 0.5)
    bass = chord[0] - 24 + (12 if place == score.meter - 1 else 0)
    _add(out, at, _note(bass, period * 0.9, bright=True) * 0.18)
    for half in range(2) if section else ():
        pitch = chord[(beat.index * section + half) % 3] + 12 * (2 if section == 2 else 1)
        _add(out, at + half * period / 2, _note(pitch, period * 0.45, bright=False) * 0.12, -0.4)


def _add(out: Floats, seconds: float, sound: Floats, pan: float = 0.0) -> None:
    """Mix a sound in at a time, `pan` -1 left to 1 right."""
    at = max(round(seconds * SAMPLE_RATE), 0)
    if at >= len(out):
        return
    sound = sound[: len(out) - at]
    angle = (pan + 1) * np.pi / 4
    out[at : at + len(sound)] += sound[:, None] * [np.cos(angle), np.sin(angle)]


def _note(pitch: int, seconds: float, *, bright: bool) -> Floats:
    """Eleven partials of a MIDI pitch, falling off as 1/h or, unless bright, 1/h²."""
    hz, count = 440 * 2 ** ((pitch - 69) / 12), int(seconds * SAMPLE_RATE)
    time = np.arange(count) / SAMPLE_RATE
    sound: Floats = np.zeros(count)
    for partial in range(1, 12):
        if hz * partial > 16000:
            break
        sound += np.sin(2 * np.pi * hz * partial * time + partial) / (partial if bright else partial**2)
    ends = np.minimum(time / 0.01, 1) * np.minimum((seconds - time) / 0.03, 1)
    sound *= np.clip(ends, 0, 1) * np.exp(-time * 1.2)
    return sound


def _kick() -> Floats:
    time = np.arange(int(0.25 * SAMPLE_RATE)) / SAMPLE_RATE
    struck: Floats = np.sin(2 * np.pi * (50 * time + 2 * (1 - np.exp(-time * 30)))) * np.exp(-time * 14)
    return struck


def _burst(rng: np.random.Generator, seconds: float, attack: float, decay: float) -> Floats:
    """White noise with an exponential envelope."""
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return rng.standard_normal(len(time)) * np.minimum(time / attack, 1) * np.exp(-time / decay)


def main() -> None:
    """Write every piece as 16-bit WAV with its beats as JSON beside it."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "synthetic")
    folder.mkdir(parents=True, exist_ok=True)
    for piece in map(compose, SCORES):
        path = folder / f"{piece.score.name}.wav"
        soundfile.write(path, piece.samples, SAMPLE_RATE, subtype="PCM_16")
        truth = {
            "beats": piece.beats_seconds[:-1].tolist(),
            "period": 60 / piece.score.bpm,
            "meter": piece.score.meter,
        }
        path.with_suffix(".json").write_text(json.dumps(truth))


if __name__ == "__main__":
    main()
