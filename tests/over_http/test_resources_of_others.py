"""Two callers: every resource, completion and notice is its owner's; what is another's does not exist."""

from __future__ import annotations

import base64
import dataclasses
import json
from typing import TYPE_CHECKING

import anyio
import pytest
from mcp.client.subscriptions import ResourcesListChanged, ResourceUpdated
from mcp.shared.exceptions import MCPError
from mcp.types import INVALID_PARAMS, BlobResourceContents, TextResourceContents
from tests.over_http.callers import ALICE, SHARED, asking, both, calling
from tests.test_resources import REFERENCES, UNKNOWN, extend, failure, read, read_json, uri
from tests.test_subscriptions import REQUESTS, next_event
from tests.test_tools import ask

if TYPE_CHECKING:
    from pathlib import Path

    from mcp.client import Client
    from tests.over_http.conftest import Serve

    from outpaint_mcp.config import Settings

pytestmark = pytest.mark.anyio

RESTS = ("", "/picture", "/peaks", "/preview/0/2")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """With the music open to callers from elsewhere."""
    return dataclasses.replace(settings, shared_dirs=settings.input_dirs[:1])


async def test_every_template_is_tried(client: Client) -> None:
    templates = (await client.list_resource_templates()).resource_templates
    places = [uri("{request_id}", rest.replace("/0/2", "/{start}/{length}")) for rest in RESTS]
    assert [each.uri_template for each in templates] == places


async def test_nobody_reads_what_is_anothers(serve: Serve, song: Path, era: str) -> None:
    async with both(serve, era) as (alice, bob):
        request_id = await extend(alice, song)
        own = [(await alice.read_resource(uri(request_id, rest))).contents[0] for rest in RESTS]
        assert all(
            each.blob if isinstance(each, BlobResourceContents) else json.loads(each.text) for each in own
        )
        for rest in RESTS:
            assert await failure(bob, uri(request_id, rest)) == (
                INVALID_PARAMS,
                f"Unknown resource: {uri(request_id, rest)}",
                {"uri": uri(request_id, rest)},
            )
            code, message, _ = await failure(bob, uri(UNKNOWN, rest))
            assert (code, message) == (INVALID_PARAMS, f"Unknown resource: {uri(UNKNOWN, rest)}")


async def test_lists_and_completions_have_ones_own_alone(serve: Serve, song: Path, era: str) -> None:
    async with both(serve, era) as (alice, bob):
        hers, his = await extend(alice, song), await extend(bob, song)
        for client, own in ((alice, hers), (bob, his)):
            listed = await read_json(client, REQUESTS)
            assert [each["request_id"] for each in listed["requests"]] == [own]
            for value in ("", "song", "op_", hers[:10], hers):
                answer = await client.complete(REFERENCES[0], {"name": "request_id", "value": value})
                assert set(answer.completion.values) <= {own}
                assert answer.completion.total == len(answer.completion.values)
            answer = await client.complete(REFERENCES[1], {"name": "audio", "value": "song"})
            assert answer.completion.values == [own]


async def test_what_everybody_reads_is_the_same(serve: Serve, era: str) -> None:
    async with both(serve, era) as (alice, bob):
        guide = "outpaint://guide/tags-and-lyrics"
        assert await read(alice, guide) == await read(bob, guide)
        assert (await alice.list_resources()).resources == (await bob.list_resources()).resources


async def test_nobody_can_listen_to_anothers_request(serve: Serve, song: Path) -> None:
    async with both(serve) as (alice, bob):
        request_id = await extend(alice, song)
        answers = []
        for wanted in (request_id, UNKNOWN):
            for rest in RESTS:
                with pytest.raises(MCPError) as refused:
                    async with bob.listen(resource_subscriptions=[uri(wanted, rest)]):
                        pass
                error = refused.value.error
                assert error.data == {"uri": uri(wanted, rest)}
                answers.append((error.code, error.message.replace(wanted, "ID")))
        assert answers[: len(RESTS)] == answers[len(RESTS) :]
        async with alice.listen(resource_subscriptions=[uri(request_id)]) as stream:
            assert stream.honored.resource_subscriptions == [uri(request_id)]


async def test_who_listens_to_the_list_hears_of_ones_own_requests_alone(serve: Serve, song: Path) -> None:
    async with both(serve) as (alice, bob):
        wanted = {"resources_list_changed": True, "resource_subscriptions": [REQUESTS]}
        async with alice.listen(**wanted) as hers, bob.listen(**wanted) as his:  # type: ignore[arg-type]
            await ask(alice, "submit_outpaint", audio=str(song), tags="", extend_after_duration=1)
            events = {await next_event(hers), await next_event(hers)}
            assert events == {ResourceUpdated(REQUESTS), ResourcesListChanged()}
            with anyio.move_on_after(1.5) as waiting:  # longer than it took her to hear of it
                await anext(aiter(his))
            assert waiting.cancelled_caught


async def test_a_caller_hears_when_their_request_has_ended(serve: Serve, song: Path) -> None:
    async with both(serve) as (alice, _):
        submission = await ask(alice, "submit_outpaint", audio=str(song), tags="", extend_after_duration=8)
        address = uri(submission["request_id"])
        async with alice.listen(resource_subscriptions=[address]) as stream:
            while (await read_json(alice, address))["status"] != "completed":
                assert await next_event(stream) == ResourceUpdated(address)
        [content] = (await alice.read_resource(uri(submission["request_id"], "/preview/0/1"))).contents
        assert isinstance(content, TextResourceContents)
        assert base64.b64decode(json.loads(content.text)["audio"])


async def test_what_is_deleted_is_gone_with_its_previews(
    serve: Serve, song: Path, settings: Settings
) -> None:
    async with serve(http=SHARED) as door, asking(door, ALICE) as alice:
        request_id = await extend(alice, song)
        for rest in RESTS:
            await alice.read_resource(uri(request_id, rest))
        previews = settings.data_dir / "previews"
        assert [each.name for each in previews.iterdir()] == [request_id]
        async with calling(door, ALICE) as http:
            assert (await http.delete(f"{door.origin}/requests/{request_id}")).status_code == 200
        assert [*previews.iterdir()] == []
        for rest in RESTS:
            code, message, _ = await failure(alice, uri(request_id, rest))
            assert (code, message) == (INVALID_PARAMS, f"Unknown resource: {uri(request_id, rest)}")
