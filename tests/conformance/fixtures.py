"""The tools that the suite's `tasks-*` scenarios call, on a server with our extension and tasks in memory.

`python tests/conformance/fixtures.py` serves them on a free port of loopback until it is terminated, and prints its
address.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import uvicorn
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.resolve import AcceptedElicitation, Elicit, ElicitationResult, Resolve
from mcp.server.mcpserver.server import require_client_extension
from mcp.server.mcpserver.tools import Tool
from mcp.shared.exceptions import MCPError
from mcp.types import (
    INTERNAL_ERROR,
    CallToolRequestParams,
    CallToolResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    TextContent,
)
from pydantic import BaseModel

from outpaint_mcp.server.tasks import IDENTIFIER, Task, Tasks, accepts_tasks, no_such_task

if TYPE_CHECKING:
    from mcp.server.context import ServerRequestContext

Ctx = Context[Any, Any]
Work = Callable[["Job"], Awaitable[str]]

_POLL_MS = 100


@dataclass
class Job:
    """Work under way.

    Attributes:
        questions: what it waits for, by key.
    """

    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    questions: dict[str, ElicitRequest] = field(default_factory=dict)
    running: asyncio.Task[str] | None = None
    _answers: dict[str, asyncio.Future[ElicitResult]] = field(default_factory=dict)

    async def ask(self, *messages: str) -> list[ElicitResult]:
        """Ask several questions at once; return when all are answered."""
        keys = [secrets.token_hex(4) for _ in messages]
        self._answers |= {key: asyncio.get_running_loop().create_future() for key in keys}
        for key, message in zip(keys, messages, strict=True):
            schema = {"type": "object", "properties": {"confirm": {"type": "boolean"}}}
            params = ElicitRequestFormParams(message=message, requested_schema=schema)
            self.questions[key] = ElicitRequest(params=params)
        return await asyncio.gather(*(self._answers[key] for key in keys))

    def answer(self, key: str, response: object) -> None:
        """Take the answer to a question that is still open."""
        if self.questions.pop(key, None) is not None:
            self._answers[key].set_result(ElicitResult.model_validate(response))


class Jobs:
    """The tasks of this process."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}

    async def run(self, ctx: Ctx, work: Work) -> str:
        """Do some work: in a task where the client takes one, or else while it waits."""
        job = Job()
        if not accepts_tasks(ctx.request_context):
            return await work(job)
        job.running = asyncio.create_task(_run(work, job))
        task_id = secrets.token_hex(8)
        self._jobs[task_id] = job
        return task_id

    async def begun(
        self, ctx: ServerRequestContext[Any, Any], call: CallToolRequestParams, answer: CallToolResult
    ) -> Task | None:
        del call
        [content] = answer.content
        task_id = content.text if isinstance(content, TextContent) else ""
        return await self.get(ctx, task_id) if task_id in self._jobs else None

    async def get(self, ctx: ServerRequestContext[Any, Any], task_id: str) -> Task:
        del ctx
        job = self._job(task_id)
        task = Task(
            task_id=task_id,
            status="input_required" if job.questions else "working",
            created_at=job.created_at,
            last_updated_at=datetime.now(UTC),
            poll_interval_ms=_POLL_MS,
            input_requests=job.questions or None,
        )
        assert job.running is not None
        return task.model_copy(update=_ended(job.running)) if job.running.done() else task

    async def update(
        self, ctx: ServerRequestContext[Any, Any], task_id: str, answers: Mapping[str, object]
    ) -> None:
        del ctx
        for key, response in answers.items():
            self._job(task_id).answer(key, response)

    async def cancel(self, ctx: ServerRequestContext[Any, Any], task_id: str) -> None:
        del ctx
        running = self._job(task_id).running
        assert running is not None
        running.cancel()

    def _job(self, task_id: str) -> Job:
        try:
            return self._jobs[task_id]
        except KeyError:
            raise no_such_task() from None


async def _run(work: Work, job: Job) -> str:
    return await work(job)


def _ended(running: asyncio.Task[str]) -> dict[str, object]:
    if running.cancelled():
        return {"status": "cancelled"}
    match running.exception():
        case None:
            return {"status": "completed", "result": _text(running.result())}
        case ToolError() as exc:
            return {"status": "completed", "result": _text(str(exc)).model_copy(update={"is_error": True})}
        case MCPError() as exc:
            return {"status": "failed", "error": exc.error}
        case exc:
            raise exc


def _text(text: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=text)])


JOBS = Jobs()


class Name(BaseModel):
    """What `test_tool_with_task` asks before it begins."""

    name: str


async def _ask_name() -> Elicit[Name]:
    return Elicit("What is your name?", Name)


def greet(name: str) -> str:
    return f"Hello, {name}!"


async def slow_compute(ctx: Ctx, seconds: float, label: str = "") -> str:
    async def work(_: Job) -> str:
        await asyncio.sleep(seconds)
        return f"computed {label}"

    return await JOBS.run(ctx, work)


async def failing_job(ctx: Ctx) -> str:
    require_client_extension(ctx.request_context, IDENTIFIER)

    async def work(_: Job) -> str:
        raise ToolError("It cannot be done.")

    return await JOBS.run(ctx, work)


async def protocol_error_job(ctx: Ctx) -> str:
    async def work(_: Job) -> str:
        raise MCPError(INTERNAL_ERROR, "The job is broken.")

    return await JOBS.run(ctx, work)


async def confirm_delete(ctx: Ctx, filename: str) -> str:
    async def work(job: Job) -> str:
        [answer] = await job.ask(f"Delete {filename}?")
        return f"{filename}: {answer.action}"

    return await JOBS.run(ctx, work)


async def multi_input(ctx: Ctx) -> str:
    async def work(job: Job) -> str:
        first, second = await job.ask("Is this right?", "And this?")
        return f"{first.action}, {second.action}"

    return await JOBS.run(ctx, work)


async def test_tool_with_task(
    ctx: Ctx, answer: Annotated[ElicitationResult[Name], Resolve(_ask_name)]
) -> str:
    require_client_extension(ctx.request_context, IDENTIFIER)

    async def work(_: Job) -> str:
        assert isinstance(answer, AcceptedElicitation)
        return f"Hello, {answer.data.name}!"

    return await JOBS.run(ctx, work)


TOOLS = (
    greet,
    slow_compute,
    failing_job,
    protocol_error_job,
    confirm_delete,
    multi_input,
    test_tool_with_task,
)


def main() -> None:
    """Serve until a signal comes."""
    tools = [Tool.from_function(each, structured_output=False) for each in TOOLS]
    server = MCPServer("tasks-fixtures", tools=tools, extensions=[Tasks(JOBS)], log_level="ERROR")
    listening = socket.create_server(("127.0.0.1", 0))
    print("Fixtures at http://{}:{}/mcp".format(*listening.getsockname()), flush=True)  # noqa: T201 - for whoever starts it
    uvicorn.Server(uvicorn.Config(server.streamable_http_app(), log_level="error")).run([listening])


if __name__ == "__main__":
    main()
