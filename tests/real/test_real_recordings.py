"""Real music comes out longer as promised: recordings from Debian packages, fetched and never committed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from mcp.client import Client
from tests.warm import around

from outpaint_mcp.audio.engine.outpaint import Outpainted, outpaint_file
from outpaint_mcp.audio.files.decode import AudioReader
from outpaint_mcp.server.app import build_server

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from outpaint_mcp.config import Settings
from outpaint_mcp.wishes import Wishes

RECORDINGS = {"machine_wars.mp3": "asc-music", "frozen-mainzik-2p.ogg": "frozen-bubble-data"}
"""File to package: six minutes at 22 kHz, and three at 44 kHz."""

ADDED_SECONDS = 15.0
CLICK_SECONDS = 0.003
STEP_SECONDS = 0.4
MOST_CLICK_RATIO = 1.5
"""Of the source's own 99th percentile; as in the bench."""


@pytest.fixture(scope="session")
def recording() -> Callable[[str], Path]:
    """Finds a recording by its name, or skips the test with the reason."""
    recordings = pytest.importorskip("bench.recordings", reason="bench/ is not part of this distribution")

    def find(name: str) -> Path:
        folder = recordings.music_folder(RECORDINGS[name])
        if folder is None:
            pytest.skip(
                f"{name}: the package {RECORDINGS[name]} is neither in OUTPAINT_MUSIC nor to be fetched"
            )
        return Path(folder) / name

    return find


@cache
def decoded(path: Path) -> npt.NDArray[np.float32]:
    with AudioReader(path) as source:
        return np.concatenate([block.copy() for block in source.blocks(np.float32)])


def extended(source: Path, destination: Path, seed: int = 7) -> Outpainted:
    return outpaint_file(
        source,
        destination,
        Wishes(before_seconds=ADDED_SECONDS, after_seconds=ADDED_SECONDS, placement="outside"),
        seed=seed,
        max_source_seconds=600,
        on_progress=lambda _fraction, _step: None,
    )


@dataclass(frozen=True)
class Longer:
    path: Path
    told: Outpainted
    source: npt.NDArray[np.float32]
    result: npt.NDArray[np.float32]

    @property
    def joins(self) -> tuple[int, int]:
        return self.told.before_frames, self.told.before_frames + self.told.source_frames


@pytest.fixture(scope="module", params=RECORDINGS)
def longer(
    request: pytest.FixtureRequest, recording: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Longer:
    path = recording(request.param)
    destination = tmp_path_factory.mktemp("longer") / "result"
    return Longer(path, extended(path, destination), decoded(path), decoded(destination))


def test_the_source_is_inside_bit_for_bit_and_every_length_is_exact(longer: Longer) -> None:
    told, (first, last) = longer.told, longer.joins
    assert told.source_remark == ""
    assert told.before_frames == told.after_frames == round(ADDED_SECONDS * told.sample_rate)
    assert told.source_frames == len(longer.source)
    assert len(longer.result) == last + told.after_frames
    stored = np.rint(longer.source.astype(np.float64) * 2**23).clip(-(2**23), 2**23 - 1)
    assert np.array_equal(np.rint(longer.result[first:last].astype(np.float64) * 2**23), stored)


def test_there_is_music_on_both_sides(longer: Longer) -> None:
    told, (first, last) = longer.told, longer.joins
    assert (told.method_before, told.method_after) == ("beats", "beats")
    loudness = decibels(longer.source)
    for side in (longer.result[:first], longer.result[last:]):
        seconds = np.array_split(side, int(ADDED_SECONDS))
        assert np.median([decibels(each) for each in seconds]) > loudness - 12


def test_no_added_moment_clicks_louder_than_the_source_itself(longer: Longer) -> None:
    width = round(2 * CLICK_SECONDS * longer.told.sample_rate)
    first, last = longer.joins
    own = clicks(longer.source, width)
    most = MOST_CLICK_RATIO * np.percentile(own, 99)
    allowed = max(
        most,
        clicks(longer.source[: 4 * width], width).max(),
        clicks(longer.source[-4 * width :], width).max(),
    )
    for side in (longer.result[: first + width], longer.result[last - width :]):
        assert clicks(side, width).max() <= max(allowed, own.max())
    for join in longer.joins:
        assert clicks(longer.result[join - width : join + width], width).max() <= allowed


def test_loudness_steps_at_the_joins_as_it_does_within_the_source(longer: Longer) -> None:
    width = round(STEP_SECONDS * longer.told.sample_rate)
    levels = np.array([decibels(each) for each in windows(longer.source, width)])
    own = np.abs(np.diff(levels))
    for join in longer.joins:
        before, after = longer.result[join - width : join], longer.result[join : join + width]
        assert abs(decibels(after) - decibels(before)) <= own.max()


def test_the_same_seed_makes_the_same_file(longer: Longer, tmp_path: Path) -> None:
    again = extended(longer.path, tmp_path / "again")
    assert again == longer.told
    assert again.sha256 == sha256_of(tmp_path / "again")


@pytest.mark.anyio
async def test_an_agent_gets_a_real_recording_longer(
    recording: Callable[[str], Path], settings: Settings
) -> None:
    name = "machine_wars.mp3"
    source = decoded(recording(name))
    (settings.input_dirs[0] / name).write_bytes(recording(name).read_bytes())
    async with Client(build_server(settings, surroundings=around())) as client:
        submission = (
            await client.call_tool(
                "submit_outpaint", {"audio": name, "tags": "", "extend_after_duration": ADDED_SECONDS}
            )
        ).structured_content
        assert submission is not None
        result = (
            await client.call_tool(
                "get_outpaint_result",
                {"request_id": submission["request_id"], "wait_seconds": 45, "details": True},
            )
        ).structured_content
    assert result is not None
    assert result["status"] == "completed"
    path = Path(result["path"])
    samples = decoded(path)
    assert path.name == "machine_wars, extended 15s after.flac"
    assert sha256_of(path) == result["sha256"]
    assert len(samples) == len(source) + round(ADDED_SECONDS * 22_050)
    assert result["duration_seconds"] == pytest.approx(len(samples) / 22_050, abs=1e-3)


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def windows(samples: npt.NDArray[np.float32], width: int) -> npt.NDArray[np.float32]:
    """Consecutive windows, `[windows, width, channels]`."""
    count = len(samples) // width
    return samples[: count * width].reshape(count, width, samples.shape[1])


def clicks(samples: npt.NDArray[np.float32], width: int) -> npt.NDArray[np.float64]:
    """The strongest fourth difference of the mono sum in each window: what a step or a kink raises."""
    residual = np.abs(np.diff(samples.mean(axis=1, dtype=np.float64), 4))
    count = len(residual) // width
    strongest: npt.NDArray[np.float64] = residual[: count * width].reshape(count, width).max(axis=1)
    return strongest


def decibels(samples: npt.NDArray[np.float32]) -> float:
    return 10 * float(np.log10(np.mean(np.square(samples, dtype=np.float64)) + 1e-9))
