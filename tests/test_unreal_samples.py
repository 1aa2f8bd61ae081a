"""Values in a source that are no sound: said in every answer, and a file of nothing else is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
from mcp.types import TextContent

if TYPE_CHECKING:
    from pathlib import Path

    from mcp.client import Client

    from outpaint_mcp.config import Settings

pytestmark = pytest.mark.anyio

RATE = 44_100


def write(folder: Path, *, bad_frames: int, value: float, channels: int = 2) -> Path:
    rng = np.random.default_rng(0)
    samples = 0.2 * rng.standard_normal((3 * RATE, channels))
    samples[RATE : RATE + bad_frames] = value
    path = folder / "song.wav"
    soundfile.write(path, samples, RATE, "DOUBLE")
    return path


async def call(client: Client, tool: str, **arguments: Any) -> tuple[dict[str, Any], str]:  # noqa: ANN401 - JSON
    result = await client.call_tool(tool, arguments)
    (text,) = [block.text for block in result.content if isinstance(block, TextContent)]
    return result.structured_content or {}, text


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
async def test_an_analysis_says_how_much_of_a_file_is_no_sound(
    client: Client, settings: Settings, value: float
) -> None:
    source = write(settings.input_dirs[0], bad_frames=1_234, value=value)
    _, words = await call(client, "analyze_audio", audio=str(source))
    assert "1,234 frames hold values that are no sound" in words
    assert "silent" not in words


async def test_an_extended_file_is_not_said_to_hold_bit_for_bit_what_is_no_sound(
    client: Client, settings: Settings
) -> None:
    source = write(settings.input_dirs[0], bad_frames=1_234, value=np.nan)
    submission, _ = await call(
        client, "submit_outpaint", audio=str(source), tags="", extend_after_duration=1, placement="outside"
    )
    report, words = await call(
        client, "get_outpaint_result", request_id=submission["request_id"], wait_seconds=45
    )
    assert "1,234 frames of values that are no sound" in words
    assert "preserved bit for bit" not in report["verdict"]
    samples, _ = soundfile.read(report["path"])
    assert np.isfinite(samples).all()
    assert not samples[RATE : RATE + 1_234].any()


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
async def test_a_file_without_any_sound_is_refused(client: Client, settings: Settings, value: float) -> None:
    source = settings.input_dirs[0] / "song.wav"
    soundfile.write(source, np.full((3 * RATE, 2), value), RATE, "DOUBLE")
    _, words = await call(client, "analyze_audio", audio=str(source))
    assert "holds no sound" in words
    submission, words = await call(
        client, "submit_outpaint", audio=str(source), tags="", extend_after_duration=1
    )
    if submission:
        _, words = await call(
            client, "get_outpaint_result", request_id=submission["request_id"], wait_seconds=45
        )
    assert "holds no sound" in words
