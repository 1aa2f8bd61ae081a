"""A client that takes tasks, with the SDK's means: it claims their results, and follows them to the end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from mcp.client import ClientExtension, ResultClaim
from mcp.types import CallToolResult, Request, RequestParams, Result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcp.client import ClaimContext, Client
    from mcp.client.session import ClientSession

TASKS = "io.modelcontextprotocol/tasks"
ERA = "2026-07-28"
"""Named, since a client that looks for it takes a slow server for one of the older era, which has no tasks."""


class Anything(Result):
    """A result, as it came."""

    model_config: ClassVar[Any] = {**Result.model_config, "extra": "allow"}


class CreatedTask(Anything):
    """What a call is answered with whose work goes on."""

    result_type: Literal["task"]
    task_id: str


class Params(RequestParams):
    """Which task is meant, and what its questions are answered with."""

    task_id: str
    input_responses: dict[str, Any] | None = None


class TaskRequest(Request[Params, str]):
    """What is asked of a task; over HTTP its id is in a header, too."""

    method: str
    params: Params
    name_param: ClassVar[str | None] = "taskId"


async def tell(session: ClientSession, method: str, task_id: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Ask something of a task; returns the answer without its metadata."""
    request = TaskRequest(method=f"tasks/{method}", params=Params(task_id=task_id, **more))
    return wire(await session.send_request(request, Anything))


def wire(result: Result) -> dict[str, Any]:
    """Return a result as it came, without its metadata."""
    extra: dict[str, Any] = result.model_extra or {}
    declared = result.model_dump(
        mode="json", by_alias=True, exclude={"meta"}, include={*type(result).model_fields}
    )
    return extra | declared


class TakesTasks(ClientExtension):
    """Takes tasks, and follows them to the end.

    Attributes:
        created: the tasks that calls were answered with.
        seen: what was answered when they were asked for, one after the other.
    """

    identifier = TASKS

    def __init__(self, *, follows: bool = True) -> None:
        self.created: list[dict[str, Any]] = []
        self.seen: list[dict[str, Any]] = []
        self._follows = follows

    def claims(self) -> Sequence[ResultClaim[Any]]:
        """Claim the results that are tasks."""
        return [ResultClaim(result_type="task", model=CreatedTask, resolve=self._resolve)]

    async def _resolve(self, created: CreatedTask, context: ClaimContext) -> CallToolResult:
        self.created.append(wire(created))
        if self._follows:
            return await self.follow(context.session, created.task_id)
        return CallToolResult(content=[], is_error=True)  # nobody looks at it

    async def follow(self, session: ClientSession, task_id: str) -> CallToolResult:
        """Ask for a task until it has a result."""
        while True:
            task = await tell(session, "get", task_id)
            self.seen.append(task)
            if task["status"] == "completed":
                return CallToolResult.model_validate(task["result"], by_name=False)
            assert task["status"] == "working", task
            await asyncio.sleep(0.05)


async def create(client: Client, takes: TakesTasks, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Submit, and return the task that this is answered with."""
    before = len(takes.created)
    answer = await client.call_tool("submit_outpaint", {"tags": "", "extend_after_duration": 1} | arguments)
    assert len(takes.created) == before + 1, answer
    return takes.created[-1]
