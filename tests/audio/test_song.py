"""A song has one tempo and one key, whatever was made of it; and a place from which it can be carried on."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from tests.audio.composing import sequenced

from outpaint_mcp.audio.features import extract_features
from outpaint_mcp.audio.hearing.analyze import analyze
from outpaint_mcp.audio.hearing.records import Analysis
from outpaint_mcp.audio.hearing.song_key import LEAST_CONFIDENCE, find_song_key
from outpaint_mcp.audio.hearing.tempo import Pulse, feel, find_tempo
from outpaint_mcp.audio.keys import find_key, steadiness
from outpaint_mcp.audio.types import Floats, Samples

RATE = 22_050


def analyzed(folder: Path, samples: Samples | Floats, *spans: tuple[float, float]) -> Analysis:
    path = folder / "made.wav"
    soundfile.write(path, samples, RATE, "FLOAT")
    return analyze(path, max_seconds=600, song_spans_seconds=spans)


def test_tempo_and_key_are_those_of_the_spans_that_are_the_persons_own(tmp_path: Path) -> None:
    song, _ = sequenced(bpm=97.3, beats=48)
    other, _ = sequenced(bpm=140.0, beats=96, seed=3)
    alone = analyzed(tmp_path, song)
    start = len(other) / RATE
    half = round(len(song) / 2)
    longer = np.concatenate([other, song[:half], other, song[half:], other])
    spans = ((start, start + half / RATE), (2 * start + half / RATE, 2 * start + len(song) / RATE))
    result = analyzed(tmp_path, longer, *spans)
    assert (result.tempo, result.key) == (alone.tempo, alone.key)
    assert result.seconds == pytest.approx(len(longer) / RATE)
    assert analyzed(tmp_path, longer).tempo != alone.tempo


@pytest.mark.parametrize(("counted_bpm", "felt_bpm"), [(133.3, 100.0), (106.7, 160.0), (125.3, 94.0)])
def test_a_pulse_of_three_subdivisions_is_not_taken_for_the_beat(counted_bpm: float, felt_bpm: float) -> None:
    rng = np.random.default_rng(0)
    step = 10
    onsets = np.zeros(6_000)
    onsets[::step] = 0.8 + 0.02 * rng.standard_normal(600)
    onsets[:: 3 * step] = 0.77
    beats: Floats = np.arange(0.0, 5_900.0, 3 * step)
    window_seconds = 60 / counted_bpm / (3 * step)
    pulse = Pulse(6_000 * window_seconds, beats * window_seconds, feel(onsets, beats, window_seconds))
    tempo = find_tempo((pulse,))
    assert tempo
    assert tempo.bpm == pytest.approx(felt_bpm, rel=0.005)


def test_a_region_that_was_tracked_at_another_level_does_not_change_the_tempo() -> None:
    def region(first_seconds: float, bpm: float, counted: float) -> Pulse:
        every = round(6_000 / bpm)
        onsets = np.zeros(20 * every * 8)
        onsets[::every] = 1.0
        beats = np.arange(0, len(onsets) - 1, every * bpm / counted)
        found = feel(onsets, beats, 0.01)
        return Pulse(len(onsets) / 100, first_seconds + beats / 100, found)

    steady = [region(100.0 * place, 150.0, 150.0) for place in range(3)]
    off = region(300.0, 150.0, 100.0)
    alone, both = find_tempo((*steady,)), find_tempo((*steady, off))
    assert alone
    assert both
    assert both.bpm == pytest.approx(alone.bpm, rel=0.01)


def chords(up: int) -> Floats:
    """Chroma windows of forty seconds in C major, so many semitones up."""
    windows = np.full((860, 12), 0.05)
    for number, window in enumerate(windows):
        for pitch in ((0, 4, 7), (5, 9, 0), (7, 11, 2), (0, 4, 7))[number // 20 % 4]:
            window[(pitch + up) % 12] = 1.0
    return windows


def test_a_key_that_holds_throughout_is_sure_and_one_that_holds_half_of_the_time_is_none() -> None:
    same = find_song_key(np.concatenate([chords(0), chords(0)]))
    assert same
    assert same.name == "C major"
    assert same.confidence >= LEAST_CONFIDENCE
    moves = np.concatenate([chords(0), chords(0), chords(6), chords(6)])
    whole = find_key(moves)
    if whole is not None:
        assert steadiness(moves, whole) <= 0.5
    assert find_song_key(moves) is None


def test_noise_has_no_song_key() -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, (60 * RATE, 1)).astype(np.float32)
    assert find_song_key(extract_features(noise, RATE, np.ones(1)).tones) is None


def test_a_song_that_fades_out_is_carried_on_from_where_the_fade_begins(tmp_path: Path) -> None:
    samples, beats = sequenced(beats=96)
    fade = 8 * RATE
    samples[-fade:] *= 10 ** (-np.linspace(0, 60, fade)[:, None] / 20)
    heard = analyzed(tmp_path, samples)
    assert heard.ending.kind == "fade-out"
    found = heard.carry_on_from_seconds
    assert found is not None
    assert len(samples) / RATE - 8.5 <= found <= len(samples) / RATE - 5
    assert np.abs(beats / RATE - found).min() < 0.03


def test_a_song_with_silence_at_its_end_is_carried_on_from_its_last_bar(tmp_path: Path) -> None:
    samples, _ = sequenced(beats=64)
    heard = analyzed(tmp_path, np.concatenate([samples, np.zeros((3 * RATE, 2), np.float32)]))
    found = heard.carry_on_from_seconds
    assert found is not None
    assert len(samples) / RATE - 2.1 < found <= len(samples) / RATE + 0.05


def test_a_last_chord_that_rings_out_is_not_what_a_song_is_carried_on_from(tmp_path: Path) -> None:
    samples, _ = sequenced(beats=64)
    time = np.arange(4 * RATE) / RATE
    ringing = 0.3 * np.sin(2 * np.pi * 220 * time) * np.exp(-2.0 * time)
    whole = np.concatenate([samples, np.stack([ringing, ringing], axis=1).astype(np.float32)])
    found = analyzed(tmp_path, whole).carry_on_from_seconds
    assert found is not None
    assert found <= len(samples) / RATE + 1.5


def test_a_song_that_ends_in_full_music_is_carried_on_from_its_end(tmp_path: Path) -> None:
    samples, _ = sequenced(beats=64)
    assert analyzed(tmp_path, samples).carry_on_from_seconds is None
    assert analyzed(tmp_path, np.zeros((RATE, 1))).carry_on_from_seconds is None
