"""Whether the process lives, and whether it can work: for whoever starts, restarts and routes to servers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from outpaint_mcp.errors import ServerStopping, StorageFailed
from outpaint_mcp.server.http.refusals import Refusal

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from outpaint_mcp.service.on_demand import ServiceOnDemand

HEALTH_PATH = "/healthz"
READINESS_PATH = "/readyz"

_LOOK_SECONDS = 1.0
_PATIENCE_SECONDS = 2.0

_OK, _UNAVAILABLE = 200, 503
_TEXTS = {_OK: b"ok\n", _UNAVAILABLE: b"not ready\n"}
_WRONG_METHOD = Refusal(
    status=405, message="Only GET and HEAD are answered here.", headers=((b"allow", b"GET, HEAD"),)
)
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
            await self._answer(scope, send)
        elif self._service.is_stopping:
            await _STOPPING.answer(send)
        else:
            await self._app(scope, receive, send)

    async def _answer(self, scope: Scope, send: Send) -> None:
        if scope["method"] not in {"GET", "HEAD"}:
            await _WRONG_METHOD.answer(send)
            return
        is_good = scope["path"] == HEALTH_PATH or await self._is_ready()
        status = _OK if is_good else _UNAVAILABLE
        text = _TEXTS[status]
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", str(len(text)).encode()),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else text})

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
