"""SIGKILL at random moments; `python -m bench.kill_loop` plays many more rounds of the same."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from tests.e2e.processes import HAS_PROC
from tests.e2e.rounds import House, Victim

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(not HAS_PROC, reason="looks for processes in /proc")


@pytest.mark.parametrize("victim", Victim)
def test_every_request_ends_in_a_true_state_whoever_is_killed(
    environment: dict[str, str], song: Path, victim: Victim
) -> None:
    house = House(environment, song)
    house.play(victim, random.Random(str(victim)))
