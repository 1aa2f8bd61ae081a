"""Which of several takes is recommended, why, and in which order they are listed."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from tests.stores import DELIVERY

from outpaint_mcp.audio.sides import Side
from outpaint_mcp.audio.verdict.records import Addition, Extent, Fault, FaultKind, Seam, Survival, Verdict
from outpaint_mcp.reports.takes import best_first, compared, figures

if TYPE_CHECKING:
    from outpaint_mcp.storage.records import Delivery

GOOD = Verdict(40.0, Survival(found=True, bit_exact=True))


def take(seed: int, *faults: tuple[FaultKind, float], refusal: str | None = None) -> Delivery:
    found = tuple(Fault(kind, Side.AFTER, amount) for kind, amount in faults)
    verdict = dataclasses.replace(GOOD, faults=found)
    return dataclasses.replace(
        DELIVERY,
        seed=seed,
        sha256=f"{seed}",
        audio_sha256=f"a{seed}",
        verdict=verdict,
        restore_refusal=refusal,
    )


def test_the_take_with_the_fewest_faults_is_recommended_and_the_others_faults_are_named() -> None:
    takes = [take(5, (FaultKind.SILENCE, 2.0)), take(6), take(7, (FaultKind.BEAT_SLIP, 40.0))]
    assert compared(takes) == (
        "Keep take 2 (seed 6): nothing is wrong with it. Take 3: beat slip; take 1: silence."
    )
    assert [each.seed for each in best_first(takes)] == [6, 7, 5]


def test_a_take_that_is_a_little_better_is_recommended_though_it_has_the_same_fault() -> None:
    takes = [take(5, (FaultKind.CLICK, 1.6)), take(6, (FaultKind.CLICK, 1.2))]
    assert compared(takes) == ("Keep take 2 (seed 6): it has the fewest faults (click). Take 1: click.")


def test_takes_that_differ_by_less_than_anybody_hears_are_equal() -> None:
    takes = [take(5, (FaultKind.CLICK, 1.2)), take(6, (FaultKind.CLICK, 1.1)), take(7, (FaultKind.FADE, 9.0))]
    assert compared(takes) == (
        "Takes 1, 2 measure equally well (it has the fewest faults (click)); let the person listen, take 2 first."
        " Take 3: fade."
    )


def test_a_model_rendering_of_the_source_is_held_against_no_take() -> None:
    assert "nothing is wrong with it" in compared([take(5, (FaultKind.SOURCE_RECODED, 0.9)), take(6)])


def test_a_take_into_which_the_source_was_not_put_back_comes_last() -> None:
    takes = [take(5, refusal="its ends disagree"), take(6, (FaultKind.SILENCE, 1.0))]
    assert compared(takes).startswith("Keep take 2 (seed 6)")
    assert "Take 1: source not put back." in compared(takes)


def test_takes_whose_audio_is_the_same_are_the_same_whatever_their_tags_say() -> None:
    same = [dataclasses.replace(take(seed), audio_sha256="same") for seed in (5, 6)]
    assert compared(same).startswith("All takes are the same")


def test_a_take_that_was_not_measured_is_not_said_to_be_good() -> None:
    unknown = [dataclasses.replace(take(seed), verdict=None) for seed in (5, 6)]
    assert "could not be measured" in compared(unknown)
    assert compared([*unknown, take(7)]).startswith("Keep take 3 (seed 7)")


def test_the_only_take_is_said_to_be_the_only_one() -> None:
    assert compared([None, take(5)]) == "Only take 2 of 2 was generated."


@pytest.mark.parametrize(("usual_slip_ms", "names_the_beat"), [(4.0, True), (20.0, False), (None, False)])
def test_figures_are_short_and_tell_of_the_beat_only_where_the_source_keeps_time(
    usual_slip_ms: float | None, *, names_the_beat: bool
) -> None:
    seam = Seam(
        Side.AFTER, 30.0, click=0.12345, tempo_ratio=1.0, beat_slip_ms=3.0, usual_slip_ms=usual_slip_ms
    )
    addition = Addition(
        side=Side.AFTER, asked_seconds=10.0, actual_seconds=None, new=Extent(silence_seconds=0.05)
    )
    verdict = dataclasses.replace(
        GOOD,
        additions=(addition,),
        seams=(seam,),
        faults=(Fault(FaultKind.SOURCE_RECODED, None, 0.9), Fault(FaultKind.CLICK, Side.AFTER, 2.0)),
    )
    measured = figures(dataclasses.replace(DELIVERY, verdict=verdict))
    assert measured is not None
    assert measured["faults"] == ["click"]
    after = measured["after"]
    assert isinstance(after, dict)
    assert after["click"] == 0.123
    assert "actual_seconds" not in after
    assert ("beat_slip_ms" in after, "tempo_ratio" in after) == (names_the_beat, names_the_beat)
    assert figures(DELIVERY) is None
