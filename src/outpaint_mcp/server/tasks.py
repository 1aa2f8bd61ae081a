"""Tasks (`io.modelcontextprotocol/tasks`): a call whose work goes on is answered with a task, which the client follows.

Here are the rules of the protocol, whatever the tasks are; that is up to a `TaskSource`.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol

from mcp.server.extension import Extension, MethodBinding
from mcp.server.mcpserver.server import require_client_extension
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import MCP_NAME_HEADER, decode_header_value
from mcp.types import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    CallToolResult,
    ElicitRequest,
    ErrorData,
    RequestParams,
    Result,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
    from mcp.types import CallToolRequestParams

    Request = ServerRequestContext[Any, Any]
    Handler = Callable[[Request, Any], Awaitable[HandlerResult]]

IDENTIFIER = "io.modelcontextprotocol/tasks"

_VERSIONS = frozenset({"2026-07-28"})


class Task(Result):
    """A task as clients see it.

    Attributes:
        status: `failed` is for JSON-RPC errors alone; a tool's error is the result of a completed task.
        ttl_ms: how long it can be asked for, from its creation; None without an end.
        input_requests: what it waits for, by keys that are used for no other question.
    """

    task_id: str
    status: Literal["working", "input_required", "completed", "failed", "cancelled"]
    status_message: str | None = None
    created_at: datetime
    last_updated_at: datetime
    ttl_ms: int | None = None
    poll_interval_ms: int | None = None
    input_requests: dict[str, ElicitRequest] | None = None
    result: CallToolResult | None = None
    error: ErrorData | None = None


class TaskParams(RequestParams):
    """Which task is meant."""

    task_id: str


class UpdateParams(TaskParams):
    """Answers to what a task has asked, by its keys; those to what it has not are ignored."""

    input_responses: dict[str, object]


class TaskSource(Protocol):
    """What tasks there are.

    An id that is unknown, or not the caller's, raises `no_such_task`.
    """

    async def begun(self, ctx: Request, call: CallToolRequestParams, answer: CallToolResult) -> Task | None:
        """Return the task that a call has begun, and that `get` finds by now; None where its answer is final."""

    async def get(self, ctx: Request, task_id: str) -> Task:
        """Return where a task is, with its result once there is one."""

    async def update(self, ctx: Request, task_id: str, answers: Mapping[str, object]) -> None:
        """Take answers to what a task asks, which nobody has checked yet."""

    async def cancel(self, ctx: Request, task_id: str) -> None:
        """Have a task stopped; one that has ended stays as it is."""


def no_such_task() -> MCPError:
    """Return the error for a task that the caller does not have, whether or not somebody else does."""
    return MCPError(INVALID_PARAMS, "There is no task with this id.")


def accepts_tasks(ctx: Request) -> bool:
    """Whether this very request may be answered with a task."""
    capabilities = ctx.session.client_capabilities
    declared = capabilities.extensions if capabilities else None
    return ctx.protocol_version in _VERSIONS and declared is not None and IDENTIFIER in declared


class Tasks(Extension):
    """Answers tool calls with tasks where the client takes them, and serves the methods by which it follows them."""

    identifier = IDENTIFIER

    def __init__(self, source: TaskSource) -> None:
        self._source = source

    def methods(self) -> list[MethodBinding]:
        """Return what clients ask of a task."""
        return [
            MethodBinding("tasks/get", TaskParams, _checked(self._get), _VERSIONS),
            MethodBinding("tasks/update", UpdateParams, _checked(self._update), _VERSIONS),
            MethodBinding("tasks/cancel", TaskParams, _checked(self._cancel), _VERSIONS),
        ]

    async def intercept_tool_call(
        self, params: CallToolRequestParams, ctx: Request, call_next: CallNext
    ) -> HandlerResult:
        """Answer with the task that a call has begun; with what the tool answers where it has begun none."""
        answer = await call_next(ctx)
        if not isinstance(answer, CallToolResult) or answer.is_error or not accepts_tasks(ctx):
            return answer
        task = await self._source.begun(ctx, params, answer)
        return answer if task is None else _wire(task, "task")

    async def _get(self, ctx: Request, params: TaskParams) -> HandlerResult:
        return _wire(await self._source.get(ctx, params.task_id), "complete")

    async def _update(self, ctx: Request, params: UpdateParams) -> None:
        await self._source.update(ctx, params.task_id, params.input_responses)

    async def _cancel(self, ctx: Request, params: TaskParams) -> None:
        await self._source.cancel(ctx, params.task_id)


def _checked(handler: Handler) -> Handler:
    """Refuse a request that does not declare the extension, or whose headers name another task."""

    async def checked(ctx: Request, params: TaskParams) -> HandlerResult:
        require_client_extension(ctx, IDENTIFIER)
        if ctx.request is not None:
            # Whoever routes by the header has not seen the body.
            named = decode_header_value(ctx.request.headers.get(MCP_NAME_HEADER))
            if named != params.task_id:
                raise MCPError(
                    HEADER_MISMATCH, f"{MCP_NAME_HEADER} header does not match the request body's 'taskId'"
                )
        return await handler(ctx, params)

    return checked


def _wire(task: Task, result_type: Literal["complete", "task"]) -> HandlerResult:
    # What is None is left out, but for the time to live, where it means something.
    return task.model_dump(mode="json", by_alias=True, exclude_none=True) | {
        "resultType": result_type,
        "ttlMs": task.ttl_ms,
    }
