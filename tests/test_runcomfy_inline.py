"""A file inside of a submission: the body is exact to the byte, sent whole each time, and made in small pieces."""

from __future__ import annotations

import asyncio
import json
import random
from base64 import b64encode
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.fakes.runcomfy import TOKEN, FakeRunComfy, Fault

from outpaint_mcp.errors import RateLimited
from outpaint_mcp.models import OutpaintRequest
from outpaint_mcp.providers.remote.model import InlineFile
from outpaint_mcp.providers.runcomfy.api import wire
from outpaint_mcp.providers.runcomfy.api.client import RunComfyClient
from outpaint_mcp.providers.runcomfy.api.inline import encoded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = pytest.mark.anyio

PLACE = "data:audio/place"
MEDIA_TYPES = st.sampled_from(["audio/wav", "audio/flac", "audio/mpeg"])
PIECE_BYTES = 256 * 1024
"""What is on the wire in a moment; nobody else has a turn while one is made."""

WORDS = st.lists(
    st.one_of(
        st.sampled_from([PLACE, '"', '", "audio": "', "\\", "{}", "data:audio/wav;base64,"]),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    ),
    max_size=4,
).map("".join)


def data_uri(content: bytes, media_type: str = "audio/wav") -> str:
    return f"data:{media_type};base64,{b64encode(content).decode()}"


async def collected(pieces: AsyncIterator[bytes]) -> list[bytes]:
    return [piece async for piece in pieces]


def sent(payload: dict[str, Any], content: bytes, media_type: str = "audio/wav") -> tuple[int, list[bytes]]:
    """What a file of these bytes is sent as: the length that is announced, and the pieces."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "source")
        path.write_bytes(content)
        length, pieces = encoded(payload, InlineFile(path, media_type))
        return length, asyncio.run(collected(pieces))


@given(
    content=st.binary(max_size=64),
    media_type=MEDIA_TYPES,
    tags=WORDS,
    lyrics=WORDS,
    rng=st.randoms(use_true_random=False),
)
@example(content=b"", media_type="audio/wav", tags=PLACE, lyrics=f'"{PLACE}"', rng=random.Random(1))
def test_whatever_is_in_the_file_and_the_words_arrives_as_it_is(
    content: bytes, media_type: str, tags: str, lyrics: str, rng: random.Random
) -> None:
    request = OutpaintRequest(audio="data:", tags=tags, lyrics=lyrics, extend_after_duration=1.5, seed=7)
    fields = list(wire.payload(request).items())
    rng.shuffle(fields)
    length, pieces = sent(dict(fields), content, media_type)
    body = b"".join(pieces)
    assert len(body) == length
    assert json.loads(body) == dict(fields) | {"audio": data_uri(content, media_type)}
    assert body.count(b'"audio"') == 1 or '"audio"' in json.dumps([tags, lyrics])


@pytest.mark.parametrize("size", [0, 1, 2, 3, 196_607, 196_608, 196_609, 393_216, 500_000])
def test_pieces_join_without_a_seam_and_none_is_large(size: int) -> None:
    content = random.Random(size).randbytes(size)
    request = OutpaintRequest(audio="data:", tags="lofi", lyrics="la " * 6_000, extend_after_duration=1)
    length, pieces = sent(wire.payload(request), content)
    assert length == sum(map(len, pieces))
    assert max(map(len, pieces)) <= PIECE_BYTES
    assert json.loads(b"".join(pieces))["audio"] == data_uri(content)


@given(tags=WORDS)
def test_without_a_file_the_audio_goes_out_as_it_is(tags: str) -> None:
    payload = wire.payload(OutpaintRequest(audio="https://x/a.wav", tags=tags, extend_after_duration=1))
    length, pieces = encoded(payload, None)
    body = b"".join(asyncio.run(collected(pieces)))
    assert (len(body), json.loads(body)) == (length, payload)


def test_a_file_that_is_gone_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        encoded({"audio": "data:"}, InlineFile(tmp_path / "gone", "audio/wav"))


@pytest.fixture
def fake() -> Iterator[FakeRunComfy]:
    """The service; whoever breaks its contract fails."""
    with FakeRunComfy() as running:
        yield running
        running.check()


@pytest.fixture
async def runcomfy(fake: FakeRunComfy) -> AsyncIterator[RunComfyClient]:
    async def at_once(_seconds: float) -> None:
        await asyncio.sleep(0)

    async with RunComfyClient(TOKEN, base_url=fake.base, sleep=at_once) as client:
        yield client


REQUEST = OutpaintRequest(audio="data:", tags=f'"{PLACE}" löfi', lyrics=PLACE, extend_after_duration=1)


async def test_what_is_sent_again_after_a_refusal_is_sent_whole_again(
    fake: FakeRunComfy, runcomfy: RunComfyClient, tmp_path: Path
) -> None:
    path, content = tmp_path / "song.wav", b"RIFF\0\0\0\0WAVE" + random.Random(1).randbytes(1_000_000)
    await asyncio.to_thread(path.write_bytes, content)
    inline = InlineFile(path, "audio/wav")
    fake.fail("submit", Fault(status=429))
    with pytest.raises(RateLimited):
        await runcomfy.submit(REQUEST, inline=inline)
    request_id = await runcomfy.submit(REQUEST, inline=inline)
    assert (fake.count("submit"), list(fake.jobs)) == (2, [request_id])
    assert fake.jobs[request_id].inputs == wire.payload(REQUEST) | {"audio": data_uri(content)}


async def test_sixteen_mebibytes_arrive_whole_in_small_pieces(
    fake: FakeRunComfy, runcomfy: RunComfyClient, tmp_path: Path
) -> None:
    path, content = tmp_path / "song.flac", b"fLaC" + random.Random(2).randbytes(16 * 1024**2 - 4)
    await asyncio.to_thread(path.write_bytes, content)
    inline = InlineFile(path, "audio/flac")
    request_id = await runcomfy.submit(REQUEST, inline=inline)
    arrived = fake.jobs[request_id].inputs
    assert arrived["audio"] == data_uri(content, "audio/flac")
    assert {**arrived, "audio": "data:"} == wire.payload(REQUEST)
    length, pieces = encoded(wire.payload(REQUEST), inline)
    sizes = [len(piece) async for piece in pieces]
    assert sum(sizes) == length
    assert max(sizes) <= PIECE_BYTES
