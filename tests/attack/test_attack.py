"""A short run of the attack: `pytest -m attack`. The whole is `make attack`."""

from __future__ import annotations

import sys

import pytest
from tests.attack.__main__ import AREAS, run

SHORT_SHARE = 0.02

pytestmark = [
    pytest.mark.attack,
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc, and swaps links and pipes"),
]


@pytest.mark.parametrize("area", AREAS)
def test_what_is_attacked_holds(area: str, capsys: pytest.CaptureFixture[str]) -> None:
    book = run([area], seed=1, share=SHORT_SHARE, seconds=300)
    assert book.failures == 0, capsys.readouterr().out
