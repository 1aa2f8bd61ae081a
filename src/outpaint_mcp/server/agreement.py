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

from outpaint_mcp.server.content import Lifespan, principal
from outpaint_mcp.server.questions import Agreement, can_ask
from outpaint_mcp.service.agreements import Question


async def _question(ctx: Context[Lifespan, Any], request_id: str) -> Question | None:
    """Return what the request asks, if the host can ask it."""
    if not can_ask(ctx):
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
