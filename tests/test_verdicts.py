from __future__ import annotations

import dataclasses

import pytest

from outpaint_mcp.audio.shapes import Side
from outpaint_mcp.audio.verdict.additions import Addition, Survival
from outpaint_mcp.audio.verdict.extents import Extent
from outpaint_mcp.audio.verdict.faults import Fault, FaultKind
from outpaint_mcp.audio.verdict.judge import Verdict
from outpaint_mcp.audio.verdict.seam_checks import Seam
from outpaint_mcp.workers.verdict_text import badness, in_words, is_sound


def verdict(*faults: Fault, exact: bool = True) -> Verdict:
    quiet = Extent(0.0, 0.0, 0.0, 0.0)
    return Verdict(
        seconds=90.0,
        survival=Survival(found=True, bit_exact=exact, correlation=1.0 if exact else 0.93, agreeing=1.0),
        additions=(Addition(Side.AFTER, 30.0, 29.2, quiet, quiet, -1.0, 0.0, 0.0),),
        seams=(Seam(Side.AFTER, 60.0, click=0.3, flux=0.4),),
        faults=faults,
    )


def fault(kind: FaultKind, amount: float = 1.0, side: Side | None = Side.AFTER) -> Fault:
    return Fault(kind, side, amount)


def test_what_has_no_fault_is_sound_and_says_what_became_of_the_source() -> None:
    words = in_words(verdict(), provider="local")
    assert words.startswith("Sound: 29.2 s after the source, which is kept bit for bit")
    assert is_sound(verdict())
    assert badness(verdict()) == 0


def test_a_rendering_by_a_model_is_sound_and_is_said_to_be_one() -> None:
    rendered = verdict(fault(FaultKind.SOURCE_RECODED, 0.93, None), exact=False)
    assert is_sound(rendered)
    assert badness(rendered) == 0
    assert "as the model rendered it (correlation 0.93)" in in_words(rendered, provider="runcomfy")


def test_faults_are_told_with_their_figures() -> None:
    words = in_words(
        verdict(fault(FaultKind.TOO_SHORT, 0.8), fault(FaultKind.BEAT_SLIP, 42.0)), provider="runcomfy"
    )
    assert "0.8 s of 30 are missing after" in words
    assert "the beat comes 42 ms late where the source ends" in words.replace("The beat", "the beat")


@pytest.mark.parametrize("provider", ["runcomfy", "local"])
@pytest.mark.parametrize("kind", [kind for kind in FaultKind if not kind.is_mild])
def test_every_fault_has_words_a_weight_and_something_to_try(kind: FaultKind, provider: str) -> None:
    found = verdict(fault(kind))
    words = in_words(found, provider=provider)
    assert not is_sound(found)
    assert badness(found) > 0
    assert "ry another seed" in words
    assert words.endswith(".")


def test_tags_and_lyrics_are_advised_only_where_a_model_reads_them() -> None:
    changed = verdict(fault(FaultKind.TIMBRE_CHANGE))
    assert "[inst]" in in_words(changed, provider="runcomfy")
    assert "analyze_audio" in in_words(changed, provider="runcomfy")
    assert "[inst]" not in in_words(changed, provider="local")
    assert "analyze_audio" not in in_words(changed, provider="local")


def test_the_worst_comes_first_and_no_more_than_three_are_spelled_out() -> None:
    words = in_words(
        verdict(
            fault(FaultKind.SOURCE_SHIFTED, 0.05, None),
            fault(FaultKind.FADE, 5.0),
            fault(FaultKind.CLICK, 1.1),
            fault(FaultKind.SOURCE_NOT_FOUND, 0.0, None),
        ),
        provider="runcomfy",
    )
    assert words.startswith("The source cannot be recognised")
    assert "1 more fault is in the figures" in words
    assert len(words) < 500


def test_more_of_a_fault_is_worse() -> None:
    assert badness(verdict(fault(FaultKind.SILENCE, 9.0))) > badness(verdict(fault(FaultKind.SILENCE, 2.0)))


def test_where_the_source_has_faded_it_is_said_where_to_cut_it() -> None:
    faded = Extent(2.0, 0.0, 8.0, 0.0)
    jump = fault(FaultKind.LOUDNESS_JUMP, 20.0)
    found = dataclasses.replace(
        verdict(jump),
        additions=(Addition(Side.AFTER, 30.0, 30.0, Extent(0, 0, 0, 0), faded, -1.0, 0.0, 0.0),),
    )
    assert "submit it with source_end_seconds=50" in in_words(found, provider="local")
    assert "source_end_seconds" not in in_words(verdict(jump), provider="local")


def test_restoring_is_advised_only_where_it_is_to_be_had() -> None:
    shifted = verdict(fault(FaultKind.SOURCE_SHIFTED, 0.09, None), exact=False)
    assert "restore_source=true" in in_words(shifted, provider="runcomfy", can_restore=True)
    assert "restore_source" not in in_words(shifted, provider="runcomfy")
