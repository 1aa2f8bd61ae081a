"""Sessions of older clients: so many that are not in use; beyond that, the oldest of those ends."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SESSION = b"mcp-session-id"
_CREDENTIALS = {b"host", b"authorization"}
_REFUSED = 400
_NOT_FOUND = 404


class Sessions:
    """Ends the session that was idle for longest when there are too many.

    The SDK would refuse everybody who comes next. It is ended as its own client would end it; should that client
    come back, it gets the answer that makes it open another.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        """Watch over an application's sessions.

        Args:
            app: the application.
            most: how many there may be that nobody uses at the moment.
        """
        self._app = app
        self._most = most
        self._in_use: Counter[bytes] = Counter()
        self._idle: dict[bytes, None] = {}  # the oldest first

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request as ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        session = _session(scope["headers"])
        exists = session is not None
        if session is not None:
            self._enter(session)

        async def watch(message: Message) -> None:
            nonlocal session, exists
            if message["type"] == "http.response.start":
                is_good = message["status"] < _REFUSED
                if session is not None:
                    exists = message["status"] != _NOT_FOUND and not (is_good and scope["method"] == "DELETE")
                elif is_good and (session := _session(message["headers"])) is not None:
                    exists = True
                    self._enter(session)
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            if session is not None:
                self._leave(session, exists=exists)
        while len(self._idle) > self._most:
            oldest = next(iter(self._idle))
            del self._idle[oldest]
            await self._end(oldest, scope)

    def _enter(self, session: bytes) -> None:
        self._in_use[session] += 1
        self._idle.pop(session, None)

    def _leave(self, session: bytes, *, exists: bool) -> None:
        self._in_use[session] -= 1
        if not self._in_use[session]:
            del self._in_use[session]
            if exists:
                self._idle[session] = None

    async def _end(self, session: bytes, scope: Scope) -> None:
        """End a session, with the credentials of a request that was let in."""
        others = [(name, value) for name, value in scope["headers"] if name in _CREDENTIALS]

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def ignore(_message: Message) -> None:
            pass

        await self._app(
            {**scope, "method": "DELETE", "headers": [*others, (_SESSION, session)]}, receive, ignore
        )


def _session(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    return next((bytes(value) for name, value in headers if name.lower() == _SESSION), None)
