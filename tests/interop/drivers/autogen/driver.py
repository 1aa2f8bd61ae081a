"""AutoGen: an assistant with an MCP workbench, and a replaying model that is given its lines as it goes on."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from autogen_agentchat.agents import AssistantAgent
from autogen_core import FunctionCall
from autogen_core.models import CreateResult, FunctionExecutionResultMessage, ModelFamily, RequestUsage
from autogen_ext.models.replay import ReplayChatCompletionClient
from autogen_ext.tools.mcp import McpWorkbench, StdioServerParams, StreamableHttpServerParams
from model import SERVER, Call, begin, go_on

if TYPE_CHECKING:
    from collections.abc import Sequence

    from autogen_core.models import LLMMessage


class Puppet(ReplayChatCompletionClient):
    def __init__(self) -> None:
        info = {"vision": True, "function_calling": True, "json_output": False, "structured_output": False}
        super().__init__([], {**info, "family": ModelFamily.UNKNOWN})

    async def create(self, messages: Sequence[LLMMessage], *, tools: Any = (), **given: Any) -> CreateResult:
        call = _next(messages[-1], tools)
        content: Any = "Done."
        if call is not None:
            content = [FunctionCall(f"call-{len(messages)}", json.dumps(call.arguments), call.tool)]
        usage = RequestUsage(prompt_tokens=0, completion_tokens=0)
        reason = "stop" if call is None else "function_calls"
        self.chat_completions.append(
            CreateResult(finish_reason=reason, content=content, usage=usage, cached=False)
        )
        return await super().create(messages, tools=tools, **given)


def _next(message: LLMMessage, tools: Any) -> Call | None:
    if isinstance(message, FunctionExecutionResultMessage):
        return go_on("\n".join(result.content for result in message.content))
    return begin([(tool["name"], tool["description"], tool["parameters"]) for tool in tools])


def parameters() -> StdioServerParams | StreamableHttpServerParams:
    if "command" in SERVER:
        return StdioServerParams(command=SERVER["command"], args=SERVER["args"], env=SERVER["env"])
    return StreamableHttpServerParams(url=SERVER["url"], headers=SERVER["headers"])


async def main() -> None:
    async with McpWorkbench(parameters()) as workbench:
        agent = AssistantAgent("musician", Puppet(), workbench=workbench, max_tool_iterations=1_000)
        await agent.run(task="Make it longer.")


asyncio.run(main())
