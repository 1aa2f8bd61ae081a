"""Functions become tools: strict about their arguments, terse about their schemas, with errors that the agent reads."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool

from outpaint_mcp.errors import OutpaintError
from outpaint_mcp.models import OutpaintRequest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Container

    from mcp.types import CallToolResult, ToolAnnotations


def tool(function: Callable[..., Awaitable[CallToolResult]], annotations: ToolAnnotations) -> Tool:
    """Make a tool of a function whose docstring is its prompt."""
    made = Tool.from_function(_told(function), title=annotations.title, annotations=annotations)
    made.description = " ".join(made.description.split())
    arguments = made.fn_metadata.arg_model
    # The SDK drops unknown arguments silently: a mistyped duration would be carried out with the default.
    # The title stands in every argument error, where the agent looks for what it should have written.
    names = ", ".join(arguments.model_fields)
    arguments.model_config |= {
        "extra": "forbid",
        "hide_input_in_errors": True,
        "title": f"{made.name}, which takes {names}",
    }
    arguments.model_rebuild(force=True)
    made.parameters = _terse(arguments.model_json_schema(), titled=OutpaintRequest.model_fields)
    # Nobody chooses among the words of an answer: they are told, not listed.
    made.fn_metadata.output_schema = _terse(made.fn_metadata.output_schema or {}, without=("enum",))
    return made


def _terse(
    schema: dict[str, Any], *, titled: Container[str] = (), without: Container[str] = ()
) -> dict[str, Any]:
    """Leave out titles that only repeat a name and references to one line: every agent carries this along."""
    definitions = schema.pop("$defs", {})

    def told(part: Any, name: str = "") -> Any:  # noqa: ANN401 - JSON
        if isinstance(part, list):
            return [told(each) for each in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            inner = told(definitions[part["$ref"].removeprefix("#/$defs/")])
            inner.pop("description", None)
            return inner
        return {
            key: {each: told(of, each) for each, of in value.items()} if key == "properties" else told(value)
            for key, value in part.items()
            if (key != "title" or name in titled) and key not in without
        }

    terse: dict[str, Any] = told(schema)
    return terse


def _told(function: Callable[..., Awaitable[CallToolResult]]) -> Callable[..., Awaitable[CallToolResult]]:
    """Turn our errors into errors that the agent reads; everything else stays a crash."""

    @functools.wraps(function)
    async def tool(*args: Any, **kwargs: Any) -> CallToolResult:  # noqa: ANN401 - passed through
        try:
            return await function(*args, **kwargs)
        except OutpaintError as exc:
            raise ToolError(str(exc)) from exc

    return tool
