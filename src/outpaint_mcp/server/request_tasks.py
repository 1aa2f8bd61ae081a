"""Requests as tasks: the journal has them, so any process can say where one is, and none has to remember it."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mcp.server.elicitation import render_elicitation_schema
from mcp.shared.exceptions import MCPError
from mcp.types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    CallToolResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    TextContent,
)
from pydantic import ValidationError

from outpaint_mcp.errors import DeliveryFailed, Hint, OutpaintError, RequestNotFound
from outpaint_mcp.models import Status
from outpaint_mcp.reports.wording import explain
from outpaint_mcp.server.content import answer, explained, principal
from outpaint_mcp.server.questions import Agreement, can_fill_forms
from outpaint_mcp.server.tasks import Task, no_such_task
from outpaint_mcp.server.wording import TOOLS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mcp.server.context import ServerRequestContext
    from mcp.types import CallToolRequestParams

    from outpaint_mcp.server.content import Lifespan
    from outpaint_mcp.service.agreements import Question
    from outpaint_mcp.service.service import OutpaintService
    from outpaint_mcp.service.standings import Standing

    Request = ServerRequestContext[Lifespan, Any]

# A short local request takes some seconds, a hosted one minutes; who asks too often meets the limit of all requests.
_FIRST_MINUTE_SECONDS = 60.0
_DAY_SECONDS = 86_400.0
_POLL_MS = 2_000
_LATER_POLL_MS = 5_000
_ANSWER = 'Send {"action": "accept", "content": {"agree": true}} or {"action": "decline"}.'


class RequestTasks:
    """The tasks of `submit_outpaint`: each is a request, and has its id.

    Args:
        retention_days: how long remote callers' requests are stored after their end.
    """

    def __init__(self, retention_days: float) -> None:
        self._retention_seconds = retention_days * _DAY_SECONDS

    async def begun(self, ctx: Request, call: CallToolRequestParams, answer: CallToolResult) -> Task | None:
        """Return the task of a request that was submitted; a dry run has none, nor what has failed already."""
        receipt = answer.structured_content or {}
        request_id, status = receipt.get("request_id"), receipt.get("status")
        if call.name != "submit_outpaint" or not request_id or status in {Status.FAILED, Status.UNKNOWN}:
            return None
        try:
            service = await ctx.lifespan_context()
            task = self._task(request_id, await service.standings.of(principal(), request_id))
        except OutpaintError:  # it is submitted all the same, and the receipt has its id
            return None
        # The host asks, so the agent need not.
        asked = TOOLS.advise(Hint.AWAIT_RESULT, request_id=request_id)
        return task.model_copy(update={"status_message": receipt["message"].replace(asked, "").strip()})

    async def get(self, ctx: Request, task_id: str) -> Task:
        """Say where a request is; once it has ended, deliver its file."""
        with _protocol_errors():
            service = await ctx.lifespan_context()
            standing = await service.standings.of(principal(), task_id)
            task = self._task(task_id, standing)
            if standing.status is Status.CANCELLED:
                return task.model_copy(update={"status": "cancelled"})
            if standing.status.is_final:
                return await _ended(task, service)
            if standing.awaits_agreement:
                return await _waiting(task, ctx, service)
            return task

    async def update(self, ctx: Request, task_id: str, answers: Mapping[str, object]) -> None:
        """Go on, or cancel the request, as the person has answered; a question that they closed stays open."""
        with _protocol_errors():
            service = await ctx.lifespan_context()
            await service.standings.of(principal(), task_id)
            question = await service.agreements.question(principal(), task_id)
            if question is None or (given := answers.get(_key(question))) is None:
                return
            match _agrees(given):
                case True:
                    await service.agreements.agree(question)  # other figures by now are another question
                case False:
                    await service.cancel(principal(), question.costs.request_id)

    async def cancel(self, ctx: Request, task_id: str) -> None:
        """Cancel the request, where that is still possible."""
        with _protocol_errors():
            service = await ctx.lifespan_context()
            await service.cancel(principal(), task_id)

    def _task(self, task_id: str, standing: Standing) -> Task:
        """Return a task that goes on."""
        seconds = standing.updated_at - standing.created_at
        return Task(
            task_id=task_id,
            status="working",
            status_message=standing.words or None,
            created_at=datetime.fromtimestamp(standing.created_at, UTC),
            last_updated_at=datetime.fromtimestamp(standing.updated_at, UTC),
            ttl_ms=round(1000 * (seconds + self._retention_seconds)) if principal().is_remote else None,
            poll_interval_ms=_POLL_MS if seconds < _FIRST_MINUTE_SECONDS else _LATER_POLL_MS,
        )


@contextmanager
def _protocol_errors() -> Iterator[None]:
    try:
        yield
    except RequestNotFound:
        raise no_such_task() from None
    except OutpaintError as exc:
        raise MCPError(INTERNAL_ERROR, explained(exc, is_remote=principal().is_remote)) from exc


async def _waiting(task: Task, ctx: Request, service: OutpaintService) -> Task:
    """Ask the person to agree to a cost, where the client can; else say how they can agree."""
    question = await service.agreements.question(principal(), task.task_id)
    if question is None:  # somebody has agreed this moment
        return task
    if not can_fill_forms(ctx.session.client_capabilities):
        how = TOOLS.advise(Hint.AGREE, request_id=question.costs.request_id)
        return task.model_copy(update={"status_message": f"{question.text} {how}"})
    form = ElicitRequestFormParams(
        message=f"{question.text} If you decline, it is cancelled.",
        requested_schema=render_elicitation_schema(Agreement),
    )
    return task.model_copy(
        update={"status": "input_required", "input_requests": {_key(question): ElicitRequest(params=form)}}
    )


async def _ended(task: Task, service: OutpaintService) -> Task:
    """Give the tool's final answer, once the file is written that it is about."""
    try:
        report = await service.result(principal(), task.task_id)
    except DeliveryFailed as exc:
        text = TextContent(type="text", text=explain(exc, TOOLS))
        result = CallToolResult(content=[text], is_error=True)
    else:
        if not report.status.is_final:
            words = f"The music is ready; its file is {report.progress or 0:.0%} written."
            return task.model_copy(update={"status_message": words})
        is_error = report.status is not Status.COMPLETED
        result = answer(report).model_copy(update={"is_error": is_error})
    return task.model_copy(update={"status": "completed", "result": result})


def _key(question: Question) -> str:
    """Return a key that a question about other figures does not have; any process gives the same."""
    return f"agree-{hashlib.sha256(question.text.encode()).hexdigest()[:16]}"


def _agrees(given: object) -> bool | None:
    """Return what the person has answered; None where they have closed the question.

    Raises:
        MCPError: it is no answer to it.
    """
    try:
        answered = ElicitResult.model_validate(given)
        match answered.action:
            case "accept":
                return Agreement.model_validate(answered.content, strict=True).agree
            case "decline":
                return False
            case "cancel":
                return None
    except ValidationError:
        raise MCPError(INVALID_PARAMS, f"This is no answer to the question. {_ANSWER}") from None
