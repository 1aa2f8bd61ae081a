"""The player as the server serves it; tests/browser has what it does."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from mcp.server.apps import APP_MIME_TYPE
from mcp.types import TextResourceContents

from outpaint_mcp.server.player import URI

if TYPE_CHECKING:
    from mcp.client import Client

pytestmark = pytest.mark.anyio


async def test_a_host_finds_the_page_at_the_tool_that_has_the_result(client: Client) -> None:
    bound = {tool.name: tool.meta for tool in (await client.list_tools()).tools if tool.meta}
    assert bound == {"get_outpaint_result": {"ui": {"resourceUri": URI}}}
    [page] = (await client.read_resource(URI)).contents
    assert page.mime_type == APP_MIME_TYPE
    assert isinstance(page, TextResourceContents)
    assert page.text.startswith("<!doctype html>")


async def test_the_page_is_small_whole_and_loads_nothing(client: Client) -> None:
    [page] = (await client.read_resource(URI)).contents
    assert isinstance(page, TextResourceContents)
    assert len(page.text.encode()) < 60_000
    assert not re.findall(r"""\b(?:src|href|import|fetch|url)\b\s*[=(]\s*["']?(?:https?:)?//""", page.text)
    assert "/* script */" not in page.text
    assert "/* style.css */" not in page.text
    assert page.text.count("</script>") == page.text.count("<script>") == 1
