"""The official Python SDK 1."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamablehttp_client
from mcp.shared.exceptions import McpError
from model import SERVER, begin, go_on

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Any, Any]]:
    if "command" in SERVER:
        parameters = StdioServerParameters(command=SERVER["command"], args=SERVER["args"], env=SERVER["env"])
        async with stdio_client(parameters) as streams:
            yield streams
    else:
        async with streamablehttp_client(SERVER["url"], headers=SERVER["headers"]) as (reading, writing, _):
            yield reading, writing


async def main() -> None:
    async with connected() as (reading, writing), ClientSession(reading, writing) as session:
        await session.initialize()
        tools = (await session.list_tools()).tools
        call = begin([(tool.name, tool.description, tool.inputSchema) for tool in tools])
        while call is not None:
            try:
                result = await session.call_tool(call.tool, call.arguments)
            except McpError as error:
                call = go_on(str(error))
                continue
            kinds = [block.type for block in result.content]
            text = "\n".join(block.text for block in result.content if block.type == "text")
            call = go_on(text, kinds.count("image"))


asyncio.run(main())
