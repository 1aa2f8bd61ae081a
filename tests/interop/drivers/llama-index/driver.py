"""LlamaIndex: a function agent with the tools of an MCP client, a session for each call, and a mock model."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, MessageRole, ToolCallBlock
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.tools.mcp import BasicMCPClient, McpToolSpec
from model import SERVER, Call, begin, go_on

if TYPE_CHECKING:
    from collections.abc import Sequence


def respond(messages: Sequence[ChatMessage], tools: Any = (), **_: Any) -> ChatMessage:
    call = _next(messages[-1], tools)
    if call is None:
        return ChatMessage(role=MessageRole.ASSISTANT, content="Done.")
    block = ToolCallBlock(
        tool_call_id=f"call-{len(messages)}", tool_name=call.tool, tool_kwargs=call.arguments
    )
    return ChatMessage(role=MessageRole.ASSISTANT, blocks=[block])


def _next(message: ChatMessage, tools: Any) -> Call | None:
    if message.role == MessageRole.TOOL:
        pictures = [block for block in message.blocks if isinstance(block, ImageBlock)]
        return go_on(message.content or "", len(pictures))
    offered = [tool.metadata.to_openai_tool(skip_length_check=True)["function"] for tool in tools]
    return begin([(each["name"], each["description"], each["parameters"]) for each in offered])


def client() -> BasicMCPClient:
    if "command" in SERVER:
        return BasicMCPClient(SERVER["command"], args=SERVER["args"], env=SERVER["env"])
    return BasicMCPClient(SERVER["url"], headers=SERVER["headers"])


async def main() -> None:
    tools = await McpToolSpec(client()).to_tool_list_async()
    agent = FunctionAgent(
        tools=tools, llm=MockFunctionCallingLLM(response_generator=respond, is_chat_model=True)
    )
    await agent.run("Make it longer.", max_iterations=1_000)


asyncio.run(main())
