"""OpenAI Agents: an agent with an MCP server, and a model of ours."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from agents import Agent, Model, ModelResponse, Runner, Usage, set_tracing_disabled
from agents.mcp import MCPServerStdio, MCPServerStreamableHttp
from agents.testing import assistant_message, function_call
from model import SERVER, Call, begin, go_on

if TYPE_CHECKING:
    from agents import Tool


class Puppet(Model):
    def __init__(self) -> None:
        self.calls = 0

    async def get_response(self, **given: Any) -> ModelResponse:
        call = self._next(given["input"], given["tools"])
        self.calls += 1
        output = (
            assistant_message("Done.")
            if call is None
            else function_call(call.tool, call.arguments, call_id=f"call-{self.calls}")
        )
        return ModelResponse(output=[output], usage=Usage(), response_id=None)

    def stream_response(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError

    def _next(self, messages: Any, tools: list[Tool]) -> Call | None:
        if self.calls == 0:
            return begin([(tool.name, tool.description, tool.params_json_schema) for tool in tools])
        output = messages[-1]["output"]
        if isinstance(output, str):
            return go_on(output)
        parts = [output] if isinstance(output, dict) else output
        text = "\n".join(part["text"] for part in parts if part["type"] == "input_text")
        return go_on(text, len([part for part in parts if part["type"] == "input_image"]))


def server() -> MCPServerStdio | MCPServerStreamableHttp:
    if "command" in SERVER:
        return MCPServerStdio({"command": SERVER["command"], "args": SERVER["args"], "env": SERVER["env"]})
    return MCPServerStreamableHttp({"url": SERVER["url"], "headers": SERVER["headers"]})


async def main() -> None:
    set_tracing_disabled(disabled=True)
    async with server() as outpaint:
        agent = Agent("musician", mcp_servers=[outpaint], model=Puppet())
        await Runner.run(agent, "Make it longer.", max_turns=None)


asyncio.run(main())
