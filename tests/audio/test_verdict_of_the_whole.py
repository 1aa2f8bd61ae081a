"""What is known of a file's parts is judged: holes, every seam, both ends, what is preserved, and what drifts."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from tests.audio.composing import sequenced, with_melody

from outpaint_mcp.audio.layout import Layout, Part, PartKind, Preserved
from outpaint_mcp.audio.sides import Side
from outpaint_mcp.audio.verdict.judge import judge
from outpaint_mcp.audio.verdict.listeners import TruePeakMeter
from outpaint_mcp.audio.verdict.records import Asked, EndKind, Fault, FaultKind, Verdict

if TYPE_CHECKING:
    from pathlib import Path

    from outpaint_mcp.audio.steering_words import Energy
    from outpaint_mcp.audio.types import Samples

RATE = 22_050
SOURCE, AFTER = 30, 16


@pytest.fixture(scope="module")
def music() -> Samples:
    """Whose melody never returns."""
    song, _ = sequenced(bpm=120, beats=2 * (SOURCE + AFTER), sample_rate=RATE)
    return with_melody(song, RATE)


def judged(folder: Path, source: Samples, made: Samples, asked: Asked) -> Verdict:
    soundfile.write(folder / "source.wav", source, RATE, "PCM_16")
    soundfile.write(folder / "made.wav", made, RATE, "PCM_16")
    return judge(folder / "source.wav", folder / "made.wav", asked, max_source_seconds=600)


def parts(*each: tuple[PartKind, float] | tuple[PartKind, float, float]) -> Layout:
    return Layout(
        RATE,
        tuple(
            Part(kind, round(seconds * RATE), round(at[0] * RATE) if at else None)
            for kind, seconds, *at in each
        ),
    )


def of_kind(verdict: Verdict, kind: FaultKind) -> list[Fault]:
    return [fault for fault in verdict.faults if fault.kind is kind]


def faded(samples: Samples, seconds: float) -> Samples:
    samples = samples.copy()
    frames = round(seconds * RATE)
    samples[-frames:] *= (0.5 + 0.5 * np.cos(np.linspace(0, np.pi, frames)))[:, None].astype(np.float32)
    return samples


def with_hole(samples: Samples, at: float, seconds: float = 0.8) -> Samples:
    samples = samples.copy()
    samples[round(at * RATE) : round((at + seconds) * RATE)] *= 0.003
    return samples


WHOLE = Asked(before_seconds=0, after_seconds=AFTER)


def test_a_hole_is_named_with_its_place_its_length_and_its_depth(tmp_path: Path, music: Samples) -> None:
    made = with_hole(music, 38)
    (hole,) = of_kind(judged(tmp_path, music[: SOURCE * RATE], made, WHOLE), FaultKind.HOLE)
    assert hole.at_seconds == pytest.approx(38, abs=0.15)
    assert hole.lasts_seconds == pytest.approx(0.8, abs=0.2)
    assert hole.amount > 15


def test_a_hole_that_an_earlier_step_left_is_named_and_one_that_the_person_recorded_is_not(
    tmp_path: Path, music: Samples
) -> None:
    earlier = with_hole(music[: SOURCE * RATE], 22)
    made = np.concatenate([earlier, music[SOURCE * RATE :]])
    layout = parts((PartKind.SOURCE, 18), (PartKind.NEW, 12, 3), (PartKind.NEW, AFTER, 1))
    asked = Asked(before_seconds=0, after_seconds=AFTER, layout=layout)
    (hole,) = of_kind(judged(tmp_path, earlier, made, asked), FaultKind.HOLE)
    assert hole.at_seconds == pytest.approx(22, abs=0.15)
    own = Asked(
        before_seconds=0,
        after_seconds=AFTER,
        layout=parts((PartKind.SOURCE, SOURCE), (PartKind.NEW, AFTER, 1)),
    )
    assert not of_kind(judged(tmp_path, earlier, made, own), FaultKind.HOLE)


def test_every_seam_of_a_chain_is_checked_and_the_worst_is_named(tmp_path: Path, music: Samples) -> None:
    layout = parts(
        (PartKind.SOURCE, 15.1), (PartKind.NEW, 14.9, 2), (PartKind.NEW, 8.1, 4), (PartKind.NEW, 7.9, 9)
    )
    asked = Asked(before_seconds=0, after_seconds=AFTER, layout=layout)
    source = music[: SOURCE * RATE].copy()
    at = round(15.1 * RATE)
    source[at : at + 3] = [[1], [-1], [1]]
    made = np.concatenate([source, music[SOURCE * RATE :]])
    verdict = judged(tmp_path, source, made, asked)
    assert verdict.survival.bit_exact
    assert verdict.seams_checked == 3
    (click,) = of_kind(verdict, FaultKind.CLICK)
    assert click.side is None
    assert click.at_seconds == pytest.approx(15.1, abs=1e-3)
    assert [each.start_seconds for each in verdict.reused] == [4, 9]
    assert [each.stop_seconds for each in verdict.reused] == pytest.approx([12.1, 16.9], abs=1e-3)


def test_a_source_whose_fade_was_moved_to_the_end_is_preserved_up_to_there(
    tmp_path: Path, music: Samples
) -> None:
    source = faded(music[: SOURCE * RATE], 6)
    cut = 24 * RATE
    made = np.concatenate([source[:cut], music[cut : cut + AFTER * RATE], source[cut:]])
    layout = parts((PartKind.SOURCE, 24), (PartKind.NEW, AFTER, 0), (PartKind.OWN_ENDING, 6, 24))
    asked = Asked(before_seconds=0, after_seconds=AFTER, layout=layout, preserved=(Preserved(0, cut, 0),))
    verdict = judged(tmp_path, source, made, asked)
    assert verdict.survival.bit_exact
    assert verdict.ending is not None
    assert verdict.ending.is_own
    assert [part.actual_seconds for part in verdict.additions] == [AFTER]
    assert not {fault.kind for fault in verdict.faults} & {
        FaultKind.FADE,
        FaultKind.SILENCE,
        FaultKind.TOO_SHORT,
        FaultKind.TOO_LONG,
    }
    made[100] += 0.1
    assert not judged(tmp_path, source, made, asked).survival.bit_exact


def test_music_put_inside_leaves_both_parts_of_the_source_bit_for_bit(tmp_path: Path, music: Samples) -> None:
    cut, added = 20 * RATE, AFTER * RATE
    source = np.concatenate([music[:cut], music[cut + added :]])
    preserved = (Preserved(0, cut, 0), Preserved(cut, len(source), cut + added))
    layout = parts((PartKind.SOURCE, 20), (PartKind.NEW, AFTER, 0), (PartKind.SOURCE, SOURCE - 20))
    asked = Asked(before_seconds=0, after_seconds=AFTER, layout=layout, preserved=preserved)
    verdict = judged(tmp_path, source, music, asked)
    assert {fault.kind for fault in verdict.faults} <= {
        FaultKind.CLICK
    }  # an attack on the beat, of a few samples
    assert verdict.survival.bit_exact
    assert [(part.is_inside, part.actual_seconds) for part in verdict.additions] == [(True, AFTER)]
    assert [(seam.side, seam.at_seconds) for seam in verdict.seams] == [(None, 20), (None, 20 + AFTER)]
    assert (verdict.beginning, verdict.ending) == (None, None)
    late = np.concatenate([music[: 40 * RATE], music[40 * RATE - 1 :]])
    damaged = judged(tmp_path, source, late, asked)
    assert not damaged.survival.bit_exact
    assert of_kind(damaged, FaultKind.TOO_LONG)


def test_a_length_that_is_known_is_exact_to_the_frame(tmp_path: Path, music: Samples) -> None:
    layout = parts((PartKind.SOURCE, SOURCE), (PartKind.NEW, AFTER, 0))
    asked = Asked(before_seconds=0, after_seconds=AFTER, layout=layout)
    source = music[: SOURCE * RATE]
    assert judged(tmp_path, source, music, asked).faults == ()
    (short,) = judged(tmp_path, source, music[:-1], asked).faults
    assert (short.kind, short.side) == (FaultKind.TOO_SHORT, Side.AFTER)
    assert short.amount == pytest.approx(1 / RATE)


@pytest.mark.parametrize(
    ("ending", "fades", "kind", "missing"),
    [
        ("natural", 2.0, EndKind.RINGS, False),
        ("natural", 0.0, EndKind.FULL, False),
        ("fade", 8.0, EndKind.FADES, False),
        ("fade", 0.0, EndKind.FULL, True),
        ("cut", 0.0, EndKind.FULL, False),
        ("cut", 8.0, EndKind.RINGS, True),
    ],
)
def test_an_ending_that_was_asked_is_no_fault_and_one_that_is_missing_is(  # noqa: PLR0913 - a row
    tmp_path: Path, music: Samples, ending: str, fades: float, kind: EndKind, *, missing: bool
) -> None:
    made = faded(music, fades) if fades else music
    asked = Asked(before_seconds=0, after_seconds=AFTER, ending=ending)
    verdict = judged(tmp_path, music[: SOURCE * RATE], made, asked)
    assert verdict.ending is not None
    assert verdict.ending.kind is kind
    assert bool(of_kind(verdict, FaultKind.ENDING)) is missing
    assert not of_kind(verdict, FaultKind.FADE)


def test_a_fade_that_nobody_asked_for_is_still_a_fault(tmp_path: Path, music: Samples) -> None:
    verdict = judged(tmp_path, music[: SOURCE * RATE], faded(music, 14), WHOLE)
    assert [fault.kind for fault in verdict.faults] == [FaultKind.FADE]


def test_the_same_few_seconds_over_and_over_are_counted(tmp_path: Path, music: Samples) -> None:
    made = music.copy()
    made[SOURCE * RATE :] = np.tile(made[12 * RATE : 14 * RATE], (AFTER // 2, 1))
    (stuck,) = of_kind(judged(tmp_path, music[: SOURCE * RATE], made, WHOLE), FaultKind.STUCK)
    assert stuck.amount == pytest.approx(AFTER / 2, abs=1)
    assert stuck.lasts_seconds == pytest.approx(2, abs=0.01)


def test_a_loop_of_which_only_a_part_is_heard_is_stuck_and_one_that_is_heard_whole_is_not(
    tmp_path: Path, music: Samples
) -> None:
    loop = music[: 8 * RATE]
    asked = Asked(before_seconds=0, after_seconds=32)
    whole = np.tile(loop, (5, 1))
    assert not of_kind(judged(tmp_path, loop, whole, asked), FaultKind.STUCK)
    part = np.concatenate([loop, np.tile(loop[2 * RATE : 6 * RATE], (8, 1))])
    (stuck,) = of_kind(judged(tmp_path, loop, part, asked), FaultKind.STUCK)
    assert stuck.lasts_seconds == pytest.approx(4, abs=0.01)


def test_a_beat_that_drifts_by_ten_milliseconds_every_four_seconds_is_named(
    tmp_path: Path, music: Samples
) -> None:
    late, every = round(0.01 * RATE), 4 * RATE
    pieces = [music[: SOURCE * RATE]]
    for first in range(SOURCE * RATE, len(music), every):
        pieces += [music[first : first + every], music[first + every - late : first + every]]
    made = np.concatenate(pieces)[: len(music)]
    (drift,) = of_kind(judged(tmp_path, music[: SOURCE * RATE], made, WHOLE), FaultKind.DRIFT)
    assert drift.amount == pytest.approx(40, abs=15)


def test_a_click_and_a_sudden_drop_in_mid_extension_are_named_with_their_place(
    tmp_path: Path, music: Samples
) -> None:
    clicked = music.copy()
    clicked[38 * RATE + 3000 : 38 * RATE + 3003] = [[1], [-1], [1]]
    (click,) = of_kind(judged(tmp_path, music[: SOURCE * RATE], clicked, WHOLE), FaultKind.CLICK)
    assert click.side is None
    assert click.at_seconds == pytest.approx(38 + 3000 / RATE, abs=0.01)
    dropped = music.copy()
    dropped[round(38.3 * RATE) :] *= 0.2
    found = judged(tmp_path, music[: SOURCE * RATE], dropped, WHOLE).real_faults
    near = [fault for fault in found if fault.kind in {FaultKind.LOUDNESS_JUMP, FaultKind.HOLE}]
    assert near
    assert near[0].at_seconds is not None


def test_silence_behind_music_that_ends_in_silence_is_told(tmp_path: Path, music: Samples) -> None:
    source = np.concatenate([music[: 12 * RATE], np.zeros((4 * RATE, 2), np.float32)])
    made = np.concatenate([source, np.zeros((3 * RATE, 2), np.float32)])
    verdict = judged(tmp_path, source, made, Asked(before_seconds=0, after_seconds=3))
    (silence,) = of_kind(verdict, FaultKind.SILENCE)
    assert silence.amount == pytest.approx(3, abs=0.1)


def test_white_noise_that_goes_on_as_white_noise_does_not_change_abruptly(tmp_path: Path) -> None:
    for seed in range(4):
        noise = np.random.default_rng(seed).normal(0, 0.1, (12 * RATE, 2)).astype(np.float32)
        verdict = judged(tmp_path, noise[: 6 * RATE], noise, Asked(before_seconds=0, after_seconds=6))
        assert not of_kind(verdict, FaultKind.FLUX)


def test_the_loudness_of_the_whole_is_measured(tmp_path: Path, music: Samples) -> None:
    verdict = judged(tmp_path, music[: SOURCE * RATE], music, WHOLE)
    assert verdict.lufs is not None
    assert verdict.true_peak_dbtp is not None
    softer = judged(tmp_path, np.float32(0.5) * music[: SOURCE * RATE], np.float32(0.5) * music, WHOLE)
    assert softer.lufs == pytest.approx(verdict.lufs - 6, abs=0.1)
    assert softer.true_peak_dbtp == pytest.approx(verdict.true_peak_dbtp - 6, abs=0.1)


@pytest.mark.parametrize("closes", [True, False])
def test_a_loop_is_judged_where_its_end_meets_its_beginning(
    tmp_path: Path, music: Samples, *, closes: bool
) -> None:
    made = music.copy()
    if not closes:
        made[-3:] = [[1], [-1], [1]]
    layout = parts((PartKind.SOURCE, SOURCE), (PartKind.NEW, AFTER, 0))
    asked = Asked(before_seconds=0, after_seconds=AFTER + 0.4, ending="loop", layout=layout)
    verdict = judged(tmp_path, music[: SOURCE * RATE], made, asked)
    clicks = [fault.at_seconds for fault in of_kind(verdict, FaultKind.CLICK)]
    assert clicks == ([] if closes else [SOURCE + AFTER])
    assert not of_kind(verdict, FaultKind.TOO_SHORT)


@pytest.mark.parametrize(
    ("energy", "gain_db", "named"),
    [(None, -4, 1), ("calm", -4, 0), ("loud", -4, 1), ("calm", -14, 1), ("loud", 4, 0)],
)
def test_what_was_asked_to_be_calm_or_loud_may_be_so(
    tmp_path: Path, music: Samples, energy: Energy | None, gain_db: float, named: int
) -> None:
    made = 0.5 * music
    made[SOURCE * RATE :] *= 10 ** (gain_db / 20)
    asked = Asked(before_seconds=0, after_seconds=AFTER, energy=energy)
    verdict = judged(tmp_path, 0.5 * music[: SOURCE * RATE], made, asked)
    assert len(of_kind(verdict, FaultKind.LOUDNESS_JUMP)) == named


@pytest.mark.parametrize(("sharper", "named"), [(1, 0), (3, 1)])
def test_an_attack_that_another_part_of_the_source_has_is_no_click(
    tmp_path: Path, music: Samples, sharper: int, named: int
) -> None:
    source = np.concatenate([music, music])[: 80 * RATE] * np.float32(0.1)
    new = source[: AFTER * RATE].copy()
    at = round(8.2 * RATE)
    stroke = np.array([[0.1], [-0.2], [0.1]], np.float32)
    source[at : at + 3] += stroke
    new[at : at + 3] += sharper * stroke
    verdict = judged(tmp_path, source, np.concatenate([source, new]), WHOLE)
    assert len(of_kind(verdict, FaultKind.CLICK)) == named


def test_a_true_peak_beside_the_edge_of_a_block_is_measured() -> None:
    burst = (np.sin(np.pi * (np.arange(64) / 2 + 0.25)) * np.hanning(64) ** 8)[:, None].astype(np.float32)
    sound = np.zeros((8192, 1), np.float32)
    sound[4052:4116] = 0.9 * burst
    found = []
    for edges in ([8192], [4096, 8192], [4090, 8192], [4130, 8192]):
        meter = TruePeakMeter()
        for first, stop in pairwise([0, *edges]):
            meter.add(sound[first:stop])
        found.append(meter.finish())
    assert found == pytest.approx(found[:1] * len(found), abs=0.01)


@pytest.mark.parametrize("side", Side)
def test_a_silence_far_out_in_long_added_music_is_found_where_it_is(tmp_path: Path, side: Side) -> None:
    rng = np.random.default_rng(2)
    made = (0.1 * rng.standard_normal((460 * RATE // 4, 1))).astype(np.float32)
    rate, before = RATE // 4, 400 if side is Side.BEFORE else 0
    source = made[before * rate : (before + 60) * rate]
    at = 410 if side is Side.AFTER else 50
    made[at * rate : (at + 5) * rate] = 0
    soundfile.write(tmp_path / "source.wav", source, rate, "PCM_16")
    soundfile.write(tmp_path / "made.wav", made, rate, "PCM_16")
    asked = Asked(before_seconds=before, after_seconds=400 - before)
    verdict = judge(tmp_path / "source.wav", tmp_path / "made.wav", asked, max_source_seconds=600)
    (addition,) = verdict.additions
    assert addition.new.gap_seconds == pytest.approx(5, abs=0.2)
    assert addition.new.gap_at_seconds == pytest.approx(at, abs=0.5)
