"""The question whether a request may cost more than was expected: to the person, in hosts that can ask one.

Nothing of it is an argument of a tool: no agent can answer it.
"""

from __future__ import annotations

from typing import Annotated, Any

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.resolve import (
    AcceptedElicitation,
    DeclinedElicitation,
    Elicit,
    ElicitationResult,
    Resolve,
)
from pydantic import BaseModel, Field

from outpaint_mcp.server.content import Lifespan, principal
from outpaint_mcp.service.agreements import Question

# From this version on a question is part of an answer; before, it is a request of its own.
_QUESTIONS_IN_ANSWERS = "2026-07-28"


class Agreement(BaseModel):
    """What the person answers."""

    agree: bool = Field(title="I agree", description="Go on, and pay what is named above.")


async def _question(ctx: Context[Lifespan, Any], request_id: str) -> Question | None:
    """Return what the request asks, if the host can ask it."""
    if not _can_ask(ctx):
        return None
    service = await ctx.request_context.lifespan_context()
    return await service.agreements.question(principal(), request_id, again=False)


async def _ask(question: Annotated[Question | None, Resolve(_question)]) -> Elicit[Agreement] | None:
    return None if question is None else Elicit(question.text, Agreement)


async def _settle(
    ctx: Context[Lifespan, Any],
    question: Annotated[Question | None, Resolve(_question)],
    answer: Annotated[ElicitationResult[Agreement], Resolve(_ask)],
) -> None:
    """Write down what the person has answered; a question that they closed is asked again."""
    if question is None:
        return
    service = await ctx.request_context.lifespan_context()
    match answer:
        case AcceptedElicitation(data=Agreement(agree=True)):
            await service.agreements.agree(question)  # other figures by now are asked about by the next call
        case AcceptedElicitation() | DeclinedElicitation():
            service.agreements.decline(question)


Agreed = Annotated[None, Resolve(_settle)]
"""A parameter by which a tool asks the person before it does anything."""


def _can_ask(ctx: Context[Lifespan, Any]) -> bool:
    elicitation = ctx.client_capabilities.elicitation if ctx.client_capabilities else None
    can_fill_forms = elicitation is not None and (elicitation.form is not None or elicitation.url is None)
    in_answer = (ctx.protocol_version or "") >= _QUESTIONS_IN_ANSWERS
    return can_fill_forms and (in_answer or ctx.session.can_send_request)
