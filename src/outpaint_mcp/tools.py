"""The tools an agent sees: thin, strict about what they take, short in what they answer."""

from __future__ import annotations

import functools
import json
import mimetypes
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from mcp.types import CallToolResult, ContentBlock, ResourceLink, TextContent, ToolAnnotations
from pydantic import BaseModel, Field

from outpaint_mcp.errors import OutpaintError
from outpaint_mcp.models import (
    NO_BOOL,
    Audio,
    Cancellation,
    ExtendAfterDuration,
    ExtendBeforeDuration,
    Lyrics,
    OutpaintRequest,
    RequestList,
    ResultReport,
    Seed,
    Status,
    StatusReport,
    Submission,
    Tags,
)
from outpaint_mcp.opening import DeskOnDemand
from outpaint_mcp.reports import in_words

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Container

    from outpaint_mcp.provider import ProviderStatus
    from outpaint_mcp.watch import OnUpdate

# Hosts give up on a call after 60 seconds at the earliest that still let a tool wait.
MAX_WAIT_SECONDS = 45.0
# Some hosts give up on a call from which they hear nothing.
_SIGN_OF_LIFE_SECONDS = 5.0

Lifespan = DeskOnDemand
"""What the server's tools work with."""

AnyAudio = Annotated[
    Audio,
    Field(
        description="Source audio to extend. Provide an HTTPS URL to an MP3, WAV, or FLAC file (up to 60 minutes)."
        " Here also: a path or file:// URL inside the allowed folders, a data: URI, or the request_id of an"
        " earlier outpaint, whose longer file is then extended."
    ),
]
RequestId = Annotated[str, Field(description="The id that submit_outpaint gave.")]
WaitSeconds = Annotated[
    float,
    Field(
        ge=0,
        le=MAX_WAIT_SECONDS,
        allow_inf_nan=False,
        description="Wait up to so many seconds for the request to end; 0 answers at once.",
    ),
    NO_BOOL,
]


async def submit_outpaint(  # noqa: PLR0913 - the model's input schema, field by field
    ctx: Context[Lifespan, Any],
    audio: AnyAudio,
    tags: Tags,
    extend_before_duration: ExtendBeforeDuration = 0,
    extend_after_duration: ExtendAfterDuration = 30,
    lyrics: Lyrics = "",
    seed: Seed = -1,
) -> Annotated[CallToolResult, Submission]:
    """Make a recording longer: new music before it, after it, or both. Answers within seconds with a request_id;
    then call get_outpaint_result with it and wait_seconds=45, again until it is completed.
    Provider runcomfy (where a token is set): a generative model that tags and lyrics steer; costs money, as the
    answer estimates, so never submit again because a call timed out. Provider local (otherwise): free, carries
    the track's own material on, tags and lyrics do not steer it. The same request within ten minutes is answered
    with the first one's request_id; for another take give another seed."""
    request = OutpaintRequest.of(
        audio=audio,
        tags=tags,
        extend_before_duration=extend_before_duration,
        extend_after_duration=extend_after_duration,
        lyrics=lyrics,
        seed=seed,
    )
    desk = await ctx.request_context.lifespan_context()
    return _answer(await desk.submit(request, caller=_caller(ctx)))


async def get_outpaint_status(
    ctx: Context[Lifespan, Any], request_id: RequestId, wait_seconds: WaitSeconds = 0
) -> Annotated[CallToolResult, StatusReport]:
    """Say where a request stands: in_queue, in_progress, completed, failed, cancelled, or unknown (sent, but the
    answer was lost; never sent again by itself). Works for requests made days ago or by another process. To get
    the file, call get_outpaint_result instead; it waits as well."""
    desk = await ctx.request_context.lifespan_context()
    return _answer(await desk.status(request_id, wait_seconds=wait_seconds, on_update=_reporter(ctx)))


async def get_outpaint_result(
    ctx: Context[Lifespan, Any], request_id: RequestId, wait_seconds: WaitSeconds = 0
) -> Annotated[CallToolResult, ResultReport]:
    """Deliver the longer file into the output folder and say where it is (path, url, durations, sha256). While the
    request has not ended, says where it stands: call again. Tell the person the path."""
    desk = await ctx.request_context.lifespan_context()
    report = await desk.result(request_id, wait_seconds=wait_seconds, on_update=_reporter(ctx))
    return _answer(report, *_links(report))


async def cancel_outpaint(
    ctx: Context[Lifespan, Any], request_id: RequestId
) -> Annotated[CallToolResult, Cancellation]:
    """Stop a request that has not ended; what was made of it so far is thrown away. A request that has ended, or
    whose last step a hosted model is carrying out, stays as it is (outcome not_cancellable)."""
    desk = await ctx.request_context.lifespan_context()
    return _answer(await desk.cancel(request_id))


async def list_outpaints(
    ctx: Context[Lifespan, Any],
    limit: Annotated[int, Field(ge=1, le=100, description="At most so many."), NO_BOOL] = 20,
    status: Annotated[
        Literal["any", "in_queue", "in_progress", "completed", "failed", "cancelled", "unknown"],
        Field(description="Only requests that stand here."),
    ] = "any",
) -> Annotated[CallToolResult, RequestList]:
    """List requests, newest first, with their states, files and costs, and what was spent in all: use it to find
    a lost request_id."""
    desk = await ctx.request_context.lifespan_context()
    return _answer(await desk.list(limit=limit, status=None if status == "any" else Status(status)))


def all_tools() -> list[Tool]:
    """Build the tools as the server registers them."""
    return [
        _tool(
            submit_outpaint,
            ToolAnnotations(
                title="Extend a recording",
                read_only_hint=False,
                destructive_hint=False,
                idempotent_hint=False,
                open_world_hint=True,
            ),
        ),
        _tool(
            get_outpaint_status,
            ToolAnnotations(title="Status of an outpaint", read_only_hint=True, open_world_hint=False),
        ),
        _tool(
            get_outpaint_result,
            ToolAnnotations(
                title="Result of an outpaint",
                read_only_hint=False,
                destructive_hint=False,
                idempotent_hint=True,
                open_world_hint=False,
            ),
        ),
        _tool(
            cancel_outpaint,
            ToolAnnotations(
                title="Cancel an outpaint",
                read_only_hint=False,
                destructive_hint=True,
                idempotent_hint=True,
                open_world_hint=False,
            ),
        ),
        _tool(
            list_outpaints,
            ToolAnnotations(title="List outpaints", read_only_hint=True, open_world_hint=False),
        ),
    ]


def _tool(function: Callable[..., Awaitable[CallToolResult]], annotations: ToolAnnotations) -> Tool:
    tool = Tool.from_function(_told(function), title=annotations.title, annotations=annotations)
    tool.description = " ".join(tool.description.split())
    arguments = tool.fn_metadata.arg_model
    # The SDK drops unknown arguments silently: a mistyped duration would be carried out with the default.
    # The title stands in every argument error, where the agent looks for what it should have written.
    names = ", ".join(arguments.model_fields)
    arguments.model_config |= {
        "extra": "forbid",
        "hide_input_in_errors": True,
        "title": f"{tool.name}, which takes {names}",
    }
    arguments.model_rebuild(force=True)
    tool.parameters = _terse(arguments.model_json_schema(), keep=OutpaintRequest.model_fields)
    tool.fn_metadata.output_schema = _terse(tool.fn_metadata.output_schema or {})
    return tool


def _terse(schema: dict[str, Any], *, keep: Container[str] = ()) -> dict[str, Any]:
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
            if key != "title" or name in keep
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


def _answer(report: BaseModel, *links: ContentBlock) -> CallToolResult:
    """Say the same twice, as hosts read one or the other: as text and as structure, absent values left out."""
    structure = report.model_dump(mode="json", exclude_none=True)
    text = json.dumps(structure, ensure_ascii=False, separators=(",", ":"))
    return CallToolResult(content=[TextContent(type="text", text=text), *links], structured_content=structure)


def _caller(ctx: Context[Lifespan, Any]) -> str:
    """Who asks, over HTTP; empty over stdio, where the server is one person's."""
    token = get_access_token()
    if token is not None:
        return token.subject or token.client_id
    return "" if ctx.headers is None else "http"


def _links(report: ResultReport) -> list[ContentBlock]:
    if report.path is None:
        return []
    return [
        ResourceLink(
            type="resource_link",
            name=report.path.replace("\\", "/").rsplit("/", 1)[-1],
            uri=Path(report.path).as_uri(),
            mime_type=mimetypes.guess_type(report.path)[0] or "application/octet-stream",
            size=report.size_bytes,
        )
    ]


def _reporter(ctx: Context[Lifespan, Any]) -> OnUpdate:
    """Pass news on while a call waits; with a number that only ever grows, as the protocol asks."""
    told: ProviderStatus | None = None
    told_at = share = 0.0

    async def report(seen: ProviderStatus) -> None:
        nonlocal told, told_at, share
        now = time.monotonic()
        if seen == told and now - told_at < _SIGN_OF_LIFE_SECONDS:
            return
        told, told_at, share = seen, now, max(share + 1e-6, seen.progress or 0.0)
        await ctx.report_progress(share, 1.0, in_words(seen))

    return report
