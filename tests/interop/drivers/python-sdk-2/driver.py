"""The official Python SDK 2, in the era that the runner says."""

from __future__ import annotations

import asyncio

from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from model import SERVER, begin, go_on


def server() -> object:
    if "command" in SERVER:
        return StdioServerParameters(command=SERVER["command"], args=SERVER["args"], env=SERVER["env"])
    return streamable_http_client(SERVER["url"], http_client=create_mcp_http_client(SERVER["headers"]))


async def main() -> None:
    async with Client(server(), mode=SERVER["mode"]) as client:
        tools = (await client.list_tools()).tools
        call = begin([(tool.name, tool.description, tool.input_schema) for tool in tools])
        while call is not None:
            try:
                result = await client.call_tool(call.tool, call.arguments)
            except MCPError as error:
                call = go_on(str(error))
                continue
            kinds = [block.type for block in result.content]
            text = "\n".join(block.text for block in result.content if block.type == "text")
            call = go_on(text, kinds.count("image"))


asyncio.run(main())
