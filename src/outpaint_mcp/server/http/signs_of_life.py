"""Whether the process lives, and whether it can work: for whoever starts, restarts and routes to servers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse

from outpaint_mcp.errors import ServerStopping, StorageFailed
from outpaint_mcp.server.http.refusals import ONLY_READ, Refusal

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from outpaint_mcp.service.on_demand import ServiceOnDemand

HEALTH_PATH = "/healthz"
READINESS_PATH = "/readyz"

_LOOK_SECONDS = 1.0
_PATIENCE_SECONDS = 2.0

_STOPPING = Refusal(
    status=503,
    message="This server is stopping. Ask again in a moment; nothing is lost.",
    headers=((b"retry-after", b"5"), (b"connection", b"close")),
)


class SignsOfLife:
    """Answers probes, without any detail; and turns away whoever comes when the server is stopping."""

    def __init__(self, app: ASGIApp, service: ServiceOnDemand) -> None:
        """Answer for a service, in front of an application."""
        self._app = app
        self._service = service
        self._look: asyncio.Task[bool] | None = None
        self._looked_at = -_LOOK_SECONDS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request as ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["path"] in {HEALTH_PATH, READINESS_PATH}:
            await self._answer(scope, receive, send)
        elif self._service.is_stopping:
            await _STOPPING.answer(send)
        else:
            await self._app(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in {"GET", "HEAD"}:
            await ONLY_READ.answer(send)
            return
        is_good = scope["path"] == HEALTH_PATH or await self._is_ready()
        text, status = ("ok\n", 200) if is_good else ("not ready\n", 503)
        await PlainTextResponse(text, status, {"cache-control": "no-store"})(scope, receive, send)

    async def _is_ready(self) -> bool:
        """Whether the service is open and can write; found out once a second at most, however many ask."""
        now = asyncio.get_running_loop().time()
        if self._look is None or (self._look.done() and now - self._looked_at >= _LOOK_SECONDS):
            self._look, self._looked_at = asyncio.create_task(self._can_work()), now
        look = self._look
        await asyncio.wait({look}, timeout=_PATIENCE_SECONDS)  # a disk may hang
        return look.done() and look.result() and not self._service.is_stopping

    async def _can_work(self) -> bool:
        try:
            service = await self._service()
            await asyncio.to_thread(service.housekeeper.vitals.check_writable)
        except (StorageFailed, ServerStopping):
            return False
        return True
