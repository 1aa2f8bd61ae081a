"""How long it is to be."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

import numpy as np
from tests.audio.composing import sequenced
from tests.conversations.listening import (
    ENDING_SECONDS,
    check_no_hole,
    frames_of,
    level_db,
    levels_db,
    samples_of,
    softest_db,
)
from tests.conversations.songs import RATE, song, write
from tests.e2e.sound import check_longer_file

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conversations.assistant import Assistant


def test_five_minutes_are_five_minutes_to_the_frame(assistant: Assistant, music: Path) -> None:
    """Make My Track exactly five minutes long."""
    source = write(music / "My Track (final mix 2).ogg", song(31.3))
    longer = assistant.extend("My Track", total_seconds=300)
    assert source.name in longer.submission["message"]
    assert longer.submission["expected_duration_seconds"] == longer.result["duration_seconds"] == 300
    assert frames_of(longer.path) == 300 * RATE
    check_longer_file(longer.result, source)
    check_no_hole(samples_of(longer.path), samples_of(source), RATE, skip_end=ENDING_SECONDS)
    assert longer.result["verdict"].startswith("Good")


def test_an_intro_of_twelve_seconds_that_does_not_fade_is_there_from_its_first_moments(
    assistant: Assistant, music: Path
) -> None:
    """Put a twelve-second intro in front of it. Fade nothing."""
    source = write(music / "Strandgut.flac", song(37.7))
    longer = assistant.extend(
        "Strandgut", extend_before_duration=12, extend_after_duration=0, beginning="cut"
    )
    whole, own = samples_of(longer.path), samples_of(source)
    intro = whole[: 12 * RATE]
    assert np.array_equal(whole[12 * RATE :], own)
    check_no_hole(intro, own, RATE)
    assert levels_db(intro, RATE)[0] > softest_db(own, RATE)
    assert abs(level_db(intro[: 2 * RATE]) - level_db(own)) < 3
    assert "fade" not in assistant.call("analyze_audio", audio=longer.result["request_id"])["beginning"]
    assert "fade" not in longer.result["verdict"]


def test_a_loop_of_eight_seconds_plays_for_three_minutes_without_drift_and_leads_back(
    assistant: Assistant, music: Path
) -> None:
    """I need this loop for three minutes, seamless."""
    source = write(music / "drum loop 120.wav", song(8))
    longer = assistant.extend("drum loop", total_seconds=180, ending="loop", tags="calm")
    loop, whole = samples_of(source), samples_of(longer.path)
    assert "It loops" in longer.result["message"]
    assert "plays the source on, which is a loop" in longer.result["message"]
    assert "whatever the tags say" in longer.result["message"]
    assert "too short" not in longer.result["message"]
    assert len(whole) == 180 * RATE
    assert np.array_equal(whole[: len(loop)], loop)
    again = loop[np.arange(len(whole)) % len(loop)]
    differs = np.abs(whole - again).max(axis=1) > 0
    place = np.arange(len(whole)) % len(loop)
    end = np.argmax(place[::-1] == 0)  # where the last pass is left for the beginning
    is_wrap = (place < 0.03 * RATE) | (place >= len(loop) - 0.06 * RATE)
    is_wrap[-end - round(0.06 * RATE) :] = True
    assert not differs[~is_wrap].any(), "every bar plays again, and none comes late"
    steps = np.abs(np.diff(loop, axis=0)).max()
    assert np.abs(whole[-1] - whole[0]).max() <= 1.5 * steps
    check_no_hole(np.concatenate([whole[-8 * RATE :], whole[: 8 * RATE]]), loop, RATE)


def test_a_slow_loop_ends_on_a_bar_line(assistant: Assistant, music: Path) -> None:
    """The same with this one, at 97."""
    bar_seconds = 4 * 60 / 97
    loop = sequenced(bpm=97, beats=16, sample_rate=RATE)[0]
    write(music / "head nod.wav", loop)
    longer = assistant.extend("head nod", total_seconds="3:00", ending="loop")
    bars = frames_of(longer.path) / RATE / bar_seconds
    assert abs(bars - round(bars)) < 0.01
    assert "(97 bpm)" in longer.result["message"]


def test_two_longer_versions_are_two_files_beside_each_other(assistant: Assistant, music: Path) -> None:
    """Give me versions of übung that are thirty and sixty seconds longer."""
    source = write(music / unicodedata.normalize("NFD", "übung #3.flac"), song(21.9))
    shorter = assistant.extend("übung", extend_after_duration=30)
    longer = assistant.extend("übung", extend_after_duration=60)
    for each, seconds in ((shorter, 30), (longer, 60)):
        assert frames_of(each.path) == round(21.9 * RATE) + seconds * RATE
        assert f"{seconds}s after" in each.path.name
        check_longer_file(each.result, source)
        check_no_hole(samples_of(each.path), samples_of(source), RATE, skip_end=ENDING_SECONDS)
    assert shorter.path.is_file()


def test_twenty_minutes_are_one_request_and_never_stop(assistant: Assistant, music: Path) -> None:
    """Twenty minutes of this, please, for my yoga class."""
    source = write(music / "Yoga.flac", song(38.3)[:, :1])
    longer = assistant.extend("Yoga", total_seconds=1200)
    assert frames_of(longer.path) == 1200 * RATE
    check_longer_file(longer.result, source)
    check_no_hole(samples_of(longer.path), samples_of(source), RATE, skip_end=ENDING_SECONDS)
    assert "total_seconds" in assistant.refusal(
        "submit_outpaint", audio="Yoga", tags="", extend_after_duration=1160
    )
    listed = assistant.call("list_outpaints", limit=100)["requests"]
    (entry,) = [each for each in listed if each["title"] == "Yoga"]
    assert entry["extend_after_duration"] == 1200 - 38.3
