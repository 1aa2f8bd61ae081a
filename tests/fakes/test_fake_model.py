"""What the fake's model makes: lengths to the frame, a source that is heard but not bit-exact, upstream faults."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
from tests.fakes import model
from tests.fakes.asking import SONG, song
from tests.fakes.switches import Switches

if TYPE_CHECKING:
    from pathlib import Path


def made(
    folder: Path,
    source: bytes = SONG,
    switches: Switches | None = None,
    /,
    **inputs: Any,  # noqa: ANN401 - JSON
) -> bytes:
    """Return the output file for these inputs."""
    switches = switches or Switches()
    asked = {"tags": "a", "extend_before_duration": 0, "extend_after_duration": 0, "seed": 1} | inputs
    to = folder / f"out.{switches.container}"
    model.render(source, asked, model.plan(source, asked, switches), to)
    return to.read_bytes()


def heard(content: bytes) -> tuple[np.ndarray[Any, np.dtype[np.float64]], int]:
    """Return samples and rate."""
    return soundfile.read(io.BytesIO(content), always_2d=True)  # type: ignore[no-any-return]


@pytest.mark.parametrize("container", ["wav", "flac", "mp3"])
@pytest.mark.parametrize("sample_rate", [48_000, 44_100, 32_000])
def test_lengths_are_exact(container: str, sample_rate: int, tmp_path: Path) -> None:
    switches = Switches(container=container, sample_rate=sample_rate)  # type: ignore[arg-type]
    samples, rate = heard(made(tmp_path, SONG, switches, extend_after_duration=1.25))
    assert (rate, samples.shape) == (sample_rate, (round(3.25 * sample_rate), 2))


def test_the_source_is_heard_but_not_bit_exact(tmp_path: Path) -> None:
    source = song(seconds=2, sample_rate=48_000)
    samples, _ = heard(made(tmp_path, source, extend_before_duration=0.5))
    difference = samples[24_000:120_000] - heard(source)[0]
    assert difference.any()
    assert -75 < 20 * np.log10(np.std(difference)) < -65


@pytest.mark.parametrize("side", ["extend_before_duration", "extend_after_duration"])
def test_an_extension_is_continuous_and_as_loud(side: str, tmp_path: Path) -> None:
    samples, _ = heard(made(tmp_path, **{side: 1.9}))
    assert np.abs(np.diff(samples, axis=0)).max() < 0.03
    for half in np.split(samples[: len(samples) // 2 * 2], 2):
        assert np.std(half) == pytest.approx(0.4 / 2**0.5, rel=0.1)


def test_the_seed_decides(tmp_path: Path) -> None:
    first, again, other = (made(tmp_path, seed=seed, extend_after_duration=1) for seed in (1, 1, 2))
    assert first == again != other
    assert made(tmp_path, tags="b", extend_after_duration=1) != first
    assert made(tmp_path, seed=-1) != made(tmp_path, seed=-1)


def test_lengths_may_be_off(tmp_path: Path) -> None:
    long, _ = heard(made(tmp_path, SONG, Switches(seconds_off=0.5), extend_after_duration=1))
    short, _ = heard(made(tmp_path, SONG, Switches(seconds_off=-2.5), extend_after_duration=1))
    stepped, _ = heard(made(tmp_path, SONG, Switches(quantised=True), extend_after_duration=1))
    assert [len(each) / 48_000 for each in (long, short)] == [3.5, 0.5]
    assert len(stepped) == round((2 + 11 * 4096 / 44_100) * 48_000)


def test_the_upstream_faults_of_the_model() -> None:
    def plan(before: float, after: float, switches: Switches, source: bytes = SONG) -> float:
        return model.plan(
            source, {"extend_before_duration": before, "extend_after_duration": after}, switches
        ).seconds

    faulty, sound = Switches(), Switches(model_faults=False)
    assert plan(1, 1, faulty) == 3
    assert plan(1, 1.5, faulty) == 3.5
    assert plan(1, 1, sound) == 4
    assert plan(0, 30, sound) == 32
    with pytest.raises(model.ModelFailedError, match="size"):
        plan(0, 30, faulty)
    with pytest.raises(model.ModelFailedError, match="240"):
        plan(0, 121, faulty, song(seconds=121, sample_rate=1000))
    with pytest.raises(model.ModelFailedError, match="60 minutes"):
        plan(0, 1, faulty, song(seconds=3601, sample_rate=100))
    with pytest.raises(model.ModelFailedError, match="60 minutes"):
        plan(0, 1, faulty, song(seconds=0))


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_a_source_of_a_few_frames_is_enough(frames: int, tmp_path: Path) -> None:
    source = song(seconds=frames / 48_000, sample_rate=48_000)
    switches = Switches(model_faults=False)
    samples, _ = heard(made(tmp_path, source, switches, extend_before_duration=1, extend_after_duration=1))
    assert len(samples) == 96_000 + frames
