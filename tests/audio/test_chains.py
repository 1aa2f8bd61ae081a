"""Extending what was extended before, endings, and music inside: measured on the files."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from tests.audio.composing import sequenced

from outpaint_mcp.audio.engine.outpaint import Outpainted, outpaint_file
from outpaint_mcp.audio.layout import Layout, Part, PartKind
from outpaint_mcp.audio.levels import level_db
from outpaint_mcp.errors import Hint, InvalidRequest
from outpaint_mcp.wishes import Wishes

if TYPE_CHECKING:
    from pathlib import Path

    from outpaint_mcp.audio.types import Samples
    from outpaint_mcp.wishes import BeginningName

RATE = 22_050


@cache
def song() -> Samples:
    """Forty seconds at 120 bpm that fade out over the last eight."""
    samples = sequenced(bpm=120, beats=80, sample_rate=RATE)[0]
    curve = np.append(np.ones(len(samples) - 8 * RATE), np.linspace(1, 0, 8 * RATE) ** 2)
    return (samples * curve[:, None]).astype(np.float32)


def write(path: Path, samples: Samples, sample_rate: int = RATE) -> Path:
    soundfile.write(path, samples, sample_rate, "PCM_16")
    return path


def read(path: Path) -> Samples:
    return np.asarray(soundfile.read(path, dtype="float32", always_2d=True)[0])


def extended(
    source: Path, wishes: Wishes, *, layout: Layout | None = None, seed: int = 1
) -> tuple[Outpainted, Path, Samples]:
    destination = source.with_name(f"{source.stem}+.wav")
    outpainted = outpaint_file(
        source,
        destination,
        wishes,
        seed=seed,
        layout=layout,
        max_source_seconds=600,
        on_progress=lambda _share, _step: None,
    )
    result = read(destination)
    assert len(result) == outpainted.layout.frames
    for each in outpainted.preserved:
        length = each.stop - each.start
        assert np.array_equal(
            result[each.at_frame : each.at_frame + length], read(source)[each.start : each.stop]
        )
    return outpainted, destination, result


def quietest_db(samples: Samples, seconds: float = 0.4) -> float:
    size = round(seconds * RATE)
    return min(level_db(samples[first : first + size]) for first in range(0, len(samples) - size, size // 4))


def test_three_steps_on_both_sides_leave_no_hole_and_the_song_bit_for_bit(tmp_path: Path) -> None:
    path, layout = write(tmp_path / "song.wav", song()), None
    softest_db = quietest_db(song()[: 30 * RATE])
    for step in range(3):
        before = len(read(path))
        outpainted, path, result = extended(
            path, Wishes(before_seconds=5, after_seconds=9), layout=layout, seed=step
        )
        layout = outpainted.layout
        assert len(result) == before + 14 * RATE
        assert quietest_db(result[layout.full_from : layout.full_to]) > softest_db - 6
    kinds = [part.kind for part in layout.parts] if layout else []
    assert kinds[-1] is PartKind.OWN_ENDING
    assert kinds.count(PartKind.OWN_ENDING) == 1
    source = next(each for each in layout.placed() if each.part.kind is PartKind.SOURCE) if layout else None
    assert source is not None
    assert source.part.frames > 28 * RATE
    assert np.array_equal(
        result[source.start : source.stop], read(tmp_path / "song.wav")[: source.part.frames]
    )


def test_a_fade_comes_last_again_sample_by_sample(tmp_path: Path) -> None:
    outpainted, _, result = extended(write(tmp_path / "song.wav", song()), Wishes(after_seconds=10))
    (ending,) = [each for each in outpainted.layout.placed() if each.part.kind is PartKind.OWN_ENDING]
    stop = outpainted.preserved[0].stop
    count = min(len(song()) - stop, len(result) - ending.start) - RATE // 50
    assert np.array_equal(
        result[ending.start : ending.start + count], read(tmp_path / "song.wav")[stop : stop + count]
    )


def test_outside_leaves_a_fade_where_it_is(tmp_path: Path) -> None:
    outpainted, _, _ = extended(
        write(tmp_path / "song.wav", song()), Wishes(after_seconds=10, placement="outside")
    )
    (whole,) = outpainted.preserved
    assert (whole.start, whole.stop, whole.at_frame) == (0, len(song()), 0)


@pytest.mark.parametrize("total_seconds", [47.123, 60.0, 301.5])
def test_a_total_is_exact_to_the_frame(tmp_path: Path, total_seconds: float) -> None:
    outpainted, _, result = extended(
        write(tmp_path / "song.wav", song()), Wishes(before_seconds=3, total_seconds=total_seconds)
    )
    assert len(result) == round(total_seconds * RATE)
    assert outpainted.before_frames == 3 * RATE


def test_a_total_that_the_source_already_has_says_what_would_do(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"lasts 40\.00 s.*end at 36 s") as refused:
        extended(write(tmp_path / "song.wav", song()), Wishes(total_seconds=30, start_seconds=10))
    assert refused.value.hint is Hint.END_EARLIER


def test_music_inside_leaves_the_source_on_both_sides_of_it(tmp_path: Path) -> None:
    outpainted, _, result = extended(
        write(tmp_path / "song.wav", song()), Wishes(after_seconds=21.3, placement="inside")
    )
    first, last = outpainted.preserved
    assert (first.start, last.stop, first.stop) == (0, len(song()), last.start)
    assert len(result) == len(song()) + round(21.3 * RATE)
    assert quietest_db(result[: last.at_frame + 2 * RATE]) > quietest_db(song()[: 30 * RATE]) - 6


def test_each_ending_is_what_it_is_called(tmp_path: Path) -> None:
    cut = sequenced(bpm=120, beats=81, sample_rate=RATE)[0][: 40 * RATE + RATE // 3]
    source = write(tmp_path / "cut.wav", cut)
    usual_db = level_db(cut)
    last_db, shaped_seconds = {}, {}
    for ending in ("natural", "fade", "cut", "breakdown"):
        outpainted, _, result = extended(source, Wishes(after_seconds=30, ending=ending))
        last_db[ending] = level_db(result[-RATE // 4 :])
        shaped_seconds[ending] = (len(result) - outpainted.layout.full_to) / RATE
    assert last_db["cut"] > usual_db - 10
    assert max(last_db["natural"], last_db["fade"], last_db["breakdown"]) < usual_db - 25
    assert shaped_seconds["cut"] == 0
    assert 1 < shaped_seconds["natural"] <= 4
    assert 5 <= shaped_seconds["fade"] <= 10
    assert 8 <= shaped_seconds["breakdown"] <= 21


def test_a_beginning_starts_on_the_beat_and_at_full_level_soon(tmp_path: Path) -> None:
    cut = sequenced(bpm=120, beats=81, sample_rate=RATE)[0][RATE // 3 : 40 * RATE]
    source = write(tmp_path / "cut.wav", cut)
    outpainted, _, result = extended(source, Wishes(before_seconds=12))
    assert outpainted.layout.full_from <= 0.55 * RATE
    assert level_db(result[RATE // 2 : 3 * RATE]) > level_db(cut) - 4
    faded, _, _ = extended(source, Wishes(before_seconds=12, beginning="fade"))
    assert 5 <= faded.layout.full_from / RATE <= 10


@pytest.mark.parametrize("beginning", ["natural", "fade", "cut", "build"])
def test_a_beginning_that_is_asked_for_replaces_the_one_that_the_song_has(
    tmp_path: Path, beginning: BeginningName
) -> None:
    curve = np.append(np.linspace(0, 1, 4 * RATE) ** 2, np.ones(len(song()) - 4 * RATE))
    faded_in = song() * curve[:, None]
    source = write(tmp_path / "song.wav", faded_in.astype(np.float32))
    outpainted, _, result = extended(source, Wishes(before_seconds=20, beginning=beginning))
    own = [part for part in outpainted.layout.parts if part.kind is PartKind.OWN_BEGINNING]
    assert bool(own) == (beginning == "natural")
    assert (level_db(result[: RATE // 4]) > level_db(song()) - 10) == (beginning == "cut")


def test_a_loop_plays_all_of_its_bars_without_drift(tmp_path: Path) -> None:
    loop = sequenced(bpm=97, beats=16, sample_rate=RATE)[0]
    source = write(tmp_path / "loop.wav", loop)
    outpainted, _, result = extended(source, Wishes(total_seconds=180))
    exact = read(source)[np.arange(outpainted.layout.full_to - RATE) % len(loop)]
    off = np.abs(result[: len(exact)] - exact).max(axis=1) > 1e-4
    assert off.mean() < 0.01, "only moments at the wraps may differ"
    assert outpainted.method_after == "loop"


@pytest.mark.parametrize("asked", [61.0, 62.3])
def test_a_file_that_loops_has_whole_bars(tmp_path: Path, asked: float) -> None:
    loop = sequenced(bpm=120, beats=16, sample_rate=RATE)[0]
    outpainted, _, result = extended(
        write(tmp_path / "loop.wav", loop), Wishes(total_seconds=asked, ending="loop")
    )
    assert len(result) == 31 * 2 * RATE or len(result) == 30 * 2 * RATE
    assert outpainted.loop is not None
    assert outpainted.loop.unit == "bars"
    step = np.abs(result[0] - result[-1]).max()
    assert step <= 1.5 * np.abs(np.diff(loop, axis=0)).max()


@pytest.mark.parametrize("beats", [16, 81])
def test_a_file_that_loops_has_more_than_its_source_however_little_was_asked(
    tmp_path: Path, beats: int
) -> None:
    source = sequenced(bpm=120, beats=beats, sample_rate=RATE)[0]
    outpainted, _, result = extended(
        write(tmp_path / "music.wav", source), Wishes(after_seconds=0.2, ending="loop")
    )
    assert len(result) > len(source)
    assert outpainted.after_frames > 0


def test_a_beginning_that_was_asked_for_comes_before_the_sources_own(tmp_path: Path) -> None:
    fading_in = np.ascontiguousarray(song()[::-1])
    outpainted, _, result = extended(
        write(tmp_path / "song.wav", fading_in), Wishes(before_seconds=10, beginning="cut")
    )
    assert PartKind.OWN_BEGINNING not in {part.kind for part in outpainted.layout.parts}
    assert level_db(result[: RATE // 2]) > level_db(fading_in) - 6


@pytest.mark.parametrize("parts", [[PartKind.RING_OUT], [PartKind.LEAD_IN, PartKind.RING_OUT]])
def test_an_ending_cut_out_of_an_earlier_result_is_gone_on_from_as_music(
    tmp_path: Path, parts: list[PartKind]
) -> None:
    ending = sequenced(bpm=120, beats=16, sample_rate=RATE)[0]
    layout = Layout(RATE, tuple(Part(kind, len(ending) // len(parts)) for kind in parts))
    outpainted, _, result = extended(
        write(tmp_path / "ending.wav", ending), Wishes(after_seconds=5), layout=layout
    )
    assert outpainted.preserved[0].stop == len(ending)
    assert level_db(result[len(ending) : len(ending) + 2 * RATE]) > level_db(ending) - 6


def test_an_earlier_result_that_is_to_loop_leads_back_to_its_own_first_frame(tmp_path: Path) -> None:
    music = sequenced(bpm=120, beats=81, sample_rate=RATE)[0]
    source = write(tmp_path / "music.wav", music)
    longer, path, _ = extended(source, Wishes(before_seconds=6, beginning="fade"))
    assert longer.layout.full_from
    outpainted, _, result = extended(path, Wishes(after_seconds=20, ending="loop"), layout=longer.layout)
    assert outpainted.layout.full_to == len(result)
    assert np.abs(result[0] - result[-1]).max() <= np.abs(np.diff(music, axis=0)).max()
    assert level_db(result[-RATE // 100 :]) < level_db(music) - 20, (
        "it begins with a fade, so it ends as softly"
    )


def test_a_source_that_is_too_long_to_loop_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    soundfile.write(path, np.random.default_rng(1).uniform(-0.1, 0.1, 370 * 8_000), 8_000)
    with pytest.raises(InvalidRequest, match=r"too long for a file that loops: 6:\d\d at most.*part of it"):
        extended(path, Wishes(after_seconds=20, ending="loop"))


@pytest.mark.parametrize("seed", range(6))
def test_where_the_source_follows_again_the_level_is_its_own(tmp_path: Path, seed: int) -> None:
    for wishes in (Wishes(after_seconds=7), Wishes(after_seconds=9, placement="inside")):
        outpainted, _, result = extended(write(tmp_path / "song.wav", song()), wishes, seed=seed)
        starts = [each for each in outpainted.layout.placed() if each.part.kind is not PartKind.NEW]
        meets = starts[-1].start
        step = np.abs(result[meets] - result[meets - 1]).max()
        usual = np.abs(np.diff(result[meets - RATE : meets + RATE], axis=0)).max()
        assert step <= usual
        ours = result[meets - RATE // 100 : meets]
        own = outpainted.preserved[0].stop
        theirs = read(tmp_path / "song.wav")[own - RATE // 100 : own]
        assert abs(level_db(ours) - level_db(theirs)) < 0.3


def test_a_long_loop_goes_on_for_less_than_twice_its_length(tmp_path: Path) -> None:
    loop = sequenced(bpm=120, beats=520, sample_rate=8_000)[0]
    outpainted, _, result = extended(write(tmp_path / "loop.wav", loop, 8_000), Wishes(after_seconds=245))
    assert outpainted.method_after == "loop"
    assert len(result) == (260 + 245) * 8_000


def test_a_source_that_fades_in_gets_no_music_before_it_and_a_loop_at_once_and_hears_why(
    tmp_path: Path,
) -> None:
    source = np.ascontiguousarray(song()[::-1])
    with pytest.raises(InvalidRequest, match="music before it in the same request"):
        extended(
            write(tmp_path / "song.wav", source), Wishes(before_seconds=8, after_seconds=20, ending="loop")
        )


def test_progress_never_goes_back(tmp_path: Path) -> None:
    loop = sequenced(bpm=120, beats=32, sample_rate=8_000, jitter_seconds=0.02)[0]
    shares: list[float] = []
    outpaint_file(
        write(tmp_path / "music.wav", loop[:110_001], 8_000),
        tmp_path / "longer.wav",
        Wishes(after_seconds=600),
        seed=1,
        max_source_seconds=3600,
        on_progress=lambda share, _step: shares.append(share),
    )
    assert shares == sorted(shares)
    assert len(shares) > 5
