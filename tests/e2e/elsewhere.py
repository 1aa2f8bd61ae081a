"""A client on another machine, as far as it can tell: run with a step, the server's origin, its key and a file.

`send` uploads the file and submits it, says the request's id, and waits for its result. `fetch` comes back for the
newest request, and downloads its result into the file.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_WAIT_SECONDS = 45
_TIMEOUT_SECONDS = 60


async def send(http: httpx2.AsyncClient, client: Client, file: Path) -> None:
    """Upload a track, have it extended, and wait."""
    content = await asyncio.to_thread(file.read_bytes)
    sent = (await http.post("/files", params={"name": file.name}, content=content)).raise_for_status()
    submission = await _call(
        client, "submit_outpaint", audio=sent.json()["audio"], tags="", extend_after_duration=20
    )
    print(submission["request_id"], flush=True)  # noqa: T201 - to the test
    await _call(
        client, "get_outpaint_result", request_id=submission["request_id"], wait_seconds=_WAIT_SECONDS
    )


async def fetch(http: httpx2.AsyncClient, client: Client, file: Path) -> None:
    """Find the request again, and download its result."""
    [request] = (await _call(client, "list_outpaints"))["requests"]
    result: dict[str, Any] = {}
    while result.get("status") in {None, "in_queue", "in_progress"} or (
        result["status"] == "completed" and "url" not in result
    ):
        result = await _call(
            client, "get_outpaint_result", request_id=request["request_id"], wait_seconds=_WAIT_SECONDS
        )
    answer = (await http.get(result["url"])).raise_for_status()
    await asyncio.to_thread(file.write_bytes, answer.content)
    print(request["request_id"], flush=True)  # noqa: T201 - to the test


async def _call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    answer = await client.call_tool(tool, arguments)
    if answer.is_error:
        raise RuntimeError(str(answer.content))
    return dict(answer.structured_content or {})


async def _main(
    step: Callable[[httpx2.AsyncClient, Client, Path], Awaitable[None]], origin: str, key: str, file: Path
) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        httpx2.AsyncClient(base_url=origin, headers=headers, timeout=_TIMEOUT_SECONDS) as http,
        Client(streamable_http_client(f"{origin}/mcp", http_client=http)) as client,
    ):
        await step(http, client, file)


if __name__ == "__main__":
    _steps = {"send": send, "fetch": fetch}
    asyncio.run(_main(_steps[sys.argv[1]], sys.argv[2], sys.argv[3], Path(sys.argv[4])))
