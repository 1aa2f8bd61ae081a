"""FastMCP's client, which raises an answer that is an error."""

from __future__ import annotations

import asyncio

from fastmcp import Client
from fastmcp.client.transports import StdioTransport, StreamableHttpTransport
from fastmcp.exceptions import ToolError
from model import SERVER, begin, go_on


def transport() -> StdioTransport | StreamableHttpTransport:
    if "command" in SERVER:
        return StdioTransport(command=SERVER["command"], args=SERVER["args"], env=SERVER["env"])
    return StreamableHttpTransport(SERVER["url"], headers=SERVER["headers"])


async def main() -> None:
    async with Client(transport()) as client:
        tools = await client.list_tools()
        call = begin([(tool.name, tool.description, tool.input_schema) for tool in tools])
        while call is not None:
            try:
                result = await client.call_tool(call.tool, call.arguments)
            except ToolError as error:
                call = go_on(str(error))
                continue
            kinds = [block.type for block in result.content]
            text = "\n".join(block.text for block in result.content if block.type == "text")
            call = go_on(text, kinds.count("image"))


asyncio.run(main())
