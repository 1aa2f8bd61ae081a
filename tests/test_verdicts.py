from __future__ import annotations

import dataclasses

import pytest

from outpaint_mcp.audio.sides import Side
from outpaint_mcp.audio.verdict.records import (
    Addition,
    End,
    EndKind,
    Extent,
    Fault,
    FaultKind,
    Reused,
    Seam,
    Survival,
    Verdict,
)
from outpaint_mcp.cli.wording import TERMINAL
from outpaint_mcp.reports.verdicts import badness, describe
from outpaint_mcp.server.wording import TOOLS

SEEDLESS = {
    FaultKind.SOURCE_DAMAGED,
    FaultKind.SOURCE_LOST,
    FaultKind.SOURCE_SHIFTED,
    FaultKind.SOURCE_RESAMPLED,
    FaultKind.SOURCE_GAIN,
    FaultKind.ENDING,
    FaultKind.FADE,
    FaultKind.TOO_SHORT,
    FaultKind.TOO_LONG,
}


def verdict(*faults: Fault, exact: bool = True) -> Verdict:
    return Verdict(
        seconds=90.0,
        survival=Survival(found=True, bit_exact=exact, correlation=1.0 if exact else 0.93, agreeing=1.0),
        additions=(Addition(side=Side.AFTER, asked_seconds=30.0, actual_seconds=29.2, true_peak_dbtp=-1.0),),
        seams=(Seam(Side.AFTER, 60.0, click=0.3, flux=0.4),),
        faults=faults,
    )


def fault(kind: FaultKind, amount: float = 1.0, side: Side | None = Side.AFTER) -> Fault:
    return Fault(kind, side, amount)


def words(found: Verdict, *, is_generative: bool = True, can_restore: bool = False) -> str:
    return describe(found, TOOLS, is_generative=is_generative, can_restore=can_restore)


def test_what_has_no_fault_is_good_and_says_what_became_of_the_source() -> None:
    said = words(verdict(), is_generative=False)
    assert said.startswith("Good: 29.2 s after the source, which is preserved bit for bit")
    assert not verdict().real_faults
    assert badness(verdict()) == 0


def test_a_seam_that_was_not_judged_is_not_said_to_be_good() -> None:
    both = dataclasses.replace(verdict(), seams=(Seam(Side.BEFORE, 5.0), *verdict().seams))
    assert "those of the seams that have enough sound" in words(both)
    neither = dataclasses.replace(verdict(), seams=(Seam(Side.AFTER, 60.0),))
    assert "too little sound at the seams" in words(neither)


def test_a_rendering_by_a_model_is_good_and_is_said_to_be_one() -> None:
    rendered = verdict(fault(FaultKind.SOURCE_RECODED, 0.93, None), exact=False)
    assert not rendered.real_faults
    assert badness(rendered) == 0
    assert "as the model rendered it (correlation 0.93)" in words(rendered)


def test_faults_are_told_with_their_figures() -> None:
    said = words(verdict(fault(FaultKind.TOO_SHORT, 0.8), fault(FaultKind.BEAT_SLIP, 42.0)))
    assert "0.8 s of 30 are missing after" in said
    assert "the beat comes 42 ms late where the source ends" in said.replace("The beat", "the beat")


@pytest.mark.parametrize("is_generative", [True, False])
@pytest.mark.parametrize("kind", [kind for kind in FaultKind if not kind.is_mild])
def test_every_fault_has_words_a_weight_and_something_to_try(kind: FaultKind, is_generative: bool) -> None:  # noqa: FBT001 - a case
    found = verdict(fault(kind))
    said = words(found, is_generative=is_generative)
    assert found.real_faults
    assert badness(found) > 0
    assert "ry " in said
    assert ("another seed" in said) == (is_generative or kind not in SEEDLESS)
    assert said.endswith(".")


def test_an_ending_that_is_not_there_is_not_called_one_that_is() -> None:
    asked = dataclasses.replace(verdict(), ending=End(EndKind.FULL, asked="breakdown"))
    assert "reaks down" in words(asked)
    missing = dataclasses.replace(asked, faults=(fault(FaultKind.ENDING),))
    assert "the breakdown that was requested is not there" in words(missing).replace("The break", "the break")
    assert "reaks down" not in words(missing)


def test_a_loop_that_clicks_where_it_begins_again_is_not_said_to_lead_back() -> None:
    asked = dataclasses.replace(verdict(), ending=End(EndKind.FULL, asked="loop"))
    assert "ts end leads back" in words(asked)
    clicks = Fault(FaultKind.CLICK, None, 3.0, asked.seconds)
    assert "leads back" not in words(dataclasses.replace(asked, faults=(clicks,)))


def test_another_seed_is_advised_only_where_seeds_differ() -> None:
    found = verdict(fault(FaultKind.CLICK))
    said = describe(found, TOOLS, is_generative=False, seeds_differ=False)
    assert "seed" not in said
    assert "a second or two more or less" in said


def test_what_is_at_one_place_is_said_with_it() -> None:
    hole = Fault(FaultKind.HOLE, None, 41.0, 123.4, 0.8)
    assert "a hole of 0.8 s at 2:03, 41 dB below the softest moments of the source" in words(
        verdict(hole)
    ).replace("A hole", "a hole")
    stuck = Fault(FaultKind.STUCK, Side.AFTER, 43.0, 60.0, 4.0)
    assert "the same 4.0 s are played 43 times in a row at 1:00" in words(verdict(stuck)).lower()
    drop = Fault(FaultKind.LOUDNESS_JUMP, None, -9.0, 75.0)
    assert "the music goes on 9.0 lu quieter at 1:15" in words(verdict(drop)).lower()
    drift = Fault(FaultKind.DRIFT, Side.AFTER, 410.0, None, 180.0)
    assert "the beat drifts: 410 ms late after 180 s" in words(verdict(drift)).lower()


def test_the_ends_the_material_and_the_loudness_are_said_with_their_consequence() -> None:
    played = dataclasses.replace(
        verdict(),
        ending=End(EndKind.RINGS, 2.1),
        beginning=End(EndKind.FADES, 9.0, is_own=True),
        lufs=-15.9,
        true_peak_dbtp=0.6,
        reused=(Reused(113.0, 126.5), Reused(27.2, 42.0)),
    )
    said = words(played)
    assert "Plays 1:53–2:06, then 0:27–0:42" in said  # noqa: RUF001 - as printed
    assert "begins with its own beginning; rings out over 2.1 s" in said
    assert (
        "-15.9 LUFS, 1.9 LU below the -14 of streaming services, peaks at +0.6 dBTP, over full scale" in said
    )
    many = dataclasses.replace(played, reused=tuple(Reused(10.0 * n, 10.0 * n + 4) for n in range(7)))
    assert "and 3 more" in words(many)
    calm = dataclasses.replace(played, true_peak_dbtp=-1.0, lufs=-14.4, ending=End(EndKind.FULL))
    assert "-14.4 LUFS, about the -14 of streaming services, peaks at -1.0 dBTP." in words(calm)
    assert "ends at full level" in words(calm)
    assert "ends with its own fade-out" in words(
        dataclasses.replace(played, ending=End(EndKind.FADES, 9.0, is_own=True))
    )


def test_an_end_that_was_requested_and_is_not_there_is_named() -> None:
    missing = dataclasses.replace(
        verdict(Fault(FaultKind.ENDING, Side.AFTER, 0.0, 90.0)), ending=End(EndKind.FULL, asked="fade")
    )
    said = words(missing, is_generative=False)
    assert said.startswith("The fade that was requested is not there: the file ends at full level")
    assert "another seed" not in said


def test_tags_and_lyrics_are_advised_only_where_a_model_reads_them() -> None:
    changed = verdict(fault(FaultKind.TIMBRE_CHANGE))
    assert "[inst]" in words(changed)
    assert "analyze_audio" in words(changed)
    assert "[inst]" not in words(changed, is_generative=False)
    assert "analyze_audio" not in words(changed, is_generative=False)


def test_the_worst_comes_first_and_no_more_than_three_are_spelled_out() -> None:
    said = words(
        verdict(
            fault(FaultKind.SOURCE_SHIFTED, 0.05, None),
            fault(FaultKind.FADE, 5.0),
            fault(FaultKind.CLICK, 1.1),
            fault(FaultKind.SOURCE_NOT_FOUND, 0.0, None),
        )
    )
    assert said.startswith("The source cannot be recognised")
    assert "1 more fault is in the figures" in said
    assert len(said) < 500


def test_more_of_a_fault_is_worse() -> None:
    assert badness(verdict(fault(FaultKind.SILENCE, 9.0))) > badness(verdict(fault(FaultKind.SILENCE, 2.0)))


def faded(*faults: Fault) -> Verdict:
    own = Extent(silence_seconds=2.0, fade_seconds=8.0)
    addition = Addition(side=Side.AFTER, asked_seconds=30.0, actual_seconds=30.0, own=own)
    return dataclasses.replace(verdict(*faults), additions=(addition,))


def test_where_the_source_has_faded_it_is_said_where_to_cut_it() -> None:
    jump = fault(FaultKind.LOUDNESS_JUMP, 20.0)
    assert "submit it with source_end_seconds=50" in words(faded(jump), is_generative=False)
    assert "source_end_seconds" not in words(verdict(jump), is_generative=False)


def test_restoring_is_advised_only_where_it_is_to_be_had() -> None:
    shifted = verdict(fault(FaultKind.SOURCE_SHIFTED, 0.09, None), exact=False)
    assert "restore_source=true" in words(shifted, can_restore=True)
    assert "restore_source" not in words(shifted)


def test_a_terminal_reads_of_its_own_options_and_commands_only() -> None:
    shifted = verdict(fault(FaultKind.SOURCE_SHIFTED, 0.09, None), exact=False)
    timbre = verdict(fault(FaultKind.TIMBRE_CHANGE))
    cases = (
        (faded(fault(FaultKind.CLICK)), "--to 50"),
        (timbre, "outpaint-mcp analyze"),
        (timbre, '--lyrics "[inst]"'),
        (shifted, "without --no-restore"),
    )
    for found, name in cases:
        said = describe(found, TERMINAL, is_generative=True, can_restore=True)
        assert name in said
        assert not any(each in said for each in ("_seconds", "analyze_audio", "restore_source"))


def test_a_source_that_was_not_put_back_is_said_first_and_is_as_bad_as_one_that_is_lost() -> None:
    good = verdict()
    said = describe(good, TOOLS, is_generative=True, restore_refusal="its ends disagree")
    assert said.startswith("The source was not put back into it: its ends disagree. Good:")
    lost = badness(verdict(fault(FaultKind.SOURCE_LOST, 0.0, None)))
    assert badness(good, restore_refusal="its ends disagree") == pytest.approx(lost)


def test_a_hole_where_a_silent_source_ends_is_mended_by_a_cut_and_by_no_seed() -> None:
    hole = Fault(FaultKind.HOLE, None, 27.0, at_seconds=60.0, lasts_seconds=1.8)
    said = words(dataclasses.replace(faded(hole), seconds=90.0), is_generative=False)
    assert "The source is silent there: submit it with source_end_seconds=50." in said
    assert "seed" not in said
    elsewhere = dataclasses.replace(hole, at_seconds=75.0)
    assert "source_end_seconds" not in words(
        dataclasses.replace(faded(elsewhere), seconds=90.0), is_generative=False
    )
