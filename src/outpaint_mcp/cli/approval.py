"""Agreeing to what a request costs beyond what was expected: a person at a terminal is shown the figures, and asked."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from outpaint_mcp.cli.wording import TERMINAL
from outpaint_mcp.errors import Hint, InvalidRequest
from outpaint_mcp.principals import OPERATOR
from outpaint_mcp.service.lifespan import open_service

if TYPE_CHECKING:
    import argparse

    from outpaint_mcp.config import Settings
    from outpaint_mcp.service.service import OutpaintService

_YES = frozenset({"y", "yes"})


def approve(parsed: argparse.Namespace, settings: Settings) -> bool:
    """Ask the person; returns whether they agree.

    Raises:
        RequestNotFound: there is no such request.
        InvalidRequest: it asks for nothing, or there is no person to ask.
    """

    async def approved() -> bool:
        async with open_service(settings, vocabulary=TERMINAL, runs=False) as service:
            return await _approve(service, parsed.request_id)

    return asyncio.run(approved())


async def _approve(service: OutpaintService, request_id: str) -> bool:
    status = await service.status(OPERATOR, request_id)
    question = await service.agreements.question(OPERATOR, request_id)
    if question is None:
        raise InvalidRequest(
            f"Request {request_id} does not wait for anybody's agreement: it is {status.status}.",
            hint=Hint.CHECK_STATUS,
        )
    if not sys.stdin.isatty():
        raise InvalidRequest(
            f"{question.text} Only a person can agree: run this command yourself, at a terminal."
        )
    print(f"{question.text}\nDo you agree? [y/N] ", end="", file=sys.stderr, flush=True)
    answer = await asyncio.to_thread(sys.stdin.readline)
    if answer.strip().lower() not in _YES:
        print("You did not agree: nothing more is sent.", file=sys.stderr)
        return False
    if not await service.agreements.agree(question):
        raise InvalidRequest("The figures have changed meanwhile, and nothing was agreed to: run this again.")
    costs = question.costs
    print(
        f"Agreed: request {costs.request_id} may cost ${costs.whole_usd:.4f} in all. It goes on by itself where its"
        f" server runs; otherwise {TERMINAL.advise(Hint.GET_RESULT, request_id=costs.request_id)}",
        file=sys.stderr,
    )
    return True
