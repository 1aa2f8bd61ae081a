"""Two callers of a server that knows both, their clients, and results that they have without waiting for them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import httpx2
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from tests.deliveries import add_completed, outcome_at
from tests.e2e.over_http import key_entries
from tests.waiting import PATIENCE_SECONDS

from outpaint_mcp.export_options import ExportOptions
from outpaint_mcp.principals import Principal
from outpaint_mcp.server.http.api_keys import ApiKeys
from outpaint_mcp.server.http.settings import HttpSettings
from outpaint_mcp.service.output_folder import OutputFolder
from outpaint_mcp.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.over_http.conftest import Door, Serve

    from outpaint_mcp.config import Settings

ALICE, BOB = Principal(client="alice"), Principal(client="bob")
_KEYS = {ALICE.client: "a" * 43, BOB.client: "b" * 43}
SHARED = HttpSettings(keys=ApiKeys(key_entries(**_KEYS)))
"""A server that knows the two."""


def bearer(caller: Principal | None) -> dict[str, str]:
    """The header that a caller shows; none for a stranger."""
    return {"Authorization": f"Bearer {_KEYS[caller.client]}"} if caller else {}


@asynccontextmanager
async def calling(door: Door, caller: Principal | None) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a caller's key, or a stranger's."""
    async with httpx.AsyncClient(
        base_url=door.origin, headers=bearer(caller), timeout=PATIENCE_SECONDS
    ) as client:
        yield client


@asynccontextmanager
async def asking(door: Door, caller: Principal, **options: Any) -> AsyncIterator[Client]:  # noqa: ANN401 - as `Client` takes them
    """An MCP client with a caller's key."""
    async with (
        httpx2.AsyncClient(headers=bearer(caller), timeout=PATIENCE_SECONDS) as http,
        Client(streamable_http_client(f"{door.origin}/mcp", http_client=http), **options) as client,
    ):
        yield client


@asynccontextmanager
async def both(serve: Serve, era: str = "auto") -> AsyncIterator[tuple[Client, Client]]:
    """Alice's and Bob's clients of one server."""
    async with (
        serve(http=SHARED) as door,
        asking(door, ALICE, mode=era) as alice,
        asking(door, BOB, mode=era) as bob,
    ):
        yield alice, bob


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Call a tool that works."""
    answer = await client.call_tool(tool, arguments)
    assert not answer.is_error, answer.content
    return dict(answer.structured_content or {})


async def refused(client: Client, tool: str, **arguments: Any) -> str:  # noqa: ANN401 - JSON
    """Call a tool that fails; returns what it says."""
    answer = await client.call_tool(tool, arguments)
    assert answer.is_error, (arguments, answer.structured_content)
    return str(getattr(answer.content[0], "text", ""))


def give(
    settings: Settings,
    caller: Principal,
    content: bytes = b"",
    *,
    now: Callable[[], float] | None = None,
    **request: Any,  # noqa: ANN401 - as `add_completed` takes them
) -> str:
    """Let a caller have a result that was delivered to them; returns the request's id."""
    store = Store(settings.data_dir, **({"now": now} if now else {}))
    try:
        generated = outcome_at(settings.data_dir.parent / "generated.flac", content)
        request_id = add_completed(store, generated, caller=caller.owner, **request)
        for take in store.journal.takes(request_id):
            OutputFolder(store.journal, settings).deliver(take.request_id, ExportOptions(), generated)
    finally:
        store.close()
    return request_id


def files_of(settings: Settings, caller: Principal) -> set[str]:
    """What lies in a caller's folders, by name, hidden files included."""
    reach = settings.reach_of(caller)
    folders = (reach.upload_dir, reach.output_dir)
    return {each.name for folder in folders if folder.exists() for each in folder.iterdir()}
