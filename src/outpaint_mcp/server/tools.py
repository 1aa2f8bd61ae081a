"""The tools an agent sees: thin, strict about their arguments, short in their answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from mcp.server.mcpserver import Context
from mcp.types import CallToolResult, ToolAnnotations
from pydantic import Field

from outpaint_mcp.export_options import ExportOptions, Format, Part
from outpaint_mcp.models import (
    NO_BOOL,
    Audio,
    ExtendAfterDuration,
    ExtendBeforeDuration,
    Lyrics,
    Seed,
    SourceEndSeconds,
    SourceStartSeconds,
    Status,
    SubmitRequest,
    Tags,
    Takes,
)
from outpaint_mcp.providers.registry import describe
from outpaint_mcp.reports.models import (
    AnalysisReport,
    Cancellation,
    RequestList,
    ResultReport,
    StatusReport,
    Submission,
)
from outpaint_mcp.server.content import Lifespan, answer, caller, image, links, reporter
from outpaint_mcp.server.schemas import tool

if TYPE_CHECKING:
    from mcp.server.mcpserver.tools import Tool

# Hosts give up on a call after 60 seconds at the earliest that still let a tool wait.
MAX_WAIT_SECONDS = 45.0
AnyAudio = Annotated[
    Audio,
    Field(
        description="Source audio to extend. Provide an HTTPS URL to an MP3, WAV, or FLAC file (up to 60 minutes)."
        " Also accepts a path or file:// URL in the allowed folders, a data: URI, or an earlier request_id, to extend"
        " its result."
    ),
]
RequestId = Annotated[str, Field(description="As returned by submit_outpaint.")]
WaitSeconds = Annotated[
    float,
    Field(ge=0, le=MAX_WAIT_SECONDS, allow_inf_nan=False, description="Seconds to wait for it to end."),
    NO_BOOL,
]


async def submit_outpaint(  # noqa: PLR0913 - the model's input schema, field by field, and ours
    ctx: Context[Lifespan, Any],
    audio: AnyAudio,
    tags: Tags,
    extend_before_duration: ExtendBeforeDuration = 0,
    extend_after_duration: ExtendAfterDuration = 30,
    lyrics: Lyrics = "",
    seed: Seed = -1,
    source_start_seconds: SourceStartSeconds = 0,
    source_end_seconds: SourceEndSeconds = 0,
    takes: Takes = 1,
) -> Annotated[CallToolResult, Submission]:
    """Extend a recording with new music before it, after it, or both. Returns a request_id; then call
    get_outpaint_result with it and wait_seconds=45, again until it is completed.
    {provider}
    An identical request within ten minutes returns the existing one; for a different take, pass another seed.
    """
    request = SubmitRequest.of(
        audio=audio,
        tags=tags,
        extend_before_duration=extend_before_duration,
        extend_after_duration=extend_after_duration,
        lyrics=lyrics,
        seed=seed,
        source_start_seconds=source_start_seconds,
        source_end_seconds=source_end_seconds,
        takes=takes,
    )
    service = await ctx.request_context.lifespan_context()
    return answer(await service.submit(request, caller=caller(ctx)))


async def get_outpaint_status(
    ctx: Context[Lifespan, Any], request_id: RequestId, wait_seconds: WaitSeconds = 0
) -> Annotated[CallToolResult, StatusReport]:
    """Get a request's status, even days later or from another process. `unknown` means it was sent to the provider but
    the reply was lost; it is never resubmitted automatically. For the file, call get_outpaint_result, which waits too.
    """
    service = await ctx.request_context.lifespan_context()
    return answer(await service.status(request_id, wait_seconds=wait_seconds, on_update=reporter(ctx)))


async def get_outpaint_result(  # noqa: PLR0913 - what can be asked of a result
    ctx: Context[Lifespan, Any],
    request_id: RequestId,
    wait_seconds: WaitSeconds = 0,
    part: Annotated[Part, Field(description="before or after: only the music added on that side.")] = "whole",
    format: Annotated[Format, Field(description="source: lossless, at the source's bit depth.")] = "source",  # noqa: A002 - as people say
    restore_source: Annotated[  # noqa: FBT002 - named by the agent
        bool, Field(description="false: the provider's own file, with its rendering of the source.")
    ] = True,
) -> Annotated[CallToolResult, ResultReport]:
    """Deliver the extended file to the output folder. Returns its path, the verdict (measured seams, levels, lengths,
    and whether the source survived), and which take to keep. Until the request has ended, returns its status: call
    again. Tell the user the path and the verdict.
    """
    service = await ctx.request_context.lifespan_context()
    report = await service.result(
        request_id,
        wait_seconds=wait_seconds,
        options=ExportOptions(part=part, format=format, restore_source=restore_source),
        on_update=reporter(ctx),
    )
    return answer(report, *links(report))


async def cancel_outpaint(
    ctx: Context[Lifespan, Any], request_id: RequestId
) -> Annotated[CallToolResult, Cancellation]:
    """Cancel a request that has not ended, with all its takes; discards what was generated so far. One that has ended,
    or whose last step a hosted model is carrying out, stays as it is (not_cancellable).
    """
    service = await ctx.request_context.lifespan_context()
    return answer(await service.cancel(request_id))


async def list_outpaints(
    ctx: Context[Lifespan, Any],
    limit: Annotated[
        int, Field(ge=1, le=100, description="Maximum number of requests to return."), NO_BOOL
    ] = 20,
    status: Annotated[
        Literal["any", "in_queue", "in_progress", "completed", "failed", "cancelled", "unknown"],
        Field(description="Return only requests with this status."),
    ] = "any",
) -> Annotated[CallToolResult, RequestList]:
    """List requests, newest first, with their status, files and costs, and the total spent. Use it to find a lost
    request_id.
    """
    service = await ctx.request_context.lifespan_context()
    return answer(await service.list(limit=limit, status=None if status == "any" else Status(status)))


async def analyze_audio(
    ctx: Context[Lifespan, Any],
    audio: Annotated[str, Field(description="As in submit_outpaint.")],
    details: Annotated[bool, Field(description="Include all measurements.")] = False,  # noqa: FBT002 - named by the agent
    picture: Annotated[bool, Field(description="Include an image: waveform and spectrogram.")] = False,  # noqa: FBT002 - as above
) -> Annotated[CallToolResult, AnalysisReport]:
    """Analyze a recording, or a result by its request_id: length, loudness, tempo, key, how it begins and ends,
    sections, and measured tags for submit_outpaint. Free. Call it before submitting if tags matter.
    """
    service = await ctx.request_context.lifespan_context()
    report, drawn = await service.analyze(audio, details=details, picture=picture, on_update=reporter(ctx))
    return answer(report, *image(drawn))


def all_tools(provider: str) -> list[Tool]:
    """Build the tools as a server registers them whose new requests go to this provider."""
    return [
        tool(
            submit_outpaint,
            ToolAnnotations(
                title="Extend a recording",
                read_only_hint=False,
                destructive_hint=False,
                idempotent_hint=False,
                open_world_hint=True,
            ),
            provider=describe(provider).tool_text,
        ),
        tool(
            get_outpaint_status,
            ToolAnnotations(title="Status of an outpaint", read_only_hint=True, open_world_hint=False),
        ),
        tool(
            get_outpaint_result,
            ToolAnnotations(
                title="Result of an outpaint",
                read_only_hint=False,
                destructive_hint=False,
                idempotent_hint=True,
                open_world_hint=False,
            ),
        ),
        tool(
            cancel_outpaint,
            ToolAnnotations(
                title="Cancel an outpaint",
                read_only_hint=False,
                destructive_hint=True,
                idempotent_hint=True,
                open_world_hint=False,
            ),
        ),
        tool(
            list_outpaints,
            ToolAnnotations(title="List outpaints", read_only_hint=True, open_world_hint=False),
        ),
        tool(
            analyze_audio, ToolAnnotations(title="Analyze audio", read_only_hint=True, open_world_hint=True)
        ),
    ]
