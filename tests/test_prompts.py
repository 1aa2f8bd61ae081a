"""What a person picks from a menu becomes calls that the tools take."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from mcp.shared.exceptions import MCPError
from mcp.types import TextContent

from outpaint_mcp.server.tools import all_tools

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp.client import Client

pytestmark = pytest.mark.anyio

VALUES = {"audio": "My Song.wav", "seconds": "12.5", "length": "5:00", "takes": "4"}


async def rendered(client: Client, name: str, **arguments: str) -> str:
    [message] = (await client.get_prompt(name, arguments)).messages
    assert message.role == "user"
    assert isinstance(message.content, TextContent)
    return message.content.text


async def test_the_menu_and_its_texts(client: Client, check_snapshot: Callable[[str, Any], None]) -> None:
    prompts = (await client.list_prompts()).prompts
    assert [prompt.name for prompt in prompts] == [
        *("longer", "intro", "outro", "loop", "exact_length", "fix_ending", "compare_takes")
    ]
    shown = []
    for prompt in prompts:
        given = {each.name: VALUES[each.name] for each in prompt.arguments or ()}
        shown.append(
            prompt.model_dump(mode="json", by_alias=True, exclude_none=True)
            | {"text": await rendered(client, prompt.name, **given)}
        )
    check_snapshot("prompts", shown)


async def test_prompts_name_only_tools_and_arguments_that_there_are(client: Client) -> None:
    tools = {tool.name: tool.parameters["properties"] for tool in all_tools("local")}
    arguments = {name: field for tool in tools.values() for name, field in tool.items()}
    for prompt in (await client.list_prompts()).prompts:
        given = {each.name: VALUES[each.name] for each in prompt.arguments or ()}
        text = await rendered(client, prompt.name, **given)
        named = set(re.findall(r"\b[a-z]+_outpaint(?:_\w+)?\b|\banalyze_audio\b", text))
        assert named <= tools.keys()
        assert {"submit_outpaint", "get_outpaint_result"} <= named
        passed = re.findall(r'\b(\w+)=("[^"]*"|[^\s,.;)]+)', text)
        assert len(passed) >= 3
        for name, value in passed:
            assert name in arguments, name
            if choices := arguments[name].get("enum"):
                assert value.strip('"') in choices


async def test_what_is_left_out_has_its_default_and_words_are_quoted(client: Client) -> None:
    text = await rendered(client, "longer", audio='a "quoted" {name}.wav')
    assert 'audio="a \\"quoted\\" {name}.wav"' in text
    assert "extend_after_duration=30." in text
    assert "extend_after_duration=30." in await rendered(client, "longer", audio="a.wav", seconds=" ")
    assert 'total_seconds="5:00"' in await rendered(client, "exact_length", audio="a.wav", length="5:00")


async def test_what_has_to_be_given_is_asked_for(client: Client) -> None:
    for arguments in ({}, {"audio": " ", "length": "3"}, {"audio": "song.wav"}):
        with pytest.raises(MCPError):
            await client.get_prompt("exact_length", arguments)
