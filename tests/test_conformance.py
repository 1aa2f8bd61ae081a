"""The judge of the conformance suite: what fails, is skipped, is missing or passes against expectation is a problem."""

from __future__ import annotations

import pytest
from tests.conformance.run import ERAS, TASKS, Check, problems

WANTED = {ERAS[0]: {"ping"}, ERAS[1]: {"ping"}, TASKS: {"tasks-get"}}
PASSED = [Check(run, f"{name}:it", "SUCCESS", "") for run, names in WANTED.items() for name in names]
NOTHING: dict[str, set[str]] = {run: set() for run in WANTED}


def test_what_passes_is_no_problem_nor_a_warning() -> None:
    checks = [
        *PASSED,
        Check(TASKS, "tasks-get:it", "WARNING", "It is recommended."),
        Check(TASKS, "tasks-get:x", "INFO", ""),
    ]
    assert [*problems(checks, WANTED, NOTHING)] == []


@pytest.mark.parametrize("status", ["FAILURE", "SKIPPED"])
def test_what_fails_or_is_skipped_is_one_where_it_is_not_expected(status: str) -> None:
    # Checks repeat within a scenario: one that passes does not hide another.
    checks = [*PASSED, Check(ERAS[1], "ping:it", status, "No."), *PASSED]
    assert [*problems(checks, WANTED, NOTHING)] == [f"{ERAS[1]} ping:it: {status} No."]
    assert [*problems(checks, WANTED, NOTHING | {ERAS[1]: {"ping:it"}})] == []
    assert [*problems(checks, WANTED, NOTHING | {ERAS[0]: {"ping:it"}})] == [
        f"{ERAS[1]} ping:it: {status} No.",
        f"{ERAS[0]} ping:it is in expected.toml, but does not fail: take it out",
    ]


def test_what_was_to_be_run_and_was_not_is_one() -> None:
    assert [*problems(PASSED[:2], WANTED, NOTHING)] == [f"{TASKS} tasks-get: was not run"]
    assert [*problems(PASSED, {**WANTED, ERAS[0]: set()}, NOTHING)] == [f"{ERAS[0]}: no scenarios"]
