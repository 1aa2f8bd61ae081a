"""Functions become tools: strict about their arguments, terse about their schemas, with errors that the agent reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp.server.mcpserver.tools import Tool
from pydantic import ValidationError

from outpaint_mcp.errors import OutpaintError
from outpaint_mcp.inputs import refusal
from outpaint_mcp.models import OutpaintRequest
from outpaint_mcp.reports.wording import explain
from outpaint_mcp.server.content import explained, principal
from outpaint_mcp.server.wording import TOOLS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Container

    from mcp.server.mcpserver import Context
    from mcp.types import CallToolResult, ToolAnnotations


INJECTED_NAMES = frozenset({"action", "chatInput", "sessionId", "tool", "toolCallId"})
"""Arguments that hosts (n8n's agents among them) add to every call; no argument of ours may be called so."""


class OutpaintTool(Tool):
    """A tool that forgives what hosts add, and whose errors are sentences of our own, not the SDK's or pydantic's."""

    async def run(
        self,
        arguments: dict[str, Any],
        context: Context[Any, Any],
        convert_result: bool = False,  # noqa: FBT001, FBT002 - the SDK's
    ) -> Any:  # noqa: ANN401 - the SDK's
        """Check the arguments and call the function; errors of ours and wrong arguments become text for the agent.

        What hosts add is dropped, and so is `null` for an argument that may be left out: some send it for just that.

        Raises:
            ToolError: with that text.
            UnexpectedToolError: a bug of ours; the agent gets none of its text.
        """
        known = self.parameters["properties"]
        optional = known.keys() - set(self.parameters.get("required", ()))
        arguments = {
            name: value
            for name, value in arguments.items()
            if name not in INJECTED_NAMES and not (value is None and name in optional)
        }
        try:
            self.fn_metadata.validate_arguments(arguments)
            return await super().run(arguments, context, convert_result)
        except ValidationError as exc:
            takes = f"{self.name} takes {', '.join(known)}."
            raise ToolError(f"{explain(refusal(exc, self.parameters), TOOLS)} {takes}") from None
        except UnexpectedToolError as exc:
            if isinstance(exc.__cause__, OutpaintError):
                words = explained(exc.__cause__, is_remote=principal().is_remote)
                raise ToolError(words) from exc.__cause__
            raise


def tool(
    function: Callable[..., Awaitable[CallToolResult]], annotations: ToolAnnotations, **texts: str
) -> Tool:
    """Build a tool from a function whose docstring is its prompt.

    Args:
        function: the tool.
        annotations: its title and hints.
        texts: what goes into the prompt's braces.
    """
    built = OutpaintTool.from_function(function, title=annotations.title, annotations=annotations)
    built.description = " ".join(built.description.format(**texts).split())
    arguments = built.fn_metadata.arg_model
    # The SDK drops unknown arguments silently: a mistyped duration would be carried out with the default.
    arguments.model_config |= {"extra": "forbid", "hide_input_in_errors": True}
    arguments.model_rebuild(force=True)
    built.parameters = _terse(
        built.parameters | {"additionalProperties": False}, titled=OutpaintRequest.model_fields
    )
    for name in built.parameters.get("required", ()):
        field = built.parameters["properties"][name]
        if "default" in field:  # frameworks would fill it in
            field["examples"] = [field.pop("default")]
    # Nobody chooses among the values of an answer: they need no list.
    built.fn_metadata.output_schema = _terse(built.fn_metadata.output_schema or {}, without=("enum",))
    return built


def _terse(
    schema: dict[str, Any], *, titled: Container[str] = (), without: Container[str] = ()
) -> dict[str, Any]:
    """Leave out titles that only repeat a name and references to one line: every agent carries this along."""
    definitions = schema.pop("$defs", {})

    def shorten(part: Any, name: str = "") -> Any:  # noqa: ANN401 - JSON
        if isinstance(part, list):
            return [shorten(each) for each in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            inner = shorten(definitions[part["$ref"].removeprefix("#/$defs/")])
            inner.pop("description", None)
            return inner
        return {
            key: {each: shorten(of, each) for each, of in value.items()}
            if key == "properties"
            else shorten(value)
            for key, value in part.items()
            if (key != "title" or name in titled) and key not in without
        }

    terse: dict[str, Any] = shorten(schema)
    return terse
