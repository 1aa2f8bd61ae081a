"""The clients, in the order of the table."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "drivers"


@dataclass(frozen=True, slots=True)
class Client:
    """A client, by the folder of its driver and of what that needs.

    Attributes:
        folder: its folder's name.
        title: what people call it.
        modes: protocol eras that it is asked for one after the other, in its own words; an empty one is its default.
        is_quick: whether it is among those of CI.
    """

    folder: str
    title: str
    modes: tuple[str, ...] = ("",)
    is_quick: bool = False

    @property
    def path(self) -> Path:
        """Where its driver is."""
        return FOLDER / self.folder

    @property
    def driver(self) -> Path:
        """The program that has it call the tools."""
        (found,) = self.path.glob("driver.*")
        return found

    @property
    def pins(self) -> dict[str, str]:
        """The exact version of each package that is installed by name, the client itself first."""
        if (package := self.path / "package.json").exists():
            pins: dict[str, str] = json.loads(package.read_text("utf-8"))["dependencies"]
            return pins
        lines = (self.path / "requirements.txt").read_text("utf-8").split()
        return {name: version for name, _, version in (line.partition("==") for line in lines)}


CLIENTS = (
    Client("inspector", "MCP Inspector, command line", ("legacy", "modern"), is_quick=True),
    Client("python-sdk-2", "Python SDK 2", ("legacy", "2026-07-28"), is_quick=True),
    Client("python-sdk-1", "Python SDK 1"),
    Client("typescript-2", "TypeScript SDK 2", ("legacy", "2026-07-28")),
    Client("typescript-1", "TypeScript SDK 1"),
    Client("fastmcp", "FastMCP"),
    Client("openai-agents", "OpenAI Agents"),
    Client("langchain", "LangChain"),
    Client("pydantic-ai", "Pydantic AI"),
    Client("autogen", "AutoGen"),
    Client("google-adk", "Google ADK"),
    Client("llama-index", "LlamaIndex"),
)
