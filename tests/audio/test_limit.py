"""The limiter inside the engine."""

import numpy as np
import pytest

from outpaint_mcp.audio.engine.ringout import limit

RATE = 22_050


@pytest.mark.parametrize("at", [5_000, 5_043, 5_087, 5_130])
def test_the_gain_moves_without_a_step_on_either_side_of_a_peak(at: int) -> None:
    music = np.full((10_000, 2), 0.5, np.float32)
    music[at : at + 10] = 0.9
    limited = music.copy()
    limit(limited, 0.6, RATE)
    assert np.abs(limited).max() <= 0.6
    gains = (limited / music)[:, 0]
    assert np.abs(np.diff(gains)).max() < 0.01
    assert gains[0] == gains[-1] == 1
