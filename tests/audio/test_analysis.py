"""What a recording is told to be, is what it is; what cannot be told, is not."""

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from tests.audio.composing import sequenced

from outpaint_mcp.audio.features import extract_features
from outpaint_mcp.audio.hearing import endings, stream_analyzer
from outpaint_mcp.audio.hearing.analyze import analyze
from outpaint_mcp.audio.hearing.outline import Outliner
from outpaint_mcp.audio.hearing.records import Analysis, Character, Tempo
from outpaint_mcp.audio.hearing.stream_analyzer import ANALYSIS_HZ, StreamAnalyzer
from outpaint_mcp.audio.hearing.tempo import Pulse, feel, find_tempo
from outpaint_mcp.audio.hearing.timbre import propose_tags
from outpaint_mcp.audio.keys import fifths_between
from outpaint_mcp.audio.tonality import Key
from outpaint_mcp.audio.types import Floats, Samples
from outpaint_mcp.cli.demo_music import compose_piece
from outpaint_mcp.errors import SourceTooLarge, SourceUnreachable, UnsupportedAudio

RATE = 22_050


def encoded(analysis: Analysis) -> str:
    """As it crosses the process boundary."""
    return json.dumps(asdict(analysis), allow_nan=False)


Listen = Callable[..., Analysis]
"""From samples, their rate and a subtype to what is heard in a WAV file of them."""


@pytest.fixture
def listen(tmp_path: Path) -> Listen:
    def to(samples: Samples | Floats, sample_rate: int = RATE, subtype: str = "FLOAT") -> Analysis:
        path = tmp_path / "made.wav"
        soundfile.write(path, samples, sample_rate, subtype)
        return analyze(path, max_seconds=600)

    return to


@cache
def groove(folder: Path) -> Samples:
    compose_piece(folder / "piece.wav")
    samples, _ = soundfile.read(folder / "piece.wav", dtype="float32")
    return np.asarray(samples)


@pytest.fixture
def piece(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    return groove(tmp_path_factory.getbasetemp())


def chord(seconds: float, *hertz: float, rate: int = RATE, damping: float = 0.0) -> Floats:
    time = np.arange(round(seconds * rate)) / rate
    wave = sum(np.sin(2 * np.pi * each * time) for each in hertz) * np.exp(-damping * time)
    return np.asarray(0.1 * wave)[:, None]


@pytest.mark.smoke
@pytest.mark.parametrize("bpm", [92.0, 97.3, 120.0, 151.0])
def test_the_tempo_and_the_key_of_sequenced_music_are_found(listen: Listen, bpm: float) -> None:
    samples, _ = sequenced(bpm=bpm, beats=64)
    heard = listen(samples)
    assert heard.tempo
    assert heard.tempo.bpm == pytest.approx(bpm, rel=0.005)
    assert heard.tempo.confidence > 0.8
    assert heard.tempo.highest_bpm - heard.tempo.lowest_bpm < 0.01 * bpm
    assert heard.key
    assert fifths_between(heard.key, Key(9, "minor", 1)) == 0
    assert {f"{round(bpm)} bpm", "steady beat", heard.key.name} <= set(heard.tags)


@pytest.mark.parametrize(
    ("every", "weak", "counted_bpm", "felt_bpm"),
    [(30, 1.0, 120.0, 120.0), (22, 0.4, 160.0, 80.0), (22, 0.9, 160.0, 160.0), (20, 1.0, 120.0, 180.0)],
    ids=["as counted", "half as fast", "fast", "half as fast again"],
)
def test_the_beats_that_are_felt_are_told_and_not_any_pulse_that_fits(
    every: int, weak: float, counted_bpm: float, felt_bpm: float
) -> None:
    onsets = np.zeros(4_000)
    onsets[::every], onsets[every :: 2 * every] = 1.0, weak
    beats = np.arange(0, 3_900, every * felt_bpm / counted_bpm if felt_bpm > counted_bpm else every)
    window_seconds = 60 / counted_bpm / (beats[1] - beats[0])
    pulse = Pulse(4_000 * window_seconds, beats * window_seconds, feel(onsets, beats, window_seconds))
    tempo = find_tempo((pulse,))
    assert tempo
    assert tempo.bpm == pytest.approx(felt_bpm, rel=0.001)


def test_unsteady_playing_strays_more_than_a_sequencer(listen: Listen) -> None:
    strict, _ = sequenced(beats=64)
    loose, _ = sequenced(beats=64, jitter_seconds=0.012)
    strays = [tempo.stray_ms for tempo in (listen(strict).tempo, listen(loose).tempo) if tempo]
    assert strays[0] < 4
    assert 6 < strays[1] < 20


def test_everything_counted_is_exact_and_survives_json(listen: Listen, piece: Samples) -> None:
    heard = listen(piece, 44_100, "PCM_16")
    assert (heard.frames, heard.sample_rate, heard.channels) == (len(piece), 44_100, 2)
    assert (heard.container, heard.subtype, heard.intact) == ("WAV", "PCM_16", True)
    assert heard.full_scale_frames == 0
    assert heard.lufs == pytest.approx(-12.9, abs=0.1)
    assert TypeAdapter(Analysis).validate_json(encoded(heard), strict=True) == heard


def test_a_loop_is_ready_to_loop_and_one_cut_off_the_beat_is_not(listen: Listen, piece: Samples) -> None:
    whole = listen(piece, 44_100).ending
    assert (whole.kind, whole.loop_beats) == ("loop-ready", 24)
    for beats in (0.3, 0.5, 1.7):
        cut = listen(piece[: -round(beats * 60 / 104 * 44_100)], 44_100).ending
        assert (cut.kind, cut.loop_beats) == ("hard cut", None)


def test_a_whole_number_of_beats_is_no_loop_where_the_harmony_or_level_jumps(
    listen: Listen, piece: Samples
) -> None:
    beat = 60 / 104 * 44_100
    ramp = np.linspace(0.15, 1, len(piece), dtype=np.float32)[:, None]
    assert listen(piece * ramp, 44_100).ending.kind == "hard cut"
    assert listen(piece[round(2 * beat) :], 44_100).ending.kind == "hard cut"


def test_without_beats_a_loop_is_one_whose_ends_meet(listen: Listen) -> None:
    meets = chord(3.0, 110, 220, 330)
    assert listen(meets).ending.kind == "loop-ready"
    assert listen(meets[:-70]).ending.kind == "hard cut"


def test_once_round_is_a_whole_number_of_beats_only_to_a_fiftieth_of_a_second() -> None:
    samples, _ = sequenced(beats=32, channels=1)
    listener = StreamAnalyzer(RATE, 1)
    listener.add(samples)
    timeline = listener.finish()
    assert timeline
    assert [endings._whole_beats(timeline, seconds) for seconds in (16.0, 16.01, 15.99)] == [32, 32, 32]
    assert [endings._whole_beats(timeline, seconds) for seconds in (16.04, 15.96, 16.25)] == [
        None,
        None,
        None,
    ]


@pytest.mark.parametrize("seconds", [3.0, 8.0])
def test_a_fade_out_is_told_from_sounds_that_ring_out(listen: Listen, piece: Samples, seconds: float) -> None:
    music = np.tile(piece, (2, 1))
    count = round(seconds * 44_100)
    faded = music.copy()
    faded[-count:] *= np.linspace(1, 0, count, dtype=np.float32)[:, None]
    heard = listen(faded, 44_100).ending
    assert heard.kind == "fade-out"
    assert 0.3 * seconds < (heard.fade_seconds or 0) < seconds
    ringing = chord(5.0, 220, 262, 330, rate=44_100, damping=1.2).repeat(2, axis=1)
    assert listen(np.concatenate([music, ringing]), 44_100).ending.kind == "rings out"


def test_a_fade_in_is_told_from_music_that_is_there_at_once(listen: Listen, piece: Samples) -> None:
    assert listen(piece, 44_100).beginning.kind == "sudden"
    rising = np.tile(piece, (2, 1))
    rising[: 5 * 44_100] *= np.linspace(0, 1, 5 * 44_100, dtype=np.float32)[:, None]
    assert listen(rising, 44_100).beginning.kind == "fade-in"


@pytest.mark.parametrize("offset", [0.0, 0.2])
def test_silence_at_both_ends_is_measured_beneath_an_offset_too(
    listen: Listen, piece: Samples, offset: float
) -> None:
    silent = np.pad(0.5 * piece[: 8 * 44_100], ((44_100, 2 * 44_100), (0, 0))) + offset
    heard = listen(silent, 44_100)
    assert heard.starts_at_seconds == pytest.approx(1.0, abs=0.02)
    assert heard.ends_at_seconds == pytest.approx(9.0, abs=0.02)
    assert heard.dc_offset == pytest.approx(offset, abs=0.01)
    assert heard.ending.kind == "hard cut"


def test_sections_that_sound_alike_have_one_letter(listen: Listen) -> None:
    busy, _ = sequenced(beats=40, channels=1)
    calm = np.tile(0.1 * chord(1.0, 220, 277, 330), (20, 1))
    heard = listen(np.concatenate([busy, calm, busy]))
    assert [section.letter for section in heard.sections] == ["A", "B", "A"]
    assert [section.level for section in heard.sections] == ["loud", "quiet", "loud"]
    assert heard.sections[1].start_seconds == pytest.approx(20, abs=1)
    assert heard.sections[1].end_seconds == pytest.approx(40, abs=1)
    assert heard.sections[0].start_seconds == 0
    assert heard.sections[-1].end_seconds == pytest.approx(heard.seconds, abs=0.01)


def test_music_in_antiphase_is_heard_as_its_left_channel_alone(listen: Listen, piece: Samples) -> None:
    left = piece[:, :1]
    one, both = listen(left, 44_100), listen(np.concatenate([left, -left], axis=1), 44_100)
    assert both.tempo == one.tempo
    assert both.key == one.key
    assert both.sections == one.sections


@pytest.mark.smoke
@pytest.mark.parametrize(
    "samples",
    [np.zeros((5 * RATE, 2)), np.full((1, 1), 0.5), np.full((RATE, 1), 0.5)],
    ids=["silence", "one frame", "nothing but an offset"],
)
def test_where_nothing_sounds_nothing_is_claimed(listen: Listen, samples: Floats) -> None:
    heard = listen(samples)
    assert (heard.starts_at_seconds, heard.ends_at_seconds) == (None, None)
    assert (heard.tempo, heard.key, heard.character, heard.sections, heard.tags) == (None, None, None, (), ())
    assert (heard.beginning.kind, heard.ending.kind) == ("silence", "silence")


def test_noise_and_drones_have_neither_tempo_nor_key(listen: Listen) -> None:
    rng = np.random.default_rng(0)
    for samples in (rng.normal(0, 0.1, (10 * RATE, 1)), chord(10.0, 110, 220, 330)):
        heard = listen(samples)
        assert (heard.tempo, heard.key) == (None, None)
        assert not any("bpm" in tag or "m" in tag.split()[1:] for tag in heard.tags)


@pytest.mark.smoke
@pytest.mark.parametrize(("rate", "channels"), [(4_000, 1), (8_000, 1), (192_000, 2), (48_000, 6)])
def test_every_rate_and_any_channels_are_listened_to(listen: Listen, rate: int, channels: int) -> None:
    samples, _ = sequenced(beats=24, sample_rate=rate, channels=channels)
    heard = listen(samples, rate)
    assert heard.tempo
    assert heard.tempo.bpm == pytest.approx(120, rel=0.02)
    assert heard.lufs is not None


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 3),
    st.integers(1, 6_000),
    st.sampled_from([4_000, 22_050, 44_100]),
    st.sampled_from([0.0, 1e-6, 0.5, 1.0, 1e30, float("nan"), float("inf")]),
    st.integers(0, 99),
)
def test_any_samples_whatever_are_heard_without_complaint(  # noqa: PLR0913 - what Hypothesis gives
    tmp_path_factory: pytest.TempPathFactory, channels: int, frames: int, rate: int, value: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    samples = rng.normal(0, 0.1, (frames, channels)).astype(np.float32)
    samples[rng.integers(0, frames, frames // 3 + 1)] = value
    path = tmp_path_factory.getbasetemp() / "any.wav"
    soundfile.write(path, samples, rate, "FLOAT")
    if not (np.abs(samples) < 2**31).any():
        with pytest.raises(UnsupportedAudio, match="holds no sound"):
            analyze(path, max_seconds=60)
        return
    heard = analyze(path, max_seconds=60)
    assert heard.frames == frames
    assert TypeAdapter(Analysis).validate_json(encoded(heard), strict=True) == heard


@given(st.lists(st.integers(1, 700), min_size=1, max_size=8), st.integers(0, 99))
def test_the_outline_does_not_depend_on_how_the_recording_is_cut_into_blocks(
    cuts: list[int], seed: int
) -> None:
    samples = np.random.default_rng(seed).normal(0, 0.4, (sum(cuts), 2)).astype(np.float32)
    whole, parts = Outliner(8_000, 2), Outliner(8_000, 2)
    whole.add(samples)
    for block in np.split(samples, np.cumsum(cuts)[:-1]):
        parts.add(block)
    one, other = whole.finish(), parts.finish()
    assert np.array_equal(one.envelope, other.envelope)
    assert one.full_scale_frames == other.full_scale_frames
    assert one.dc_offset == pytest.approx(other.dc_offset)
    assert one.sounding() == other.sounding()


@pytest.mark.parametrize("offset", [0.0, 0.3])
def test_the_envelope_of_a_tone_is_its_amplitude_whatever_the_offset(offset: float) -> None:
    outliner = Outliner(RATE, 1)
    outliner.add((chord(1.0, 1_000) + offset).astype(np.float32))
    assert outliner.finish().envelope == pytest.approx(0.1, rel=0.02)


def test_a_long_recording_is_heard_in_regions_as_it_would_be_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    samples, _ = sequenced(beats=130, sample_rate=ANALYSIS_HZ, channels=1)
    monkeypatch.setattr(stream_analyzer, "_REGION_FRAMES", 44 * 6 * 1024)
    listener = StreamAnalyzer(ANALYSIS_HZ, 1)
    for start in range(0, len(samples), 9_999):
        listener.add(samples[start : start + 9_999])
    timeline = listener.finish()
    assert timeline
    assert len(timeline.pulses) > 3
    at_once = extract_features(samples, ANALYSIS_HZ, np.ones(1))
    assert timeline.power == pytest.approx(at_once.power, rel=1e-3, abs=1e-9)
    assert timeline.tones == pytest.approx(at_once.tones, rel=1e-2, abs=0.05)
    assert np.median(np.abs(timeline.flux_db - at_once.flux_db)) < 0.01
    beats = np.concatenate([pulse.beats_seconds for pulse in timeline.pulses])
    assert np.diff(beats) == pytest.approx(0.5, abs=0.03)
    assert sum(pulse.seconds for pulse in timeline.pulses) == pytest.approx(len(samples) / ANALYSIS_HZ)


def test_no_more_of_a_recording_is_held_than_two_regions(monkeypatch: pytest.MonkeyPatch) -> None:
    region = 44 * 2 * 1024
    monkeypatch.setattr(stream_analyzer, "_REGION_FRAMES", region)
    listener = StreamAnalyzer(ANALYSIS_HZ, 1)
    held = []
    for seed in range(60):
        listener.add(np.random.default_rng(seed).normal(0, 0.1, (20_000, 1)).astype(np.float32))
        held.append(sum(len(part) for part in listener._signal))
    assert max(held) < 2 * region + 3 * stream_analyzer._CONTEXT_FRAMES


def test_doubtful_tempos_and_keys_make_no_tags() -> None:
    character = Character(1_500, "balanced", 3.0, 0.5, "moderate")
    tempo = Tempo(120.0, 0.4, 110.0, 130.0, 20.0)
    assert propose_tags(tempo, Key(9, "minor", 0.1), character, ()) == ()
    sure = Tempo(120.4, 0.9, 119.0, 121.0, 5.0)
    assert propose_tags(sure, Key(9, "minor", 0.5), character, ()) == ("120 bpm", "steady beat", "A minor")


def test_progress_is_told_up_to_the_end(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "made.wav", np.zeros((5 * 65_536, 1)), RATE)
    told: list[float] = []
    analyze(tmp_path / "made.wav", max_seconds=60, on_progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 1


def test_what_cannot_be_heard_is_refused_by_the_house_s_own_errors(tmp_path: Path) -> None:
    (tmp_path / "picture.mp3").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    soundfile.write(tmp_path / "long.wav", np.zeros((3 * RATE, 1)), RATE)
    soundfile.write(tmp_path / "empty.wav", np.zeros((0, 1)), RATE)
    with pytest.raises(UnsupportedAudio):
        analyze(tmp_path / "picture.mp3", max_seconds=60)
    with pytest.raises(UnsupportedAudio):
        analyze(tmp_path / "empty.wav", max_seconds=60)
    with pytest.raises(SourceTooLarge):
        analyze(tmp_path / "long.wav", max_seconds=2)
    with pytest.raises(SourceUnreachable):
        analyze(tmp_path / "nothing.wav", max_seconds=2)
