"""Connections: so many at once, and none of them waits for its client without an end."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from uvicorn.protocols.http.h11_impl import RequestResponseCycle

    from outpaint_mcp.server.http.limits import Limits


class Connection(H11Protocol):
    """A connection that is closed when no whole header comes, when its answer is not read, or for want of room.

    uvicorn has a time-out between requests only, ends it with the first byte of the next, and answers real clients
    with 503 while half-open connections have the places.
    """

    def __init__(self, *, limits: Limits, waiting: dict[Connection, None], **options: Any) -> None:  # noqa: ANN401 - uvicorn's own
        """Set a connection up.

        Args:
            limits: what clients may take up.
            waiting: the connections of this server that are between two requests, the oldest first.
            options: uvicorn's own.
        """
        super().__init__(**options)
        self._limits = limits
        self._waiting = waiting
        self._header_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Make room for it, if need be at the cost of the one that has been waiting for longest."""
        super().connection_made(transport)
        if len(self.connections) > self._limits.connections:
            next(iter(self._waiting), self).drop()
        if not transport.is_closing():
            self._await_header()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        super().connection_lost(exc)
        self._leave_waiting()
        self._stop_stall_timer()

    def data_received(self, data: bytes) -> None:
        """Take in what has come."""
        super().data_received(data)
        if self.is_in_request:
            self._leave_waiting()

    def on_response_complete(self) -> None:
        """Await the next header, unless it has come already, or that the answer is read, if it is the last."""
        super().on_response_complete()
        if not self.is_in_request:
            self._await_header()

    def pause_writing(self) -> None:
        """Start the time within which the answer has to be read."""
        super().pause_writing()
        self._stall_timer = self.loop.call_later(self._limits.stall_seconds, self.drop)

    def resume_writing(self) -> None:
        """Stop it again."""
        super().resume_writing()
        self._stop_stall_timer()

    def drop(self) -> None:
        """Close it at once, whatever was to be sent yet."""
        self._leave_waiting()
        self.connections.discard(self)
        self.transport.abort()

    @property
    def is_in_request(self) -> bool:
        """Whether a request has come over it that is not answered."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _await_header(self) -> None:
        self._waiting[self] = None
        self._header_timer = self.loop.call_later(self._limits.header_seconds, self.drop)

    def _leave_waiting(self) -> None:
        self._waiting.pop(self, None)
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _stop_stall_timer(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None


def is_awaiting_answer(connection: object) -> bool:
    """Whether a client has sent a request over a connection, and its answer is not all sent; a stream is none."""
    if not isinstance(connection, Connection) or not connection.is_in_request:
        return False
    return bool(connection.scope["method"] != "GET")


def protocol(limits: Limits) -> Callable[..., Connection]:
    """Return what makes the connections of one server."""
    return partial(Connection, limits=limits, waiting={})
