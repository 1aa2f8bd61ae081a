"""Where it goes on from, and how it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import soundfile
from tests.conversations.listening import (
    ENDING_SECONDS,
    attacks_seconds,
    check_no_hole,
    frames_of,
    level_db,
    samples_of,
)
from tests.conversations.songs import BEAT_SECONDS, RATE, song, write
from tests.e2e.sound import check_longer_file

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conversations.assistant import Assistant


def test_an_abrupt_end_becomes_one_that_rings_out_on_a_beat(assistant: Assistant, music: Path) -> None:
    """It stops in the middle of nowhere. Give it a proper ending."""
    source = write(music / "Demo 4.wav", song(33.3))
    longer = assistant.extend("Demo 4", extend_after_duration=8)
    whole = samples_of(longer.path)
    assert len(whole) == round(41.3 * RATE)
    check_longer_file(longer.result, source)
    check_no_hole(whole, samples_of(source), RATE, skip_end=ENDING_SECONDS)
    last = attacks_seconds(whole, RATE)[-1]
    beats = last / BEAT_SECONDS
    assert abs(beats - round(beats)) * BEAT_SECONDS < 0.04, "the last thing played is on a beat"
    assert 1 < 41.3 - last <= ENDING_SECONDS, "it rings, and is not faded while it goes on"
    assert level_db(whole[-RATE // 10 :]) < level_db(whole) - 40


def test_a_song_is_carried_on_from_a_time_on_the_clock(assistant: Assistant, music: Path) -> None:
    """Carry on from 1:23, fifteen seconds."""
    source = write(music / "Langes Lied.flac", song(95.3))
    longer = assistant.extend("Langes Lied", source_end_seconds="1:23", extend_after_duration=15)
    whole, own = samples_of(longer.path), samples_of(source)
    assert len(whole) == (83 + 15) * RATE
    assert np.array_equal(whole[: 83 * RATE], own[: 83 * RATE])
    check_no_hole(whole, own, RATE, skip_end=ENDING_SECONDS)
    assert longer.path.stem == "Langes Lied, extended 15s after"


def test_only_the_new_part_comes_at_24_bits(assistant: Assistant, music: Path) -> None:
    """Just the new part, please, as a 24-bit WAV."""
    write(music / "Riff.flac", song(21.1), subtype="PCM_24")
    longer = assistant.extend("Riff", extend_after_duration=20)
    part = assistant.get(longer.result["request_id"], part="after", format="wav24")
    new, whole = samples_of(part["path"]), samples_of(longer.path)
    assert (soundfile.info(part["path"]).format, soundfile.info(part["path"]).subtype) == ("WAV", "PCM_24")
    assert "24 bit" in part["written"]
    assert frames_of(part["path"]) == 20 * RATE
    assert np.array_equal(new, whole[-20 * RATE :])
