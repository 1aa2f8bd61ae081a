"""Pydantic AI: an agent with the MCP toolset, and a model that is a function."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from model import SERVER, begin, go_on
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.messages import BinaryContent, ModelRequest, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.usage import UsageLimits

if TYPE_CHECKING:
    from pydantic_ai.messages import ModelMessage
    from pydantic_ai.models.function import AgentInfo


def toolset() -> MCPToolset:
    if "command" in SERVER:
        from fastmcp.client.transports import StdioTransport  # noqa: PLC0415

        return MCPToolset(StdioTransport(command=SERVER["command"], args=SERVER["args"], env=SERVER["env"]))
    return MCPToolset(SERVER["url"], headers=SERVER["headers"])


def respond(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    request = messages[-1]
    assert isinstance(request, ModelRequest)
    if len(messages) == 1:
        tools = info.function_tools
        call = begin([(tool.name, tool.description, tool.parameters_json_schema) for tool in tools])
    else:
        texts, pictures = [], 0
        for part in request.parts:
            if part.part_kind == "tool-return":
                texts.append(part.model_response_str())
                pictures += len([each for each in part.files if isinstance(each, BinaryContent)])
            elif part.part_kind == "retry-prompt":
                texts.append(part.model_response())
            elif part.part_kind == "user-prompt":
                pictures += len([each for each in part.content if isinstance(each, BinaryContent)])
        call = go_on("\n".join(texts), pictures)
    if call is None:
        return ModelResponse(parts=[TextPart("Done.")])
    return ModelResponse(parts=[ToolCallPart(call.tool, call.arguments)])


async def main() -> None:
    agent = Agent(FunctionModel(respond), toolsets=[toolset()])
    async with agent:
        await agent.run("Make it longer.", usage_limits=UsageLimits(request_limit=None))


asyncio.run(main())
