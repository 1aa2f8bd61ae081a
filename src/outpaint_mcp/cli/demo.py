"""The demo: an MCP client starts this server over stdio and extends a short piece with its tools."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from mcp.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.types import CallToolResult, TextContent

from outpaint_mcp.cli.demo_music import compose_piece
from outpaint_mcp.errors import GenerationFailed

if TYPE_CHECKING:
    from pathlib import Path

_WAIT_SECONDS = 45


async def run_demo(folder: Path) -> None:
    """Compose a piece into the folder, extend it through the tools, and print every call and answer.

    Raises:
        GenerationFailed: a tool answered with an error.
    """
    piece = folder / "Outpaint demo.wav"
    if not piece.exists():
        part = piece.with_name(f".{piece.name}.{os.getpid()}.part")
        try:
            compose_piece(part)
            part.replace(piece)
        finally:
            part.unlink(missing_ok=True)
    print(f"A short piece, composed by this package: {piece}\n")
    server = StdioServerParameters(
        command=sys.executable,
        args=["-P", "-m", "outpaint_mcp"],
        # A demonstration costs nothing, even with a token.
        env=os.environ | {"OUTPAINT_OUTPUT_DIR": str(folder), "OUTPAINT_PROVIDER": "local"},
    )
    failure: GenerationFailed | None = None
    result: dict[str, Any] = {}
    async with Client(server, mode="auto") as client:
        try:
            result = await _extend(client, piece)
        except GenerationFailed as exc:  # raised in here, it would leave in an exception group
            failure = exc
    if failure is not None:
        raise failure
    if "path" not in result:
        raise GenerationFailed(result.get("error", result["message"]))
    print(f"The extended file ({result['duration_seconds']:g} s): {result['path']}")


async def _extend(client: Client, piece: Path) -> dict[str, Any]:
    """Submit the piece and wait for the result; returns the last answer."""
    submission = await _call(
        client,
        "submit_outpaint",
        audio=str(piece),
        tags="drums, bass, chords, 104 bpm",
        extend_before_duration=8,
        extend_after_duration=20,
    )
    result: dict[str, Any] = {"status": "in_queue"}
    while result["status"] in {"in_queue", "in_progress"}:
        result = await _call(
            client, "get_outpaint_result", request_id=submission["request_id"], wait_seconds=_WAIT_SECONDS
        )
    return result


async def _call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    print(f"→ {tool} {json.dumps(arguments, ensure_ascii=False)}")
    answer = await client.call_tool(tool, arguments, progress_callback=_show_progress)
    assert isinstance(answer, CallToolResult)  # noqa: S101 - no tool here asks back
    text = "".join(block.text for block in answer.content if isinstance(block, TextContent))
    print(f"← {text}\n")
    if answer.is_error:
        raise GenerationFailed(text)
    structure: dict[str, Any] = answer.structured_content or {}
    return structure


async def _show_progress(progress: float, total: float | None, message: str | None) -> None:
    print(f"  … {progress / (total or 1):.0%} {message or ''}")
