"""Bodies of requests: read whole before anything is done with them, in time, and within the memory that is theirs."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from pydantic_core import from_json

from outpaint_mcp.server.content import principal
from outpaint_mcp.server.http.refusals import Refusal
from outpaint_mcp.server.messages import OVERGROWN, is_overgrown

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from outpaint_mcp.server.http.limits import Limits

_CLOSE = ((b"connection", b"close"),)
_INCOMPLETE = Refusal(
    status=408, message="The request's body did not arrive in time. Send it again.", headers=_CLOSE
)
_BUSY = Refusal(
    status=503,
    message=(
        "The server has as many large requests at once as it takes. Try again in a moment, or give a file's path or"
        " a link instead of the audio itself."
    ),
    headers=((b"retry-after", b"5"), *_CLOSE),
)


class _Body:
    """What has arrived of a request's body; it counts until the request is answered."""

    def __init__(self, owner: str, deadline: asyncio.Timeout) -> None:
        self.owner = owner
        self.content = bytearray()
        self.counted = 0
        self.deadline = deadline
        self.is_evicted = False


class Bodies:
    """Reads the body of each request for the application."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._limits = limits
        self._bytes: Counter[str] = Counter()  # by whose they are
        self._arriving: dict[_Body, None] = {}  # the oldest first

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request as ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(principal().owner, asyncio.timeout(self._limits.body_seconds))
        try:
            try:
                refusal = await self._read(body, receive)
                if refusal is None and is_overgrown(body.content):
                    refusal = Refusal(
                        status=400, message=OVERGROWN, request_id=_request_id(bytes(body.content))
                    )
            finally:
                self._arriving.pop(body, None)
            if refusal is not None:
                await refusal.answer(send)
            else:
                await self._app(scope, _replay(body, receive), send)
        finally:
            self._count(body, 0)

    async def _read(self, body: _Body, receive: Receive) -> Refusal | None:
        """Read a body; return what is wrong with it."""
        self._arriving[body] = None
        since = asyncio.get_running_loop().time()
        try:
            async with body.deadline as deadline:
                while True:
                    message = await receive()
                    if body.is_evicted:
                        return _BUSY
                    if message["type"] != "http.request":  # nobody is there any more
                        return _INCOMPLETE
                    if refusal := self._take(body, message["body"]):
                        return refusal
                    if not message.get("more_body", False):
                        return None
                    earned = len(body.content) / self._limits.body_bytes_per_second
                    deadline.reschedule(since + self._limits.body_seconds + earned)
        except TimeoutError:
            return _BUSY if body.is_evicted else _INCOMPLETE

    def _take(self, body: _Body, chunk: bytes) -> Refusal | None:
        """Add what has arrived.

        Where that is too much in all, the body goes that has been arriving for longest, of whoever has the most.
        """
        body.content += chunk
        if len(body.content) > self._limits.body_bytes:
            return self._too_large(body)
        self._count(body, max(0, len(body.content) - self._limits.small_body_bytes))
        while self._bytes.total() > self._limits.bodies_bytes:
            evicted = max(filter(_counts, self._arriving), key=lambda each: self._bytes[each.owner])
            if evicted is body:
                return _BUSY
            self._evict(evicted)
        return None

    def _count(self, body: _Body, counted: int) -> None:
        self._bytes[body.owner] += counted - body.counted
        body.counted = counted
        if not self._bytes[body.owner]:
            del self._bytes[body.owner]

    def _evict(self, body: _Body) -> None:
        self._count(body, 0)
        body.content.clear()
        body.is_evicted = True
        body.deadline.reschedule(0)

    def _too_large(self, body: _Body) -> Refusal:
        return Refusal(
            status=413,
            message=(
                f"The request is larger than {self._limits.body_text}, which is the most that this server takes over"
                " HTTP. Give the file's name or path, or an https link to it, instead of a data: URI."
            ),
            request_id=_request_id(bytes(body.content)),
        )


def _counts(body: _Body) -> bool:
    return bool(body.counted)


def _request_id(start: bytes) -> str | int | None:
    """Find the JSON-RPC id in the first part of a message."""
    try:
        message = from_json(start, allow_partial=True)
    except ValueError:
        return None
    # What is last may have been cut off.
    if not isinstance(message, dict) or next(reversed(message), "id") == "id":
        return None
    found = message.get("id")
    return found if isinstance(found, str | int) and not isinstance(found, bool) else None


def _replay(body: _Body, receive: Receive) -> Receive:
    """Return a `receive` that gives a body in one piece, and then what comes after it."""
    messages: list[Message] = [{"type": "http.request", "body": bytes(body.content), "more_body": False}]
    body.content = bytearray()

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay
