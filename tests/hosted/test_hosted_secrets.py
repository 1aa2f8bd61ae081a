"""After a whole varied session: the token is nowhere, a signature only in a result's own url, lyrics in no log."""

# ruff: noqa: ASYNC240 - small files in a folder of the test's own

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from mcp.client import Client
from tests.fakes.bucket import ACCESS_KEY_ID, SECRET_ACCESS_KEY, LoopbackBucket
from tests.fakes.runcomfy import TOKEN, Fault, Switches
from tests.hosting import Web, open_house, settings_on
from tests.warm import around

from outpaint_mcp.errors import OutpaintError
from outpaint_mcp.principals import PERSON
from outpaint_mcp.server.app import build_server

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from pathlib import Path

    from tests.fakes.runcomfy import FakeRunComfy
    from tests.hosting import House

    from outpaint_mcp.config import Settings

pytestmark = pytest.mark.anyio

LYRICS = "never sung aloud by anyone"
LINK = "https://music.example/song.wav?X-Amz-Signature=5011ce&token=hunter2"


class Session:
    """All that was answered, in the order of the questions."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.words: list[str] = []
        self.urls: list[str] = []

    async def hear(self, question: Awaitable[Any]) -> Any:  # noqa: ANN401 - whatever is answered
        try:
            answer = await question
        except OutpaintError as exc:
            self.words.append(str(exc))
            return None
        answered = json.loads(answer.model_dump_json())
        if url := answered.pop("url", None):
            self.urls.append(url)
        self.words.append(json.dumps(answered))
        return answer

    async def all_of(self, audio: Path | str, **inputs: Any) -> None:  # noqa: ANN401 - inputs
        """Submit, and ask everything there is to ask."""
        submission = await self.hear(self.house.submit(audio, lyrics=LYRICS, **inputs))
        service = self.house.service
        if submission is not None:
            await self.hear(service.status(PERSON, submission.request_id))
            await self.hear(service.result(PERSON, submission.request_id, wait_seconds=60))
            await self.hear(service.cancel(PERSON, submission.request_id))
        await self.hear(service.list(PERSON))


async def test_no_secret_is_left_behind_by_a_varied_session(  # noqa: PLR0913 - all that is there to look into
    fake: FakeRunComfy,
    settings: Settings,
    song: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level("DEBUG")
    fake.web[LINK] = song.read_bytes()
    fake.switches = Switches(queue_polls=0, running_polls=0, echoes_inputs=True)
    said: dict[str, object] = {"error_message": f"no {TOKEN} with {LINK} for {LYRICS}"}
    async with open_house(fake, settings, fetch_link=Web(fake.web)) as house:
        session = Session(house)
        await session.all_of(song, seed=1)
        await session.all_of(LINK, seed=2, extend_before_duration=1)
        fake.fail("submit", Fault(status=500, body=said))
        await session.all_of(song, seed=3)
        fake.fail("submit", Fault(status=422, body=said))
        await session.all_of(LINK, seed=4)
        fake.fail("result", Fault(status=200, body={"status": "failed", "error": said["error_message"]}))
        await session.all_of(song, seed=5)
        fake.fail("status", Fault(status=403, body=said))
        await session.all_of(LINK, seed=6)
        fake.switches = replace(fake.switches, content="html")
        await session.all_of(song, seed=7)
        fake.switches = replace(fake.switches, content="audio")
        contents = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    with LoopbackBucket() as bucket:
        for name, value in bucket.environment.items():
            monkeypatch.setenv(name, value)
        async with open_house(fake, settings, upload=bucket.url) as house:
            session.house = house
            await session.all_of(song, seed=8)
            fake.fail("submit", Fault(kind="drop"))
            await session.all_of(song, seed=9)
    contents += [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(session.words) > 30
    assert len(session.urls) >= 3
    answers = "\n".join(session.words)
    for secret in (TOKEN, SECRET_ACCESS_KEY, ACCESS_KEY_ID):
        assert secret not in answers + "".join(session.urls) + caplog.text
        assert not any(secret.encode() in content for content in contents)
    for secret in ("X-Amz-Signature", "hunter2"):
        assert secret not in answers + caplog.text
    assert LYRICS not in caplog.text


async def test_the_data_folder_keeps_no_signature_but_those_of_results(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    fake.web[LINK] = song.read_bytes()
    async with open_house(fake, settings, fetch_link=Web(fake.web)) as house:
        delivered = await house.extend_as_made(LINK)
        fake.switches = replace(fake.switches, result_fails="string")
        await asyncio.gather(*(house.failed(LINK, seed=seed) for seed in range(4)))
    contents = b"".join(path.read_bytes() for path in settings.data_dir.rglob("*") if path.is_file())
    kept = set(re.findall(rb"X-Amz-Signature=([0-9a-f]+)", contents))
    assert kept == set(re.findall(rb"X-Amz-Signature=([0-9a-f]+)", (delivered.url or "").encode()))


async def test_the_token_is_in_no_tools_answer_and_a_signature_in_a_results_url_alone(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    fake.switches = Switches(queue_polls=0, running_polls=0)
    arguments = {"audio": str(song), "tags": "lofi", "extend_after_duration": 1, "lyrics": LYRICS}
    answers: list[str] = []
    async with Client(build_server(settings_on(fake, settings), surroundings=around())) as client:
        submitted: Any = await client.call_tool("submit_outpaint", arguments)
        asked = {"request_id": submitted.structured_content["request_id"]}
        result: Any = await client.call_tool(
            "get_outpaint_result", asked | {"wait_seconds": 45, "restore_source": False}
        )
        for tool, told in (
            ("get_outpaint_status", asked),
            ("cancel_outpaint", asked),
            ("list_outpaints", {}),
        ):
            answer: Any = await client.call_tool(tool, told)
            answers.append(answer.model_dump_json())
    url = result.structured_content["url"]
    assert "X-Amz-Signature" in url
    answers += [submitted.model_dump_json(), result.model_dump_json().replace(url, "")]
    assert result.structured_content["status"] == "completed"
    for words in answers:
        assert TOKEN not in words
        assert "X-Amz-Signature" not in words
