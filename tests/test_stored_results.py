"""What is stored of a result comes back as it was, to six digits, and takes little room."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from outpaint_mcp.audio.sides import Side
from outpaint_mcp.audio.verdict.records import Addition, Extent, Fault, FaultKind, Seam, Survival, Verdict
from outpaint_mcp.errors import StorageFailed
from outpaint_mcp.results import Outcome, outcome_from_json, outcome_to_json

VERDICT = Verdict(
    209.133,
    Survival(found=True, correlation=0.9831, agreeing=0.9583, gain_db=-0.3123, offset_seconds=0.0011),
    (
        Addition(
            side=Side.AFTER,
            asked_seconds=30.0,
            actual_seconds=29.9831,
            new=Extent(silence_seconds=0.05),
            own=Extent(silence_seconds=0.15, fade_seconds=3.45),
            true_peak_dbtp=-1.0231,
            own_repeated=0.1333,
        ),
    ),
    (
        Seam(
            Side.AFTER, 179.15, 0.3123, 0.4213, -0.5123, 0.3123, 3.1231, 1.0012, 2.1231, 4.1231, 0, 1, 0.5123
        ),
    ),
    (Fault(FaultKind.SOURCE_RECODED, None, 0.9831),),
)
OUTCOME = Outcome(
    path=Path("/data/jobs/op_1/output.wav"),
    sha256="ab" * 32,
    size_bytes=123,
    duration_seconds=3600.123456789,
    before_seconds=0.0,
    after_seconds=1323000 / 44100 + 1 / 44100,
    seed=7,
    note="Ein Ständchen.",
    verdict=VERDICT,
    audio_sha256="cd" * 32,
)


def test_a_verdict_comes_back_as_it_was_and_is_small() -> None:
    text = outcome_to_json(OUTCOME)
    assert outcome_from_json(text).verdict == VERDICT
    bare = outcome_to_json(dataclasses.replace(OUTCOME, verdict=None))
    assert len(text.encode()) - len(bare.encode()) < 720
    assert not any(nothing in text for nothing in ("null", "[]", "{}", ": ", "bit_exact"))


def test_measures_are_rounded_to_six_digits_and_to_what_means_anything() -> None:
    rough = dataclasses.replace(VERDICT, seconds=3600.123456, survival=Survival(True, gain_db=0.000012345))
    read = outcome_from_json(outcome_to_json(dataclasses.replace(OUTCOME, verdict=rough))).verdict
    assert read is not None
    assert (read.seconds, read.survival) == (3600.12, Survival(True))


def test_an_outcome_comes_back_as_it_was_with_its_durations_to_the_frame() -> None:
    own = dataclasses.replace(OUTCOME, url="https://example.com/a", restore_refusal="its ends disagree")
    whole = dataclasses.replace(OUTCOME, as_made=own)
    assert outcome_from_json(outcome_to_json(whole)) == whole


def test_an_outcome_without_a_verdict_says_nothing_of_it() -> None:
    bare = dataclasses.replace(OUTCOME, verdict=None, audio_sha256=None)
    text = outcome_to_json(bare)
    assert outcome_from_json(text) == bare
    assert "verdict" not in text
    assert "as_made" not in text


@pytest.mark.parametrize(
    "text", ["", "no JSON", "[]", "{}", '{"seconds": "long"}', '{"faults": [{"kind": "ugly"}]}']
)
def test_what_cannot_be_read_is_an_error_of_the_storage_and_is_not_quoted(text: str) -> None:
    with pytest.raises(StorageFailed) as failure:
        outcome_from_json(text)
    assert failure.value.__cause__ is None
    assert "ugly" not in str(failure.value)


def test_a_kind_of_fault_of_another_version_is_an_error_of_the_storage() -> None:
    text = outcome_to_json(OUTCOME).replace("source_recoded", "out_of_tune")
    with pytest.raises(StorageFailed, match="another version"):
        outcome_from_json(text)
