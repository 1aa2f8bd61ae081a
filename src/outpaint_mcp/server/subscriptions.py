"""Notices of change: each listener hears of its own caller's requests, wherever they are carried out.

A request is looked at for as long as somebody listens and it has not ended; nothing else is.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from mcp.server.subscriptions import ResourcesListChanged, ResourceUpdated
from mcp.shared.exceptions import MCPError
from mcp.types import INTERNAL_ERROR, INVALID_PARAMS, INVALID_REQUEST, SubscriptionsListenRequestParams
from pydantic import ValidationError

from outpaint_mcp.errors import OutpaintError, RequestNotFound, ServerStopping, StorageFailed
from outpaint_mcp.server.content import explained, principal
from outpaint_mcp.server.resources import GUIDE_URI, REQUESTS, request_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
    from mcp.server.subscriptions import ServerEvent

    from outpaint_mcp.models import Status
    from outpaint_mcp.principals import Principal
    from outpaint_mcp.server.content import Lifespan
    from outpaint_mcp.storage.records import RequestProgress

MAX_STREAMS, MAX_URIS = 8, 64
"""How many streams a caller may have open at once, and how many resources each may name."""

_LOOK_SECONDS = 1.0
_WAIT_SECONDS = 3_600.0


class _Stream:
    """One listener's stream; `hear` is set by whoever serves it."""

    def __init__(self) -> None:
        self.hear: Callable[[ServerEvent], None] = lambda _event: None


_opened: ContextVar[_Stream] = ContextVar("_opened")


class Subscriptions:
    """The gate in front of `subscriptions/listen`, and the bus behind it: the SDK's middleware and `SubscriptionBus`.

    What the gate lets through is watched for that stream alone: no event is ever offered to another's.
    """

    def __init__(self) -> None:
        self._streams: set[_Stream] = set()
        self._open: Counter[Principal] = Counter()

    async def publish(self, event: ServerEvent) -> None:
        """Send everybody what is nobody's own, such as a change of the tools."""
        for stream in [*self._streams]:
            stream.hear(event)

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        """Take the listener of the stream that is being opened."""
        stream = _opened.get()
        stream.hear = listener
        self._streams.add(stream)
        return lambda: self._streams.discard(stream)

    async def __call__(self, ctx: ServerRequestContext[Lifespan, Any], call_next: CallNext) -> HandlerResult:
        """Check what a listener wants to hear of, and watch it for as long as the stream is open.

        Raises:
            MCPError: a resource does not exist or is somebody else's, which is the same; or it is too much.
        """
        if ctx.method != "subscriptions/listen":
            return await call_next(ctx)
        try:
            wanted = SubscriptionsListenRequestParams.model_validate(ctx.params or {}).notifications
        except ValidationError:  # as the handler says
            return await call_next(ctx)
        who, uris = principal(), [*dict.fromkeys(wanted.resource_subscriptions or ())]
        if self._open[who] >= MAX_STREAMS:
            raise MCPError(INVALID_REQUEST, f"There are {MAX_STREAMS} open streams already. Close one first.")
        if len(uris) > MAX_URIS:
            raise MCPError(INVALID_PARAMS, f"A stream can name {MAX_URIS} resources at most.")
        stream = _Stream()
        # What they are now is known before the listener is: whatever changes from here on is reported.
        watches: list[Coroutine[Any, Any, None]] = [
            _Watch(stream, request_id, uris, status).run(ctx, who)
            for request_id, status in (await _checked(ctx, who, uris)).items()
        ]
        if wanted.resources_list_changed or REQUESTS in uris:
            watches.append(_watch_list(ctx, stream, who, await _newest(ctx, who)))
        token = _opened.set(stream)
        self._open[who] += 1
        tasks = [asyncio.create_task(each) for each in watches]
        try:
            return await call_next(ctx)
        finally:
            _opened.reset(token)
            self._open[who] -= 1
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _checked(
    ctx: ServerRequestContext[Lifespan, Any], who: Principal, uris: Sequence[str]
) -> dict[str, Status]:
    """Return the requests that resources belong to, with their status.

    Raises:
        MCPError: one does not exist, or is somebody else's.
    """
    found: dict[str, Status] = {}
    for uri in uris:
        if uri in {REQUESTS, GUIDE_URI}:
            continue
        try:
            service = await ctx.lifespan_context()
            request_id = request_of(uri) or ""
            found[request_id] = (await service.status(who, request_id)).status
        except RequestNotFound:
            raise MCPError(INVALID_PARAMS, f"Unknown resource: {uri}", data={"uri": uri}) from None
        except OutpaintError as exc:
            raise MCPError(INTERNAL_ERROR, explained(exc, is_remote=who.is_remote)) from exc
    return found


class _Watch:
    """Follows a request for one stream."""

    def __init__(self, stream: _Stream, request_id: str, uris: Sequence[str], status: Status) -> None:
        self._stream = stream
        self._request_id = request_id
        self._uris = [uri for uri in uris if request_of(uri) == request_id]
        self._status = status
        self._awaits_agreement: bool | None = None

    async def run(self, ctx: ServerRequestContext[Lifespan, Any], who: Principal) -> None:
        """Report the request's changes until it has ended."""
        while not self._status.is_final:
            try:
                service = await ctx.lifespan_context()
                report = await service.status(
                    who, self._request_id, wait_seconds=_WAIT_SECONDS, on_update=self._look
                )
            except ServerStopping:
                return
            except RequestNotFound:  # deleted
                self._report()
                return
            except StorageFailed:  # for as long as that lasts, there is nothing to report
                pass
            else:
                self._note(report.status)
            await asyncio.sleep(_LOOK_SECONDS)

    async def _look(self, now: RequestProgress) -> None:
        self._note(now.status)
        if self._awaits_agreement is not None and now.awaits_agreement is not self._awaits_agreement:
            self._report()
        self._awaits_agreement = now.awaits_agreement

    def _note(self, status: Status) -> None:
        if status is not self._status:
            self._status = status
            self._report()

    def _report(self) -> None:
        for uri in self._uris:
            self._stream.hear(ResourceUpdated(uri))


async def _watch_list(
    ctx: ServerRequestContext[Lifespan, Any], stream: _Stream, who: Principal, newest: str
) -> None:
    """Report that a caller has a new request."""
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        try:
            now = await _newest(ctx, who)
        except ServerStopping:
            return
        except StorageFailed:
            continue
        if now != newest:
            stream.hear(ResourceUpdated(REQUESTS))
            stream.hear(ResourcesListChanged())
        newest = now


async def _newest(ctx: ServerRequestContext[Lifespan, Any], who: Principal) -> str:
    service = await ctx.lifespan_context()
    return next((each.request_id for each in (await service.list(who, limit=1)).requests), "")
