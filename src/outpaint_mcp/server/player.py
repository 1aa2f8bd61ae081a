"""The player: a page that hosts with MCP Apps show beside a result. In other hosts nothing of it is seen or missed."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from mcp.server.apps import Apps

if TYPE_CHECKING:
    from mcp.server.mcpserver.tools import Tool

URI = "ui://outpaint/player.html"
_SCRIPTS = ("bridge.js", "sound.js", "picture.js", "app.js")


def player() -> Apps:
    """Return the extension that serves the page."""
    apps = Apps()
    apps.add_html_resource(
        URI,
        page(),
        name="player",
        title="Outpaint player",
        description="Plays a result, from its seams and take against take; for hosts that show MCP Apps.",
        prefers_border=True,
    )
    return apps


def shown_by_player(tool: Tool) -> Tool:
    """Have hosts show the page beside what a tool answers."""
    tool.meta = {"ui": {"resourceUri": URI}}
    return tool


def page() -> str:
    """Put the page together: one file, which loads nothing."""
    folder = files(__package__) / "player_page"
    text = {each: (folder / each).read_text("utf-8") for each in ("page.html", "style.css", *_SCRIPTS)}
    return (
        text["page.html"]
        .replace("/* style.css */", text["style.css"])
        .replace("/* script */", "\n".join(text[each] for each in _SCRIPTS))
    )
