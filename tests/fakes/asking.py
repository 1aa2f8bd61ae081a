"""What the fake's own tests ask, with a client that knows nothing but HTTP."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile
from tests.fakes.runcomfy import TOKEN

if TYPE_CHECKING:
    import httpx
    from tests.fakes.runcomfy import FakeRunComfy

BEARER = {"Authorization": f"Bearer {TOKEN}"}
MODEL = "/models/acestep-ai/ace-step/audio-outpaint"
SONG_URL = "https://music.example/song.wav"
GOOD: dict[str, Any] = {"audio": SONG_URL, "tags": "lofi, 90 bpm", "extend_after_duration": 1, "seed": 7}


def song(container: str = "WAV", *, seconds: float = 2.0, sample_rate: int = 22_050) -> bytes:
    t = np.arange(round(seconds * sample_rate)) / sample_rate
    to = io.BytesIO()
    soundfile.write(to, 0.4 * np.sin(2 * np.pi * 220 * t), sample_rate, format=container)
    return to.getvalue()


SONG = song()


def submit(client: httpx.Client, **inputs: object) -> str:
    answer = client.post(MODEL, json=GOOD | inputs)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["request_id"])


def status(client: httpx.Client, request_id: str) -> dict[str, Any]:
    answer: dict[str, Any] = client.get(f"/requests/{request_id}/status").json()
    return answer


def result(client: httpx.Client, request_id: str, query: str = "") -> dict[str, Any]:
    answer: dict[str, Any] = client.get(f"/requests/{request_id}/result{query}").json()
    return answer


def finished(fake: FakeRunComfy, client: httpx.Client, query: str = "", **inputs: object) -> dict[str, Any]:
    request_id = submit(client, **inputs)
    fake.finish_all()
    return result(client, request_id, query)


def url_of(answer: dict[str, Any]) -> str:
    return str(answer["output"]["audios"][-1])


def switch(fake: FakeRunComfy, **switches: Any) -> None:  # noqa: ANN401 - any of them
    fake.switches = replace(fake.switches, **switches)
