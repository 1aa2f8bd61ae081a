"""The tools an agent sees: thin, strict about their arguments, short in their answers."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any, Literal

from mcp.server.mcpserver import Context
from mcp.types import CallToolResult, ToolAnnotations
from pydantic import Field

from outpaint_mcp.export_options import ExportOptions, Format, Part
from outpaint_mcp.fields import (
    NO_BOOL,
    Beginning,
    Ending,
    Placement,
    SourceEndSeconds,
    SourceStartSeconds,
    Takes,
    TotalSeconds,
)
from outpaint_mcp.models import (
    ExtendAfterDuration,
    ExtendBeforeDuration,
    Lyrics,
    Seed,
    Status,
    SubmitRequest,
    Tags,
)
from outpaint_mcp.providers.registry import PROVIDERS, describe
from outpaint_mcp.reports.models import (
    AnalysisReport,
    AudioList,
    Cancellation,
    RequestList,
    ResultReport,
    StatusReport,
    SubmitAnswer,
)
from outpaint_mcp.server.agreement import Agreed
from outpaint_mcp.server.arguments import (
    MAX_WAIT_SECONDS,
    AnyAudio,
    Bitrate,
    ProviderName,
    RequestId,
    SaveAs,
    WaitSeconds,
)
from outpaint_mcp.server.content import Lifespan, answer, image, principal, reporter
from outpaint_mcp.server.player import shown_by_player
from outpaint_mcp.server.questions import Meant, PlanAgreed
from outpaint_mcp.server.schemas import tool
from outpaint_mcp.service.destinations import fit_format

if TYPE_CHECKING:
    from mcp.server.mcpserver.tools import Tool


async def submit_outpaint(  # noqa: PLR0913 - the model's input schema, field by field, and ours
    ctx: Context[Lifespan, Any],
    source: Meant,
    agreed: PlanAgreed,  # noqa: ARG001 - the person has been asked by now, where there was something to ask
    audio: AnyAudio,  # noqa: ARG001 - what is meant by it is the source
    tags: Tags,
    extend_before_duration: ExtendBeforeDuration = 0,
    extend_after_duration: ExtendAfterDuration = 30,
    lyrics: Lyrics = "",
    seed: Seed = -1,
    source_start_seconds: SourceStartSeconds = 0,
    source_end_seconds: SourceEndSeconds = 0,
    takes: Takes = 1,
    total_seconds: TotalSeconds = 0,
    placement: Placement = "natural",
    beginning: Beginning = "natural",
    ending: Ending = "natural",
    provider: ProviderName = "",
    dry_run: Annotated[  # noqa: FBT002 - named by the agent
        bool, Field(description="Start nothing: return the plan, length, cost, time and warnings.")
    ] = False,
) -> Annotated[CallToolResult, SubmitAnswer]:
    """Make a recording longer. Returns a request_id; then call get_outpaint_result until it is completed.
    Longer: extend_after_duration. Intro: extend_before_duration, and extend_after_duration=0. Exactly N, up to two
    hours: total_seconds, in one request. An ending for an abrupt one: extend_after_duration=8. "Carry on from 1:23":
    source_end_seconds=83. Keep beginning and ending: placement=inside. Endless loop: ending=loop. "The first one, but
    longer": that take's request_id as audio. Originals and earlier files are never changed: to undo, go back to the
    earlier one. An identical request within ten minutes returns the existing one; another seed gives another take.
    {provider}
    """
    request = SubmitRequest.of(
        audio=source,
        tags=tags,
        extend_before_duration=extend_before_duration,
        extend_after_duration=extend_after_duration,
        lyrics=lyrics,
        seed=seed,
        source_start_seconds=source_start_seconds,
        source_end_seconds=source_end_seconds,
        takes=takes,
        total_seconds=total_seconds,
        placement=placement,
        beginning=beginning,
        ending=ending,
    )
    service = await ctx.request_context.lifespan_context()
    if dry_run:
        return answer(await service.foresee(principal(), request, provider=provider))
    return answer(await service.submit(principal(), request, provider=provider))


async def get_outpaint_status(
    ctx: Context[Lifespan, Any], request_id: RequestId, wait_seconds: WaitSeconds = 0
) -> Annotated[CallToolResult, StatusReport]:
    """Get a request's status, even days later. `unknown`: it was sent to the provider, but the reply was lost; it is
    never resubmitted automatically. For the file, call get_outpaint_result, which waits too.
    """
    service = await ctx.request_context.lifespan_context()
    report = await service.status(principal(), request_id, wait_seconds=wait_seconds, on_update=reporter(ctx))
    return answer(report)


async def get_outpaint_result(  # noqa: PLR0913 - what can be asked of a result
    ctx: Context[Lifespan, Any],
    agreed: Agreed,  # noqa: ARG001 - the person has been asked by now, where there was something to ask
    request_id: RequestId,
    wait_seconds: WaitSeconds = 0,
    part: Annotated[Part, Field(description="before or after: only the music added on that side.")] = "whole",
    format: Annotated[Format, Field(description="source: lossless, as deep as the source.")] = "source",  # noqa: A002 - as people say
    bitrate_kbps: Bitrate = 0,
    save_as: SaveAs = "",
    restore_source: Annotated[  # noqa: FBT002 - named by the agent
        bool, Field(description="false: the provider's own file, with its rendering of the source.")
    ] = True,
    details: Annotated[bool, Field(description="Include sha256 and size_bytes.")] = False,  # noqa: FBT002 - as above
) -> Annotated[CallToolResult, ResultReport]:
    """Deliver the extended file. Returns its path or url, what was written (as measured), the verdict (seams, levels,
    lengths, whether the source survived), and which take to keep. Until the file is written, returns the request's
    status: call again. Use wait_seconds=45, or 3 if your calls are cut off sooner; the work goes on. Tell the user the
    path or url, and the verdict.
    """
    options = ExportOptions(part=part, format=format, restore_source=restore_source)
    options = dataclasses.replace(fit_format(save_as, options), bitrate_kbps=bitrate_kbps or None)
    service = await ctx.request_context.lifespan_context()
    report = await service.result(
        principal(),
        request_id,
        wait_seconds=wait_seconds,
        options=options,
        on_update=reporter(ctx),
        save_as=save_as,
        details=details,
    )
    return answer(report)


async def cancel_outpaint(
    ctx: Context[Lifespan, Any], request_id: RequestId
) -> Annotated[CallToolResult, Cancellation]:
    """Cancel a request that has not ended, with all its takes, or one take by its own id; discards what was generated
    so far. One that has ended, or whose last step a hosted model is carrying out, stays as it is (not_cancellable).
    """
    service = await ctx.request_context.lifespan_context()
    return answer(await service.cancel(principal(), request_id))


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
    """List requests, newest first, with their status, takes, files and costs, and the total spent. Use it to find a
    lost request_id.
    """
    service = await ctx.request_context.lifespan_context()
    return answer(
        await service.list(principal(), limit=limit, status=None if status == "any" else Status(status))
    )


async def analyze_audio(  # noqa: PLR0913 - what can be asked of an analysis
    ctx: Context[Lifespan, Any],
    source: Meant,
    audio: Annotated[str, Field(description="As in submit_outpaint.")],  # noqa: ARG001 - as above
    wait_seconds: WaitSeconds = MAX_WAIT_SECONDS,
    details: Annotated[bool, Field(description="Include all measurements.")] = False,  # noqa: FBT002 - named by the agent
    picture: Annotated[bool, Field(description="Include an image: waveform and spectrogram.")] = False,  # noqa: FBT002 - as above
) -> Annotated[CallToolResult, AnalysisReport]:
    """Analyze a recording, or a result by its request_id: length, loudness, tempo, key, how it begins and ends,
    sections, and tags for submit_outpaint. Free. Call it again until it is completed; the work goes on when a call is
    cut off.
    """
    service = await ctx.request_context.lifespan_context()
    report, drawn = await service.analyze(
        principal(),
        source,
        wait_seconds=wait_seconds,
        details=details,
        picture=picture,
        on_update=reporter(ctx),
    )
    return answer(report, *image(drawn))


async def list_audio(
    ctx: Context[Lifespan, Any],
    folder: Annotated[str, Field(description="An allowed folder or one inside it. Empty: all.")] = "",
    query: Annotated[str, Field(description="Name, or words of it.")] = "",
    limit: Annotated[
        int, Field(ge=1, le=100, description="Maximum number of files to return."), NO_BOOL
    ] = 20,
) -> Annotated[CallToolResult, AudioList]:
    """List the audio files in the allowed folders and earlier results, with length and date: newest first, or best
    match first. Pass a name, or a result's request_id, as audio to the other tools.
    """
    service = await ctx.request_context.lifespan_context()
    return answer(await service.list_audio(principal(), folder=folder, query=query, limit=limit))


def all_tools(provider: str) -> list[Tool]:
    """Build the tools as a server registers them whose new requests go to this provider."""
    submit = tool(
        submit_outpaint,
        ToolAnnotations(
            title="Extend a recording",
            read_only_hint=False,
            destructive_hint=False,
            idempotent_hint=False,
            open_world_hint=True,
        ),
        provider=describe(provider).tool_text,
    )
    submit.parameters["properties"]["provider"] |= {
        "default": provider,
        "description": f"{_choices()} Default: {provider}.",
    }
    return [
        submit,
        tool(
            get_outpaint_status,
            ToolAnnotations(title="Status of an outpaint", read_only_hint=True, open_world_hint=False),
        ),
        shown_by_player(
            tool(
                get_outpaint_result,
                ToolAnnotations(
                    title="Result of an outpaint",
                    read_only_hint=False,
                    destructive_hint=False,
                    idempotent_hint=True,
                    open_world_hint=False,
                ),
            )
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
        tool(
            list_audio, ToolAnnotations(title="List audio files", read_only_hint=True, open_world_hint=False)
        ),
    ]


def _choices() -> str:
    """List the providers in a few words."""
    kinds = (
        f"{name}: {'generative, ' if each.description.is_generative else ''}"
        f"{'paid' if each.description.is_paid else 'free'}"
        for name, each in PROVIDERS.items()
    )
    return f"{'; '.join(kinds)}."
