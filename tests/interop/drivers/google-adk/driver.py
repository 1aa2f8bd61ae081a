"""Google ADK: an agent with an MCP toolset, and a model of ours."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from google.adk.agents import LlmAgent
from google.adk.models.base_llm import BaseLlm
from google.adk.models.llm_response import LlmResponse
from google.adk.runners import InMemoryRunner
from google.adk.tools.mcp_tool import McpToolset, StdioConnectionParams, StreamableHTTPConnectionParams
from google.genai import types
from mcp import StdioServerParameters
from model import SERVER, Call, begin, go_on

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from google.adk.models.llm_request import LlmRequest


class Puppet(BaseLlm):
    async def generate_content_async(
        self,
        llm_request: LlmRequest,
        stream: bool = False,  # noqa: ARG002, FBT001, FBT002 - as ADK has it
    ) -> AsyncGenerator[LlmResponse, None]:
        call = _next(llm_request)
        part = types.Part(text="Done.")
        if call is not None:
            part = types.Part(function_call=types.FunctionCall(name=call.tool, args=call.arguments))
        yield LlmResponse(content=types.Content(role="model", parts=[part]))


def _next(request: LlmRequest) -> Call | None:
    parts = request.contents[-1].parts or []
    answers = [part.function_response for part in parts if part.function_response]
    if not answers:
        offered = [each for tool in request.config.tools for each in tool.function_declarations]
        return begin([(each.name, each.description, _schema(each)) for each in offered])
    pictures = len([part for part in parts if part.inline_data])
    return go_on("\n".join(json.dumps(answer.response, ensure_ascii=False) for answer in answers), pictures)


def _schema(declaration: types.FunctionDeclaration) -> dict[str, object]:
    if declaration.parameters_json_schema is not None:
        return dict(declaration.parameters_json_schema)
    assert declaration.parameters is not None
    return declaration.parameters.model_dump(mode="json", exclude_none=True)


def connection() -> StdioConnectionParams | StreamableHTTPConnectionParams:
    if "command" in SERVER:
        server = StdioServerParameters(command=SERVER["command"], args=SERVER["args"], env=SERVER["env"])
        return StdioConnectionParams(server_params=server)
    return StreamableHTTPConnectionParams(url=SERVER["url"], headers=SERVER["headers"])


async def main() -> None:
    toolset = McpToolset(connection_params=connection())
    agent = LlmAgent(name="musician", model=Puppet(model="puppet"), tools=[toolset])
    async with InMemoryRunner(agent=agent) as runner:
        await runner.run_debug("Make it longer.", quiet=True)


asyncio.run(main())
