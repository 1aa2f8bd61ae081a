"""Each kind of fault is found in the measures that show it, alone, and not in measures a little better than that."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from outpaint_mcp.audio.sides import Side
from outpaint_mcp.audio.verdict.faults import find_faults, length_fault
from outpaint_mcp.audio.verdict.records import Addition, Extent, Fault, FaultKind, Seam, Survival

SURVIVAL = Survival(found=True, bit_exact=True, correlation=1.0, agreeing=1.0)
ADDITION = Addition(side=Side.AFTER, asked_seconds=30.0, actual_seconds=30.0)
SEAM = Seam(
    Side.AFTER,
    60.0,
    click=0.4,
    flux=0.7,
    loudness_jump_lu=0.3,
    level_step_db=0.5,
    usual_step_db=3.0,
    tempo_ratio=1.0,
    beat_slip_ms=5.0,
    usual_slip_ms=4.0,
    key_fifths=0,
    usual_fifths=0,
    timbre=0.9,
)
NO_BEAT = replace(SEAM, beat_slip_ms=None)


def faults(
    survival: Survival = SURVIVAL, addition: Addition = ADDITION, seam: Seam = SEAM
) -> tuple[Fault, ...]:
    return find_faults(survival, (addition,), (seam,))


def of_one(found: tuple[Fault, ...]) -> tuple[FaultKind, Side | None, float]:
    (fault,) = found
    return fault.kind, fault.side, fault.amount


def test_measures_as_a_source_has_them_itself_are_no_fault() -> None:
    assert faults() == ()


OF_THE_SOURCE = [
    (FaultKind.SOURCE_NOT_FOUND, {"found": False}, {"found": None}, 1.0),
    (FaultKind.SOURCE_DAMAGED, {"agreeing": 0.7}, {"agreeing": 0.85}, pytest.approx(0.3)),
    (FaultKind.SOURCE_DAMAGED, {"changed": 0.1}, {"changed": 1.0}, 0.1),
    (FaultKind.SOURCE_LOST, {"lost_seconds": 10.0}, {"lost_seconds": 0.0}, 10.0),
    (FaultKind.SOURCE_SHIFTED, {"offset_seconds": 0.04}, {"offset_seconds": -0.02}, 0.04),
    (FaultKind.SOURCE_RESAMPLED, {"drift_percent": -0.03}, {"drift_percent": 0.01}, -0.03),
    (FaultKind.SOURCE_GAIN, {"gain_db": -1.5}, {"gain_db": 0.6}, -1.5),
    (FaultKind.SOURCE_RECODED, {"bit_exact": False, "correlation": 0.9}, {}, 0.9),
]


@pytest.mark.parametrize(("kind", "bad", "better", "amount"), OF_THE_SOURCE)
def test_a_fault_of_the_source(
    kind: FaultKind, bad: dict[str, Any], better: dict[str, Any], amount: float
) -> None:
    assert of_one(faults(survival=replace(SURVIVAL, **bad))) == (kind, None, amount)
    assert faults(survival=replace(SURVIVAL, **better)) == ()


OF_THE_ADDITION = [
    (FaultKind.TOO_SHORT, {"actual_seconds": 29.0}, {"actual_seconds": 29.8}, 1.0),
    (FaultKind.TOO_LONG, {"actual_seconds": 31.5}, {"actual_seconds": None}, 1.5),
    (FaultKind.SILENCE, {"new": Extent(2.0)}, {"new": Extent(2.0), "own": Extent(2.0)}, 2.0),
    (FaultKind.SILENCE, {"new": Extent(0.0, 2.0)}, {"new": Extent(0.0, 0.9)}, 2.0),
    (
        FaultKind.SILENCE,
        {"new": Extent(30.0), "own": Extent(40.0)},
        {"new": Extent(20.0), "own": Extent(40.0)},
        30.0,
    ),
    (FaultKind.FADE, {"new": Extent(fade_seconds=6.0)}, {"new": Extent(fade_seconds=4.2)}, 6.0),
    (FaultKind.STUCK, {"passes": 43.0, "repeated": 1.0}, {"passes": 3.4}, 43.0),
    (FaultKind.CLICK, {"click": 1.5}, {"click": 0.9}, 1.5),
    (FaultKind.LOUDNESS_JUMP, {"drop": 1.2, "drop_db": -9.0}, {"drop": 0.9, "drop_db": -9.0}, -9.0),
    (
        FaultKind.DRIFT,
        {"drift_ms": 75.0, "usual_drift_ms": 3.0},
        {"drift_ms": 75.0, "usual_drift_ms": 30.0},
        75.0,
    ),
    (
        FaultKind.CLIPPING,
        {"new": Extent(clipped=0.01)},
        {"new": Extent(clipped=0.01), "own": Extent(clipped=0.01)},
        0.01,
    ),
    (FaultKind.REPETITION, {"repeated": 0.6}, {"repeated": 0.6, "own_repeated": 0.4}, 0.6),
]


@pytest.mark.parametrize(("kind", "bad", "better", "amount"), OF_THE_ADDITION)
def test_a_fault_of_an_addition(
    kind: FaultKind, bad: dict[str, Any], better: dict[str, Any], amount: float
) -> None:
    fault = of_one(faults(addition=replace(ADDITION, **bad)))
    assert fault in {(kind, Side.AFTER, amount), (kind, None, amount)}
    assert faults(addition=replace(ADDITION, **better)) == ()


STEP = {"level_step_db": -4.0, "loudness_jump_lu": -5.0}
OF_THE_SEAM = [
    (FaultKind.CLICK, {"click": 1.1}, {"click": 1.0}, 1.1),
    (FaultKind.FLUX, {"flux": 1.2}, {"flux": 1.1}, 1.2),
    (FaultKind.LOUDNESS_JUMP, STEP, STEP | {"loudness_jump_lu": 5.0}, -5.0),
    (FaultKind.LOUDNESS_JUMP, {"loudness_jump_lu": 14.0}, {"loudness_jump_lu": 11.0}, 14.0),
    (FaultKind.BEAT_SLIP, {"beat_slip_ms": -40.0}, {"beat_slip_ms": 40.0, "usual_slip_ms": 20.0}, -40.0),
    (
        FaultKind.TEMPO_CHANGE,
        {"beat_slip_ms": None, "tempo_ratio": 1.1},
        {"beat_slip_ms": None, "tempo_ratio": 1.04},
        pytest.approx(10.0),
    ),
    (FaultKind.KEY_CHANGE, {"key_fifths": 5}, {"key_fifths": 5, "usual_fifths": 2}, 5.0),
    (FaultKind.TIMBRE_CHANGE, {"timbre": 2.7}, {"timbre": 2.4}, 2.7),
]


@pytest.mark.parametrize(("kind", "bad", "better", "amount"), OF_THE_SEAM)
def test_a_fault_of_a_seam(
    kind: FaultKind, bad: dict[str, Any], better: dict[str, Any], amount: float
) -> None:
    assert of_one(faults(seam=replace(SEAM, **bad))) == (kind, Side.AFTER, amount)
    assert faults(seam=replace(SEAM, **better)) == ()


def test_a_beat_that_is_found_again_has_not_changed_its_tempo() -> None:
    assert faults(seam=replace(SEAM, tempo_ratio=1.1)) == ()
    assert faults(seam=replace(NO_BEAT, tempo_ratio=1.1, usual_slip_ms=None)) == ()


def test_a_source_that_is_damaged_is_not_called_lost_at_its_edges_as_well() -> None:
    both = replace(SURVIVAL, agreeing=0.5, lost_seconds=10.0)
    assert [each.kind for each in faults(survival=both)] == [FaultKind.SOURCE_DAMAGED]


def test_music_before_a_source_is_louder_where_the_source_is_softer() -> None:
    found = find_faults(SURVIVAL, (), (replace(SEAM, side=Side.BEFORE, loudness_jump_lu=-14.0),))
    assert of_one(found) == (FaultKind.LOUDNESS_JUMP, Side.BEFORE, 14.0)


def test_a_hole_and_a_missing_end_are_among_the_faults_and_of_each_kind_inside_only_the_worst_is() -> None:
    holes = (Fault(FaultKind.HOLE, None, 9.0, 70.0, 0.3), Fault(FaultKind.HOLE, None, 40.0, 80.0, 0.8))
    ending = Fault(FaultKind.ENDING, Side.AFTER, 0.0, 90.0)
    assert find_faults(SURVIVAL, (ADDITION,), (SEAM,), (*holes, ending)) == (holes[1], ending)


def test_a_seam_between_other_parts_is_a_fault_at_its_place() -> None:
    inside = replace(NO_BEAT, side=None, at_seconds=75.0, click=2.0)
    worse = replace(inside, at_seconds=80.0, click=3.0)
    assert find_faults(SURVIVAL, (ADDITION,), (SEAM, inside, worse)) == (
        Fault(FaultKind.CLICK, None, 3.0, 80.0),
    )


def test_a_length_is_exact_to_the_frame() -> None:
    assert length_fault(0.0, Side.AFTER) is None
    assert length_fault(-1 / 44_100, Side.AFTER) == Fault(FaultKind.TOO_LONG, Side.AFTER, 1 / 44_100)


def test_every_kind_is_among_these_cases_but_for_a_file_that_holds_no_audio() -> None:
    rows = (*OF_THE_SOURCE, *OF_THE_ADDITION, *OF_THE_SEAM)
    assert {kind for kind, *_ in rows} == set(FaultKind) - {
        FaultKind.UNREADABLE,
        FaultKind.HOLE,
        FaultKind.ENDING,
    }
