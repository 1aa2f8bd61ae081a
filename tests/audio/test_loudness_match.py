"""What is added is as loud as what it goes on from, and peaks no higher than can be played; the seam does not step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.audio.composing import sequenced

from outpaint_mcp.audio.joining.loudness_match import loudness_step, settle
from outpaint_mcp.audio.loudness import loudness_of
from outpaint_mcp.audio.peaks import ceiling_of, limit_peaks

if TYPE_CHECKING:
    from outpaint_mcp.audio.types import Samples

RATE = 22_050
MUSIC = (0.5 * sequenced(beats=48, sample_rate=RATE, jitter_seconds=0.003)[0]).astype(np.float32)
EDGE, NEW = MUSIC[: 10 * RATE], MUSIC[10 * RATE : 22 * RATE]


def gain(decibels: float) -> np.float32:
    return np.float32(10 ** (decibels / 20))


def lufs(samples: Samples) -> float:
    measured = loudness_of(samples, RATE).lufs
    assert measured is not None
    return measured


@pytest.mark.smoke
@pytest.mark.parametrize("step_db", [-5.0, -3.0, 3.0, 5.0])
def test_music_that_begins_too_loud_or_too_soft_is_brought_to_the_level_beside_it_and_back(
    step_db: float,
) -> None:
    new = NEW * gain(step_db)
    step = loudness_step(EDGE, new, RATE)
    assert step == pytest.approx(step_db, abs=1)
    settled, most_db = settle(new, step, RATE)
    assert most_db == pytest.approx(-step)
    assert abs(lufs(settled[: 2 * RATE]) - lufs(EDGE[-3 * RATE :])) < 1.2
    assert settled[0].tobytes() == new[0].tobytes()
    assert settled[10 * RATE :].tobytes() == new[10 * RATE :].tobytes()
    ratio = np.abs(settled[new != 0] / new[new != 0])
    assert np.abs(np.diff(20 * np.log10(ratio))).max() < 0.03


def test_no_more_than_six_decibels_are_made_up_for() -> None:
    assert settle(NEW, -15.0, RATE)[1] == 6
    assert settle(NEW, 15.0, RATE)[1] == -6


def fading() -> Samples:
    return (EDGE * np.linspace(1, 0.05, len(EDGE), dtype=np.float32)[:, None]).astype(np.float32)


@pytest.mark.parametrize(
    ("edge", "new"),
    [
        (EDGE, NEW),
        (EDGE, NEW * gain(1)),
        (fading(), NEW),
        (0 * EDGE, NEW),
        (EDGE, 0 * NEW),
        (EDGE[: 2 * RATE], NEW * gain(4)),
        (EDGE, NEW[: 2 * RATE] * gain(4)),
        (EDGE * np.where(np.arange(len(EDGE)) // (3 * RATE) % 2, gain(5), 1)[:, None], NEW * gain(5)),
    ],
    ids=[
        "as it goes on",
        "1 dB",
        "fade",
        "silence",
        "into silence",
        "short edge",
        "short",
        "as the edge does",
    ],
)
def test_what_is_no_fault_is_left_alone(edge: Samples, new: Samples) -> None:
    assert loudness_step(edge.astype(np.float32), new, RATE) == 0
    assert settle(new, 0.0, RATE)[0] is new


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 99),
    loud=st.floats(0.01, 4),
    frames=st.integers(0, 30_000),
    channels=st.integers(1, 3),
    rate=st.sampled_from([8_000, 22_050, 48_000]),
)
def test_whatever_it_is_no_peak_stays_over_the_ceiling_but_within_five_milliseconds_of_the_seam(
    seed: int, loud: float, frames: int, channels: int, rate: int
) -> None:
    rng = np.random.default_rng(seed)
    new = (loud * rng.normal(0, 0.3, (frames, channels)) * (rng.random((frames, 1)) < 0.3)).astype(np.float32)
    given_bytes = new.tobytes()
    held = limit_peaks(new, rate, ceiling_of(0.5))
    assert new.tobytes() == given_bytes
    assert (held.shape, held.dtype.name) == (new.shape, "float32")
    assert held[:1].tobytes() == new[:1].tobytes()
    assert (np.abs(held) <= np.abs(new) + 1e-7).all()
    late = soxr.resample(held, rate, 4 * rate)[round(0.028 * rate) :]
    assert np.abs(late).max(initial=0) < 10 ** (-1 / 20)


@pytest.mark.smoke
def test_peaks_between_the_frames_count_and_what_has_none_is_given_back() -> None:
    between = np.sqrt(0.5) * np.tile(np.array([1, 1, -1, -1], np.float32), 6_000)[:, None]
    between = (1.2 * between).astype(np.float32)
    assert np.abs(between).max() < 0.85
    assert loudness_of(between, RATE, true_peak=True).true_peak_dbtp > 1
    held = limit_peaks(between, RATE, ceiling_of(1.0))
    held[: RATE // 50] *= np.linspace(0, 1, RATE // 50, dtype=np.float32)[:, None]
    assert loudness_of(held, RATE, true_peak=True).true_peak_dbtp < -1
    assert limit_peaks(NEW, RATE, ceiling_of(1.0)) is NEW


def test_where_a_source_goes_beyond_full_scale_so_may_what_is_added() -> None:
    assert ceiling_of(1.5) == 1.5
    assert ceiling_of(1.0) == ceiling_of(0.1) < 10 ** (-1 / 20)


def test_the_gain_never_steps() -> None:
    new = NEW.copy()
    new[RATE : RATE + 20] = 3
    held = limit_peaks(new, RATE, ceiling_of(1.0))
    told = np.abs(new) > 1e-3
    gains = np.where(told, held / np.where(told, new, 1), np.nan)
    steps = np.diff(gains[:, 0][told[:, 0]])
    assert np.abs(steps).max() < 0.02
    assert np.nanmin(gains) < 0.35


def test_a_peak_right_at_the_seam_is_held_within_five_milliseconds_and_not_at_once() -> None:
    new = np.full((RATE, 1), 3, np.float32)
    gains = limit_peaks(new, RATE, ceiling_of(1.0))[:, 0] / 3
    assert gains[0] == 1
    assert np.abs(np.diff(gains)).max() < 2 / (0.005 * RATE)
    assert gains[round(0.006 * RATE)] < 0.3
