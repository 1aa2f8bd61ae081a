"""Sessions of older clients: so many that are not in use; beyond that, the oldest of those ends."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from outpaint_mcp.server.content import principal
from outpaint_mcp.server.http.callers import as_user

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from outpaint_mcp.principals import Principal

_SESSION = b"mcp-session-id"
_REFUSED = 400
_NOT_FOUND = 404


class Sessions:
    """Ends the session that was idle for longest when there are too many, of whoever has the most of them.

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
        self._in_use: Counter[tuple[Principal, bytes]] = Counter()
        self._idle: dict[Principal, dict[bytes, None]] = {}  # the oldest first
        self._idle_count = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request as ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        caller = principal()  # somebody else's session does not exist for them
        session = _session(scope["headers"])
        exists = session is not None
        if session is not None:
            self._enter(caller, session)

        async def watch(message: Message) -> None:
            nonlocal session, exists
            if message["type"] == "http.response.start":
                is_good = message["status"] < _REFUSED
                if session is not None:
                    exists = message["status"] != _NOT_FOUND and not (is_good and scope["method"] == "DELETE")
                elif is_good and (session := _session(message["headers"])) is not None:
                    exists = True
                    self._enter(caller, session)
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            if session is not None:
                self._leave(caller, session, exists=exists)
        while self._idle_count > self._most:
            greediest = max(self._idle, key=lambda each: len(self._idle[each]))
            oldest = next(iter(self._idle[greediest]))
            self._forget(greediest, oldest)
            await self._end(greediest, oldest, scope)

    def _enter(self, caller: Principal, session: bytes) -> None:
        self._in_use[caller, session] += 1
        self._forget(caller, session)

    def _forget(self, caller: Principal, session: bytes) -> None:
        theirs = self._idle.get(caller, {})
        if session in theirs:
            del theirs[session]
            self._idle_count -= 1
        if not theirs:
            self._idle.pop(caller, None)

    def _leave(self, caller: Principal, session: bytes, *, exists: bool) -> None:
        self._in_use[caller, session] -= 1
        if not self._in_use[caller, session]:
            del self._in_use[caller, session]
            if exists:
                self._idle.setdefault(caller, {})[session] = None
                self._idle_count += 1

    async def _end(self, owner: Principal, session: bytes, scope: Scope) -> None:
        """End a session on behalf of its owner, whoever's request was the last straw."""

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def ignore(_message: Message) -> None:
            pass

        headers = [(_SESSION, session)]
        await self._app(
            {**scope, "method": "DELETE", "headers": headers, "user": as_user(owner)}, receive, ignore
        )


def _session(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    return next((bytes(value) for name, value in headers if name.lower() == _SESSION), None)
