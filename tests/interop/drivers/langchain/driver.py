"""LangChain: an agent with the tools of an MCP client, by default a session for each call, and a fake model."""

from __future__ import annotations

import asyncio
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_mcp_adapters.client import MultiServerMCPClient
from model import SERVER, Call, begin, go_on


class Puppet(BaseChatModel):
    tools: tuple[Any, ...] = ()

    @property
    def _llm_type(self) -> str:
        return "puppet"

    def bind_tools(self, tools: Any, **_: Any) -> Puppet:
        return Puppet(tools=tuple(tools))

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        call = self._next(messages[-1])
        calls = (
            []
            if call is None
            else [{"name": call.tool, "args": call.arguments, "id": f"call-{len(messages)}"}]
        )
        answer = AIMessage("" if calls else "Done.", tool_calls=calls)
        return ChatResult(generations=[ChatGeneration(message=answer)])

    def _next(self, message: BaseMessage) -> Call | None:
        if not isinstance(message, ToolMessage):
            offered = [convert_to_openai_tool(tool)["function"] for tool in self.tools]
            return begin([(each["name"], each["description"], each["parameters"]) for each in offered])
        blocks = message.content_blocks
        kinds = [block["type"] for block in blocks]
        return go_on(str(message.text), kinds.count("image"))


def connection() -> dict[str, Any]:
    if "command" in SERVER:
        parameters = {key: SERVER[key] for key in ("command", "args", "env")}
        return {"transport": "stdio", **parameters}
    return {"transport": "streamable_http", "url": SERVER["url"], "headers": SERVER["headers"]}


async def main() -> None:
    tools = await MultiServerMCPClient({"outpaint": connection()}).get_tools()
    agent = create_agent(Puppet(), tools)
    await agent.ainvoke({"messages": [("user", "Make it longer.")]}, {"recursion_limit": 1_000})


asyncio.run(main())
