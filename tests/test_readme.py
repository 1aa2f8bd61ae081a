"""The README is a promise: its tool docs are generated, and its settings are those that are read."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from outpaint_mcp import config
from outpaint_mcp.cli import main
from outpaint_mcp.providers.registry import PROVIDERS
from outpaint_mcp.server import http
from outpaint_mcp.server.tools import all_tools

if TYPE_CHECKING:
    from types import ModuleType

    import pytest

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
START, END = "<!-- tools: generated, see tests/test_readme.py -->\n", "<!-- /tools -->"


def tool_docs() -> str:
    """Markdown for every tool, from what an agent is told of it."""
    tools = all_tools("local")
    others = [
        f"With the provider `{name}`, `{tools[0].name}` says instead: {registered.description.tool_text}\n"
        for name, registered in PROVIDERS.items()
        if name != "local"
    ]
    return "\n".join([*(_tool_doc(tool.name, tool.description, tool.parameters) for tool in tools), *others])


def _tool_doc(name: str, description: str, parameters: dict[str, Any]) -> str:
    rows = [
        f"| `{argument}` | {_type(schema)} | {_default(argument, schema, parameters)} | {schema['description']} |"
        for argument, schema in parameters["properties"].items()
    ]
    return "\n".join(
        [f"**`{name}`** {description}\n", "| argument | type | default | |", "|---|---|---|---|", *rows, ""]
    )


def _type(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    bounds = [f"{schema[bound]:,.0f}" for bound in ("minimum", "maximum") if bound in schema]
    within = " to ".join(bounds) if "maximum" in schema else f"{''.join(bounds)} or more"
    return str(schema["type"]) + (f", {within}" if bounds else "")


def _default(argument: str, schema: dict[str, Any], parameters: dict[str, Any]) -> str:
    return "required" if argument in parameters.get("required", ()) else f"`{json.dumps(schema['default'])}`"


def test_the_tool_docs_are_those_of_the_tools(pytestconfig: pytest.Config) -> None:
    text = README.read_text()
    start, end = text.index(START) + len(START), text.index(END)
    if pytestconfig.getoption("--update-snapshots"):
        README.write_text(text[:start] + tool_docs() + text[end:])
    else:
        assert text[start:end] == tool_docs(), "run pytest --update-snapshots"


def variables(*packages: ModuleType) -> set[str]:
    """Every variable that packages read, one of RunComfy's for each that means the same."""
    folders = [Path(package.__path__[0]) for package in packages]
    texts = "".join(path.read_text() for folder in folders for path in folder.glob("*.py"))
    read = set(re.findall(r'"((?:OUTPAINT|RUNCOMFY)_[A-Z_]+)"', texts))
    return read - {"RUNCOMFY_TOKEN", "RUNCOMFY_API_KEY", "RUNCOMFY_CONFIG_DIR"}


def test_the_settings_table_names_every_variable_that_is_read() -> None:
    assert set(
        re.findall(r"^\| `((?:OUTPAINT|RUNCOMFY)_[A-Z_]+)`", README.read_text(), re.MULTILINE)
    ) == variables(config, http)


def test_the_exit_codes_are_those_that_the_command_line_ends_with() -> None:
    codes = [int(code) for code in re.findall(r"^\| (\d+) \|", README.read_text(), re.MULTILINE)]
    others = {main._CANCELLED_EXIT_CODE, main._CLOSED_PIPE_EXIT_CODE}
    assert codes == sorted({*main._EXIT_CODES.values(), *others})


def test_server_json_names_every_variable_that_is_read_over_stdio() -> None:
    (package,) = json.loads((ROOT / "server.json").read_text())["packages"]
    assert {each["name"] for each in package["environmentVariables"]} == variables(config)


def test_server_json_calls_the_token_a_secret() -> None:
    (package,) = json.loads((ROOT / "server.json").read_text())["packages"]
    secrets = [each["name"] for each in package["environmentVariables"] if each.get("isSecret")]
    assert secrets == ["RUNCOMFY_API_TOKEN"]


def test_whatever_is_to_be_installed_comes_from_the_checkout() -> None:
    """No package of this name is published: whoever finds one under it finds somebody else's."""
    texts = [README, *(ROOT / "src").rglob("*.py")]
    lines = [
        line for text in texts for line in re.findall(r"(?:pip|tool) install .*", text.read_text("utf-8"))
    ]
    assert lines
    assert not [line for line in lines if re.search(r"install (-\S+ )*[\"']?outpaint", line)]
