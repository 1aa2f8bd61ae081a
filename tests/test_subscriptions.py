"""Who listens hears of changes, wherever they come from, and of nothing else; today's protocol only."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import anyio
import pytest
from mcp.client import Client
from mcp.client.subscriptions import ResourcesListChanged, ResourceUpdated
from mcp.shared.exceptions import MCPError
from mcp.types import INVALID_PARAMS
from tests.test_resources import UNKNOWN, extend, uri
from tests.test_tools import ask
from tests.waiting import PATIENCE_SECONDS
from tests.warm import around

from outpaint_mcp.models import SubmitRequest
from outpaint_mcp.principals import PERSON
from outpaint_mcp.server.app import build_server
from outpaint_mcp.server.subscriptions import MAX_STREAMS, MAX_URIS
from outpaint_mcp.server.wording import TOOLS
from outpaint_mcp.service.lifespan import open_service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from mcp.client.subscriptions import Subscription
    from tests.conftest import MakeSong

    from outpaint_mcp.config import Settings

pytestmark = pytest.mark.anyio

REQUESTS = "outpaint://requests"


@pytest.fixture
async def listener(settings: Settings) -> AsyncIterator[Client]:
    """A client of today's protocol."""
    async with Client(build_server(settings, surroundings=around())) as connected:
        yield connected


async def next_event(stream: Subscription) -> object:
    with anyio.fail_after(PATIENCE_SECONDS):
        return await anext(aiter(stream))


async def test_a_request_that_ends_is_reported(listener: Client, make_song: MakeSong) -> None:
    submission = await ask(
        listener, "submit_outpaint", audio=str(make_song(seconds=8)), tags="", extend_after_duration=8
    )
    request_id = submission["request_id"]
    async with listener.listen(resource_subscriptions=[uri(request_id)]) as stream:
        while True:
            status = await ask(listener, "get_outpaint_status", request_id=request_id)
            if status["status"] == "completed":
                break
            assert await next_event(stream) == ResourceUpdated(uri(request_id))


async def test_what_another_server_does_is_heard_here(settings: Settings, song: Path) -> None:
    async with AsyncExitStack() as stack:
        elsewhere = await stack.enter_async_context(
            open_service(settings, vocabulary=TOOLS, runs=False, surroundings=around())
        )
        request = SubmitRequest.of(audio=str(song), tags="", extend_after_duration=1)
        server = build_server(settings, surroundings=around())
        listener = await stack.enter_async_context(Client(server))
        stream = await stack.enter_async_context(
            listener.listen(resources_list_changed=True, resource_subscriptions=[REQUESTS])
        )
        request_id = (await elsewhere.submit(PERSON, request)).request_id
        events = {type(await next_event(stream)) for _ in range(2)}
        assert events == {ResourcesListChanged, ResourceUpdated}
        listed = await ask(listener, "list_outpaints")
        assert listed["requests"][0]["request_id"] == request_id


async def test_a_picture_and_a_waveform_change_with_their_request(
    listener: Client, make_song: MakeSong
) -> None:
    submission = await ask(
        listener, "submit_outpaint", audio=str(make_song(seconds=8)), tags="", extend_after_duration=8
    )
    wanted = [uri(submission["request_id"], rest) for rest in ("/picture", "/peaks")]
    async with listener.listen(resource_subscriptions=wanted) as stream:
        assert stream.honored.resource_subscriptions == wanted
        status = await ask(listener, "get_outpaint_status", request_id=submission["request_id"])
        if status["status"] != "completed":
            assert {await next_event(stream), await next_event(stream)} == {*map(ResourceUpdated, wanted)}


async def test_who_asked_for_one_request_hears_of_no_other(listener: Client, song: Path) -> None:
    first = await extend(listener, song)
    async with listener.listen(resource_subscriptions=[uri(first)]) as stream:
        await extend(listener, song, seed=2)
        with anyio.move_on_after(1.5) as waiting:
            await anext(aiter(stream))
        assert waiting.cancelled_caught


async def test_what_does_not_exist_is_refused_as_it_is_when_read(listener: Client) -> None:
    for address in (
        uri(UNKNOWN),
        uri(UNKNOWN, "/picture"),
        uri("song.wav"),
        uri(UNKNOWN, "/preview/0/10"),
        "outpaint://nothing",
        "file:///etc/passwd",
    ):
        with pytest.raises(MCPError) as refused:
            async with listener.listen(resource_subscriptions=[REQUESTS, address]):
                pass
        error = refused.value.error
        assert (error.code, error.message) == (INVALID_PARAMS, f"Unknown resource: {address}")
        assert error.data == {"uri": address}


async def test_streams_and_what_they_name_are_bounded(listener: Client) -> None:
    with pytest.raises(MCPError, match=f"{MAX_URIS} resources at most"):
        async with listener.listen(resource_subscriptions=[uri(f"op_{n:020x}") for n in range(MAX_URIS + 1)]):
            pass
    async with AsyncExitStack() as stack:
        for _ in range(MAX_STREAMS):
            await stack.enter_async_context(listener.listen(resources_list_changed=True))
        with pytest.raises(MCPError, match="Close one first"):
            async with listener.listen(resources_list_changed=True):
                pass
    with anyio.fail_after(PATIENCE_SECONDS):
        while True:  # what was closed makes room, once the server has noticed
            try:
                async with listener.listen(resources_list_changed=True):
                    return
            except MCPError:
                await anyio.sleep(0.01)
