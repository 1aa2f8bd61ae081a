"""What it is, what it would cost, how it looks, and how far it is."""

from __future__ import annotations

from base64 import b64decode
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from mcp.shared.exceptions import MCPError
from mcp.types import ImageContent
from PIL import Image
from tests.conversations.assistant import IMPATIENT_SECONDS, Folders, connected
from tests.conversations.listening import frames_of, samples_of
from tests.conversations.songs import RATE, song, write
from tests.e2e.sound import check_longer_file

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conversations.assistant import Assistant


def test_instruments_need_a_model_and_the_answer_says_how_to_get_one(
    assistant: Assistant, music: Path
) -> None:
    """Go on with violins in front."""
    write(music / "Streicher.flac", song(14.2))
    submission = assistant.call(
        "submit_outpaint", audio="Streicher", tags="violins, strings", extend_after_duration=6
    )
    assert "violins" in submission["message"]
    assert "not steer" in submission["message"]
    assert 'provider="runcomfy"' in submission["message"]
    assert "violins" in assistant.get(submission["request_id"])["message"]


def test_tempo_key_and_loudness_come_with_what_they_mean(assistant: Assistant, music: Path) -> None:
    """What tempo and key is it, and is it loud enough for Spotify?"""
    write(music / "Single.flac", song(30.7))
    found = assistant.call("analyze_audio", audio="Single")
    assert found["tempo_bpm"] == pytest.approx(120, abs=0.5)
    assert found["key"] in {"C major", "A minor"}
    assert found["loudness_lufs"] < -14
    assert "quieter than the \N{MINUS SIGN}14 LUFS" in found["message"]
    longer = assistant.extend("Single", extend_after_duration=20)
    again = assistant.call("analyze_audio", audio=longer.result["request_id"])
    assert (again["tempo_bpm"], again["key"]) == (found["tempo_bpm"], found["key"])
    hot = write(music / "Single laut.flac", np.clip(song(30.7) * 8, -1, 1))
    assert "turn it down" in assistant.call("analyze_audio", audio=hot.name)["message"]


def test_stop_ends_an_hour_of_work_at_once_and_leaves_nothing(assistant: Assistant, music: Path) -> None:
    """Stop!"""
    minute = (song(60.4).mean(axis=1)[:: RATE // 7_350] * 32_000).astype(np.int16)
    soundfile.write(music / "Mitschnitt.wav", np.tile(minute, 60), 7_350)
    request_id = assistant.call("submit_outpaint", audio="Mitschnitt", tags="", extend_after_duration=200)[
        "request_id"
    ]
    cancelled = assistant.call("cancel_outpaint", request_id=request_id)
    assert cancelled["outcome"] == "cancelled"
    ended = assistant.call("get_outpaint_status", request_id=request_id, wait_seconds=45)
    assert ended["status"] == "cancelled"
    assert not [*assistant.folders.results.glob("Mitschnitt*")]
    assert "Submit it again" in assistant.call("get_outpaint_result", request_id=request_id)["message"]


def test_the_file_of_yesterday_is_found_by_another_server(tmp_path: Path) -> None:
    """Where is the file from yesterday?"""
    folders = Folders.below(tmp_path)
    source = write(folders.music / "Gestern.flac", song(6.2))
    with connected(folders) as yesterday:
        delivered = yesterday.extend("Gestern", extend_after_duration=3)
    with connected(folders) as today:
        (entry,) = today.call("list_outpaints")["requests"]
        assert (entry["title"], entry["status"]) == ("Gestern", "completed")
        assert entry["path"] == str(delivered.path)
        assert today.get(entry["request_id"])["path"] == entry["path"]
        check_longer_file(delivered.result, source)


def test_a_host_that_cuts_calls_off_gets_everything_in_a_few(assistant: Assistant, music: Path) -> None:
    """(In a host that ends every call after five seconds.)"""
    write(music / "Ungeduld.flac", np.tile(song(60.6), (5, 1)))
    with pytest.raises(MCPError):
        assistant.answer("analyze_audio", audio="Ungeduld", cut_after_seconds=0.05)
    answers = assistant.repeat("analyze_audio", audio="Ungeduld", wait_seconds=IMPATIENT_SECONDS)
    shares = [each["progress"] for each in answers[:-1]]
    assert shares == sorted(shares), "what was done is not begun again"
    assert answers[-1]["tempo_bpm"] == pytest.approx(120, abs=0.5)
    submission = assistant.call("submit_outpaint", audio="Ungeduld", tags="", extend_after_duration=30)
    result = assistant.get(submission["request_id"], wait_seconds=IMPATIENT_SECONDS)
    assert frames_of(result["path"]) == 333 * RATE


def test_a_dry_run_tells_what_the_model_costs_and_what_it_needs(assistant: Assistant, music: Path) -> None:
    """What would RunComfy cost? Switch to it."""
    write(music / "Teuer.flac", song(30.2))
    asked = {"audio": "Teuer", "tags": "violins", "extend_after_duration": 30, "provider": "runcomfy"}
    foreseen = assistant.call("submit_outpaint", dry_run=True, **asked)
    assert foreseen["provider"] == "runcomfy"
    assert "request_id" not in foreseen
    assert 0 < foreseen["estimated_cost_usd"] < 1
    assert foreseen["expected_duration_seconds"] == 60.2
    assert "RUNCOMFY_API_TOKEN" in foreseen["message"]
    words = assistant.refusal("submit_outpaint", **asked)
    assert "RUNCOMFY_API_TOKEN" in words
    assert "$" in words
    assert 'provider="local"' in words


@pytest.mark.parametrize("name", ["Été Лето 夏.flac", "Plain.wav"])
def test_the_picture_is_small_enough_for_every_chat(assistant: Assistant, music: Path, name: str) -> None:
    """Show me the waveform."""
    write(music / name, song(14.3))
    longer = assistant.extend(name, extend_before_duration=4, extend_after_duration=6)
    answer = assistant.answer("analyze_audio", audio=longer.result["request_id"], picture=True)
    (picture,) = [each for each in answer.content if isinstance(each, ImageContent)]
    assert picture.mime_type == "image/png"
    assert len(picture.data) < 100_000, "as it travels"
    drawn = Image.open(BytesIO(b64decode(picture.data)))
    assert drawn.format == "PNG"
    assert min(drawn.size) >= 200
    assert len(samples_of(longer.path)) == round(24.3 * RATE)
