"""Questions to the person before a request is taken on, in hosts that can ask them: which file, and whether to pay.

Elsewhere the tool's own answer says what to pass, and what it costs.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any, Literal

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.resolve import AcceptedElicitation, Elicit, ElicitationResult, Resolve
from mcp.types import ClientCapabilities
from pydantic import BaseModel, Field, create_model

from outpaint_mcp.errors import InvalidRequest, OutpaintError
from outpaint_mcp.models import SubmitRequest
from outpaint_mcp.server.content import Lifespan, principal

# From this version on a question is part of an answer; before, it is a request of its own.
_QUESTIONS_IN_ANSWERS = "2026-07-28"


def can_fill_forms(capabilities: ClientCapabilities | None) -> bool:
    """Whether a client says that it shows forms to the person."""
    elicitation = capabilities.elicitation if capabilities else None
    return elicitation is not None and (elicitation.form is not None or elicitation.url is None)


def can_ask(ctx: Context[Lifespan, Any]) -> bool:
    """Whether the host can ask the person something in the middle of this call."""
    in_answer = (ctx.protocol_version or "") >= _QUESTIONS_IN_ANSWERS
    return can_fill_forms(ctx.client_capabilities) and (in_answer or ctx.session.can_send_request)


class Agreement(BaseModel):
    """What the person answers where something costs money."""

    agree: bool = Field(title="I agree", description="Go on, and pay what is named above.")


class FileChoice(BaseModel):
    """Which of several files the person means; `file` is one of them where they are asked."""

    file: str = Field(title="File")


async def _names(ctx: Context[Lifespan, Any], audio: str) -> tuple[str, ...]:
    if not can_ask(ctx):
        return ()
    service = await ctx.request_context.lifespan_context()
    return await service.files_meant(principal(), audio)


async def _ask_file(
    audio: str, names: Annotated[tuple[str, ...], Resolve(_names)]
) -> Elicit[FileChoice] | None:
    if not names:
        return None
    one_of_them: Any = Literal[names]
    choice = create_model("FileChoice", __base__=FileChoice, file=(one_of_them, Field(title="File")))
    return Elicit(f'"{audio}" fits {len(names)} files. Which of them is meant?', choice)


async def _meant(
    audio: str,
    names: Annotated[tuple[str, ...], Resolve(_names)],
    answer: Annotated[ElicitationResult[FileChoice], Resolve(_ask_file)],
) -> str:
    """Return the file that the person means; a question that was closed leaves it to the agent."""
    if names and isinstance(answer, AcceptedElicitation):
        return answer.data.file
    return audio


Meant = Annotated[str, Resolve(_meant)]
"""A parameter by which a tool gets the source that is meant by its `audio`."""


async def _plan(  # noqa: PLR0913 - what makes a difference to the cost
    ctx: Context[Lifespan, Any],
    source: Meant,
    extend_before_duration: float,
    extend_after_duration: float,
    source_start_seconds: float,
    source_end_seconds: float,
    takes: int,
    total_seconds: float,
    placement: str,
    beginning: str,
    ending: str,
    provider: str,
    dry_run: bool,  # noqa: FBT001 - the tool's
) -> str:
    if dry_run or not can_ask(ctx):
        return ""
    with suppress(OutpaintError):  # the tool says what is wrong
        request = SubmitRequest.of(
            audio=source,
            tags="",
            extend_before_duration=extend_before_duration,
            extend_after_duration=extend_after_duration,
            source_start_seconds=source_start_seconds,
            source_end_seconds=source_end_seconds,
            takes=takes,
            total_seconds=total_seconds,
            placement=placement,
            beginning=beginning,
            ending=ending,
        )
        service = await ctx.request_context.lifespan_context()
        return await service.paid_plan(principal(), request, provider=provider)
    return ""


async def _ask_plan(plan: Annotated[str, Resolve(_plan)]) -> Elicit[Agreement] | None:
    return Elicit(plan, Agreement) if plan else None


async def _agreed(
    plan: Annotated[str, Resolve(_plan)], answer: Annotated[ElicitationResult[Agreement], Resolve(_ask_plan)]
) -> None:
    match answer:
        case AcceptedElicitation(data=Agreement(agree=True)):
            return
        case _ if plan:
            raise InvalidRequest(
                f"The user was asked, and did not agree to this: {plan} Nothing was started. Ask them what to change."
            )


PlanAgreed = Annotated[None, Resolve(_agreed)]
"""A parameter by which a tool is called only if the person agrees to a request of several paid steps."""
