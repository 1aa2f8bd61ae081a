"""One of several, another one, and back again."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
from tests.conversations.listening import (
    ENDING_SECONDS,
    check_no_hole,
    common_frames,
    deepest_dip_db,
    frames_of,
    level_db,
    samples_of,
)
from tests.conversations.songs import FADE_SECONDS, RATE, fading, song, with_a_soft_middle, write

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conversations.assistant import Assistant

FULL_SECONDS = 38
"""Where the last full bar of a song of 46.7 s ends that fades over eight of them."""
_ID = re.compile(r"op_[0-9a-f]{8,}")


def test_three_options_have_ids_of_their_own_and_what_each_plays_is_the_reason(
    assistant: Assistant, music: Path
) -> None:
    """Make three versions and tell me which is best."""
    source = write(music / "Drei Wünsche.flac", fading(46.7))
    longer = assistant.extend("Drei Wünsche", extend_after_duration=20, takes=3, seed=11)
    takes = longer.result["takes"]
    assert "fades out from 0:38" in longer.submission["message"], "at once, and not when three are done"
    assert len({longer.submission["request_id"], *(each["request_id"] for each in takes)}) == 4
    assert len({each["path"] for each in takes}) == 3
    own = samples_of(source)
    for each in takes:
        whole = samples_of(each["path"])
        assert len(whole) == round(66.7 * RATE)
        assert common_frames(whole, own) >= FULL_SECONDS * RATE - RATE // 2
        check_no_hole(whole, own[: FULL_SECONDS * RATE], RATE, skip_end=FADE_SECONDS + 0.5)
        assert re.search(r"[Pp]lays \d:\d\d", each["verdict"])
    assert re.search(r"[Tt]akes? \d", longer.result["message"])


def test_the_first_of_three_is_extended_when_the_first_is_meant(assistant: Assistant, music: Path) -> None:
    """I like the first one. Twenty seconds more of it."""
    source = write(music / "Ausklang.flac", fading(46.7))
    three = assistant.extend("Ausklang", extend_after_duration=20, takes=3, seed=11)
    _, *ids = dict.fromkeys([three.submission["request_id"], *_ID.findall(three.submission["message"])])
    paths = {each["request_id"]: each["path"] for each in three.result["takes"]}
    longer = assistant.extend(ids[0], extend_after_duration=20, seed=5)
    first, whole = samples_of(paths[ids[0]]), samples_of(longer.path)
    assert "take 1" in longer.submission["message"]
    assert len(whole) == len(first) + 20 * RATE
    shared = common_frames(whole, first)
    assert shared >= len(first) - (FADE_SECONDS + 1.1) * RATE
    listed = assistant.call("list_outpaints", limit=100)["requests"]
    (entry,) = [each for each in listed if each["request_id"] == longer.result["request_id"]]
    assert entry["parent_request_id"] == ids[0]
    own = samples_of(source)[: FULL_SECONDS * RATE]
    check_no_hole(whole, own, RATE, skip_end=FADE_SECONDS + 0.5)
    for seam in (FULL_SECONDS, FULL_SECONDS + 20):
        bars = [level_db(whole[at * RATE : (at + 2) * RATE]) for at in (seam - 2, seam)]
        assert abs(bars[0] - bars[1]) < 3, f"the bar that follows {seam} s is as loud as the one before it"
    assert longer.result["verdict"].startswith("Good")


def test_undo_is_the_earlier_file_which_is_still_there(assistant: Assistant, music: Path) -> None:
    """No, that was better before. Undo it."""
    source = write(music / "Original.wav", song(20.6))
    before = source.read_bytes()
    first = assistant.extend(str(source), extend_after_duration=10)
    earlier = first.path.read_bytes()
    second = assistant.extend(first.result["request_id"], extend_after_duration=10)
    assert frames_of(second.path) == round(40.6 * RATE)
    assert source.read_bytes() == before
    assert first.path.read_bytes() == earlier
    listed = assistant.call("list_outpaints", limit=100)["requests"]
    (parent,) = [each for each in listed if each["request_id"] == first.result["request_id"]]
    assert parent["path"] == str(first.path)
    (child,) = [each for each in listed if each["request_id"] == second.result["request_id"]]
    assert child["parent_request_id"] == first.result["request_id"]


def test_a_join_that_sounds_rough_is_named_and_another_one_can_be_had(
    assistant: Assistant, music: Path
) -> None:
    """The join sounds rough. Mend it."""
    source = write(music / "Rauh.flac", np.concatenate([song(36.7), np.zeros((2 * RATE, 2), np.float32)]))
    own = samples_of(source)[: round(36.7 * RATE)]
    rough = assistant.extend("Rauh", extend_after_duration=20, placement="outside")
    assert deepest_dip_db(samples_of(rough.path)[: -round(ENDING_SECONDS * RATE)], own, RATE) > 20
    assert not rough.result["verdict"].startswith("Good")
    assert re.search(r"silen|hole", rough.result["verdict"])
    assert re.search(r"placement|source_end_seconds", rough.result["verdict"]), "no seed mends this one"
    mended = assistant.extend("Rauh", extend_after_duration=20)
    assert frames_of(mended.path) == frames_of(rough.path)
    check_no_hole(samples_of(mended.path), own, RATE, skip_end=ENDING_SECONDS)
    assert mended.result["verdict"].startswith("Good")


def test_another_cut_or_seed_is_another_join(assistant: Assistant, music: Path) -> None:
    """Try it with another join."""
    source = write(music / "Naht.flac", with_a_soft_middle(47.3))
    files = [
        assistant.extend("Naht", extend_after_duration=15, seed=1),
        assistant.extend("Naht", extend_after_duration=15, seed=2),
        assistant.extend("Naht", extend_after_duration=15, seed=1, source_end_seconds=44),
    ]
    assert len({each.path.read_bytes() for each in files}) == 3
    assert len({each.path for each in files}) == 3
    assert frames_of(files[2].path) == 59 * RATE
    for each in files:
        check_no_hole(samples_of(each.path), samples_of(source), RATE, skip_end=ENDING_SECONDS)


def test_calmer_is_calmer_and_the_answer_says_what_was_chosen(assistant: Assistant, music: Path) -> None:
    """Calmer at the end. Or no: with more drive."""
    write(music / "Wechsel.flac", with_a_soft_middle(61.3))
    calm, loud = (
        assistant.extend("Wechsel", tags, extend_after_duration=30, seed=4)
        for tags in ("calm, sparse", "driving, full")
    )
    new = [samples_of(each.path)[-20 * RATE : -5 * RATE] for each in (calm, loud)]
    assert level_db(new[0]) < level_db(new[1]) - 6
    for each, words in ((calm, "quieter"), (loud, "louder")):
        assert re.search(rf"chosen from \d:\d\d to \d:\d\d.* LU {words}", each.result["message"])
        assert each.result["verdict"].startswith("Good")


def test_a_build_grows_layer_by_layer(assistant: Assistant, music: Path) -> None:
    """Let it build up at the beginning."""
    source = write(music / "Aufbau.flac", song(37.2))
    longer = assistant.extend("Aufbau", extend_before_duration=20, extend_after_duration=0, beginning="build")
    whole = samples_of(longer.path)
    assert np.array_equal(whole[20 * RATE :], samples_of(source))
    first, middle, last = (level_db(whole[at * RATE : (at + 4) * RATE]) for at in (0, 8, 16))
    assert first < middle - 1 < last - 1
    assert first < last - 4


def test_tags_that_change_nothing_are_said_to_change_nothing(assistant: Assistant, music: Path) -> None:
    """Now with a ukulele."""
    write(music / "Insel.flac", song(21.4))
    plain = assistant.extend("Insel", "pop", extend_after_duration=8, seed=4)
    again = assistant.extend("Insel", "ukulele", extend_after_duration=8, seed=4)
    assert np.array_equal(samples_of(plain.path), samples_of(again.path))
    assert re.search(rf"[Tt]he same.* as {plain.result['request_id']}", again.result["message"])
