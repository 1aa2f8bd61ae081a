"""Where music goes on: from its last full bar, whatever comes behind it."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from tests.audio.composing import sequenced

from outpaint_mcp.audio.engine.full_music import edge_of, find_full_music
from outpaint_mcp.audio.layout import Layout, Part, PartKind
from outpaint_mcp.audio.sides import Side

if TYPE_CHECKING:
    from pathlib import Path

    from outpaint_mcp.audio.surroundings import EdgeName
    from outpaint_mcp.audio.types import Samples

RATE = 22_050
BAR = 2 * RATE


@cache
def song() -> Samples:
    """Forty seconds at 120 bpm, cut half a beat behind a bar line."""
    return sequenced(bpm=120, beats=81, sample_rate=RATE)[0][: 40 * RATE + RATE // 4]


def faded(seconds: float) -> Samples:
    curve = np.append(np.ones(len(song()) - round(seconds * RATE)), np.linspace(1, 0, round(seconds * RATE)))
    return (song() * curve[:, None] ** 2).astype(np.float32)


def silence(seconds: float) -> Samples:
    return np.zeros((round(seconds * RATE), 2), np.float32)


def edges(samples: Samples, side: Side) -> tuple[int, EdgeName]:
    outward = samples if side is Side.AFTER else samples[::-1]
    return edge_of(np.ascontiguousarray(outward), RATE, side, len(samples))


def test_music_that_is_cut_off_goes_on_where_it_ends() -> None:
    assert edges(song(), Side.AFTER) == (0, "full")


@pytest.mark.parametrize("seconds", [3.0, 6.0, 12.0])
def test_music_that_fades_out_goes_on_from_a_bar_line_before_its_fade(seconds: float) -> None:
    frames, name = edges(faded(seconds), Side.AFTER)
    stop = len(song()) - frames
    assert name == "fades"
    assert abs(stop - round(stop / BAR) * BAR) < 0.02 * RATE
    assert seconds - 0.45 * seconds < frames / RATE < seconds + 4


def test_music_that_fades_in_is_led_into_behind_its_fade() -> None:
    frames, name = edges(faded(6.0), Side.BEFORE)
    assert name == "fades"
    assert 3 < frames / RATE < 10


def test_silence_behind_music_is_no_place_to_go_on_from() -> None:
    frames, name = edges(np.concatenate([song(), silence(5)]), Side.AFTER)
    assert name == "silence"
    assert 5 * RATE <= frames < 7.5 * RATE


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("level_db", [-200, -90, -60])
def test_silence_and_the_tone_of_a_room_are_no_places_to_go_on_from(side: Side, level_db: float) -> None:
    room = np.random.default_rng(0).standard_normal((len(song()) + 5 * RATE, 2)) * 10 ** (level_db / 20)
    outward = np.concatenate([song(), silence(5)]) + room  # `edges` turns it round for the beginning
    frames, name = edges(outward.astype(np.float32), side)
    assert name != "full"
    assert 4.9 * RATE <= frames < 8 * RATE


def test_a_silence_longer_than_what_is_looked_at_is_no_place_to_go_on_from_either() -> None:
    frames, name = edges(np.concatenate([song(), silence(100)]), Side.AFTER)
    assert name == "silence"
    assert 100 * RATE <= frames < 102.5 * RATE


def test_a_rest_before_the_last_chord_is_not_where_music_goes_on() -> None:
    chord = song()[: RATE // 2] * np.linspace(1, 0, RATE // 2)[:, None]
    samples = np.concatenate([song()[: 20 * BAR // 2], silence(0.8), chord.astype(np.float32), silence(0.3)])
    frames, _ = edges(samples, Side.AFTER)
    stop = len(samples) - frames
    assert stop <= 20 * BAR // 2
    before = samples[stop - RATE // 2 : stop]
    assert np.square(before).mean() > 0.2 * np.square(song()).mean()


def test_a_single_chord_has_no_full_music_to_go_on_from() -> None:
    chord = np.exp(-np.arange(3 * RATE) / (0.4 * RATE))[:, None] * song()[: 3 * RATE]
    assert edges(chord.astype(np.float32), Side.AFTER) == (0, "full")


@pytest.mark.parametrize(("kind", "name"), [(PartKind.RING_OUT, "ours"), (PartKind.OWN_ENDING, "own")])
def test_the_ending_of_an_earlier_result_is_known_and_not_guessed(kind: PartKind, name: str) -> None:
    layout = Layout(RATE, (Part(PartKind.SOURCE, len(song()) - 999, 0), Part(kind, 999)))
    assert edge_of(song(), RATE, Side.AFTER, len(song()), layout) == (999, name)
    assert edge_of(song(), RATE, Side.AFTER, len(song()), None) == (0, "full")


def test_a_layout_of_another_file_is_not_believed() -> None:
    layout = Layout(RATE, (Part(PartKind.SOURCE, 5 * RATE, 0), Part(PartKind.RING_OUT, 999)))
    assert edge_of(song(), RATE, Side.AFTER, len(song()), layout) == (0, "full")


def test_a_loop_is_full_music_though_its_last_note_rings_out() -> None:
    loop = sequenced(bpm=120, beats=16, sample_rate=RATE)[0]
    assert edges(loop, Side.AFTER) == (0, "full")


def test_a_part_of_a_recording_is_surveyed_as_if_it_were_all(tmp_path: Path) -> None:
    path = tmp_path / "song.wav"
    soundfile.write(path, faded(6.0), RATE, "PCM_16")
    whole = find_full_music(path)
    assert (whole.frames, whole.ending, whole.start) == (len(song()), "fades", 0)
    assert 30 < whole.stop_seconds < 38
    part = find_full_music(path, start_seconds=5, end_seconds=25)
    assert (part.frames, part.start, part.stop, part.ending) == (20 * RATE, 0, 20 * RATE, "full")


def test_the_parts_of_a_file_are_not_looked_for_in_a_part_of_its_copy_at_another_rate(tmp_path: Path) -> None:
    path = tmp_path / "copy.wav"
    soundfile.write(path, song(), RATE)
    layout = Layout(RATE // 2, (Part(PartKind.SOURCE, 10 * RATE), Part(PartKind.RING_OUT, 30 * RATE)))
    music = find_full_music(path, layout, end_seconds=30)
    assert (music.stop, music.ending) == (30 * RATE, "full")
