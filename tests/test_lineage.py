"""An earlier result is known as one, wherever it lies: the music goes on from its last full music."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from tests.audio.composing import sequenced
from tests.warm import around

from outpaint_mcp.audio.layout import PartKind
from outpaint_mcp.export_options import ExportOptions
from outpaint_mcp.models import SubmitRequest
from outpaint_mcp.principals import PERSON
from outpaint_mcp.server.wording import TOOLS
from outpaint_mcp.service.lifespan import open_service

if TYPE_CHECKING:
    from outpaint_mcp.audio.layout import Layout
    from outpaint_mcp.config import Settings
    from outpaint_mcp.service.service import OutpaintService

pytestmark = pytest.mark.anyio

RATE = 11_025


@pytest.fixture
def song(settings: Settings) -> Path:
    folder = settings.input_dirs[0]
    folder.mkdir(parents=True, exist_ok=True)
    samples = sequenced(bpm=120, beats=41, sample_rate=RATE)[0][: 20 * RATE + 999]
    soundfile.write(folder / "song.wav", samples, RATE, "PCM_16")
    return folder / "song.wav"


async def extend(service: OutpaintService, audio: str, **wishes: object) -> tuple[str, str, Path]:
    """Extend, and return the message, the id and the file."""
    request = SubmitRequest.of(audio=audio, **{"tags": "", "extend_after_duration": 8, "seed": 3} | wishes)
    submission = await service.submit(PERSON, request)
    result = await service.result(PERSON, submission.request_id, wait_seconds=120)
    assert result.path, result
    return submission.message, submission.request_id, Path(result.path)


def layout_of(service: OutpaintService, request_id: str) -> Layout:
    outcome = service._store.journal.get(request_id).outcome
    assert outcome is not None
    assert outcome.layout is not None
    return outcome.layout


@pytest.mark.parametrize("named", ["by its id", "by its path", "as a copy with another name"])
async def test_a_result_is_extended_from_its_last_full_music(
    settings: Settings, song: Path, named: str
) -> None:
    async with open_service(settings, vocabulary=TOOLS, surroundings=around()) as service:
        _, request_id, path = await extend(service, str(song))
        first = layout_of(service, request_id)
        assert first.parts[-1].kind is PartKind.RING_OUT
        copy = song.with_name("other.wav")
        await asyncio.to_thread(shutil.copyfile, path, copy)
        audio = {"by its id": request_id, "by its path": str(path)}.get(named, str(copy))
        message, again_id, longer = await extend(service, audio)
        second = layout_of(service, again_id)
        assert "before the ending that was added last time" in message
        assert second.frames == first.frames + 8 * RATE
        assert [part.kind for part in second.parts].count(PartKind.RING_OUT) == 1
        assert soundfile.info(longer).frames == second.frames
        summary = (await service.list(PERSON)).requests[0]
        assert summary.parent_request_id == request_id


async def test_a_result_that_was_changed_is_any_recording(settings: Settings, song: Path) -> None:
    async with open_service(settings, vocabulary=TOOLS, surroundings=around()) as service:
        _, _, path = await extend(service, str(song))
        samples, _ = await asyncio.to_thread(soundfile.read, path, dtype="int16")
        edited = song.with_name("edited.wav")
        await asyncio.to_thread(soundfile.write, edited, samples[: 15 * RATE], RATE, "PCM_16")
        message, _, _ = await extend(service, str(edited))
        assert "added last time" not in message
        assert (await service.list(PERSON)).requests[0].parent_request_id is None


async def test_a_total_is_promised_and_what_it_overrides_is_said(settings: Settings, song: Path) -> None:
    async with open_service(settings, vocabulary=TOOLS, surroundings=around()) as service:
        request = SubmitRequest.of(audio=str(song), tags="", extend_after_duration=7, total_seconds=33.3)
        submission = await service.submit(PERSON, request)
        assert submission.expected_duration_seconds == 33.3
        assert "extend_after_duration is ignored" in submission.message
        default = await service.submit(PERSON, SubmitRequest.of(audio=str(song), tags="", total_seconds=31))
        assert "ignored" not in default.message


async def test_two_requests_that_come_to_the_same_music_are_said_to(settings: Settings, song: Path) -> None:
    async with open_service(settings, vocabulary=TOOLS, surroundings=around()) as service:
        _, first_id, _ = await extend(service, str(song), tags="violins")
        request = SubmitRequest.of(audio=str(song), tags="flutes", extend_after_duration=8, seed=3)
        again = await service.submit(PERSON, request)
        result = await service.result(PERSON, again.request_id, wait_seconds=120)
        assert f"The same, value by value, as {first_id}" in result.message
        first = await service.result(PERSON, first_id, wait_seconds=120)
        assert again.request_id in first.message


async def test_only_the_new_part_is_all_that_lies_behind_the_source(settings: Settings, song: Path) -> None:
    samples, _ = await asyncio.to_thread(soundfile.read, song, always_2d=True)
    samples[-4 * RATE :] *= np.linspace(1, 0, 4 * RATE)[:, None] ** 2
    await asyncio.to_thread(soundfile.write, song, samples, RATE, "PCM_16")
    async with open_service(settings, vocabulary=TOOLS, surroundings=around()) as service:
        _, request_id, path = await extend(service, str(song))
        layout = layout_of(service, request_id)
        assert layout.parts[-1].kind is PartKind.OWN_ENDING
        source_frames = next(part.frames for part in layout.parts if part.kind is PartKind.SOURCE)
        part = await service.result(PERSON, request_id, wait_seconds=120, options=ExportOptions(part="after"))
        whole, _ = await asyncio.to_thread(soundfile.read, path)
        new, _ = await asyncio.to_thread(soundfile.read, part.path)
        assert np.array_equal(new, whole[source_frames:])
