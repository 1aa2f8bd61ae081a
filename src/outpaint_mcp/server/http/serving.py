"""The server over HTTP: the SDK's application behind our own door."""

from __future__ import annotations

import asyncio
import errno
import logging
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import uvicorn
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.transport_security import TransportSecuritySettings
from sse_starlette.sse import AppStatus

from outpaint_mcp.server.app import build_server
from outpaint_mcp.server.calls import CallLog, Names
from outpaint_mcp.server.http.addresses import Addresses
from outpaint_mcp.server.http.bodies import Bodies
from outpaint_mcp.server.http.connections import is_awaiting_answer, protocol
from outpaint_mcp.server.http.files import Files
from outpaint_mcp.server.http.gate import Gate
from outpaint_mcp.server.http.key import LINKS_FILE_NAME, load_key
from outpaint_mcp.server.http.limits import Limits, most_connections
from outpaint_mcp.server.http.sessions import Sessions
from outpaint_mcp.server.http.settings import LOOPBACK, PATH, HttpSettings
from outpaint_mcp.server.http.signs_of_life import SignsOfLife
from outpaint_mcp.server.http.tracing import start_tracing
from outpaint_mcp.server.tools import all_tools
from outpaint_mcp.server.wording import TOOLS
from outpaint_mcp.service.file_links import FileLinks
from outpaint_mcp.service.on_demand import ServiceOnDemand

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Sequence

    from mcp.server import MCPServer
    from starlette.types import ASGIApp

    from outpaint_mcp.config import Settings
    from outpaint_mcp.server.content import Lifespan

_log = logging.getLogger(__name__)

# At a time: the event loop takes as many before it counts one of them.
_ACCEPTED = 32
# In the system's queue until then.
_QUEUED = 2048
_STOP_SECONDS = 5
_ANSWER_SECONDS = 3.5
_LOOK_SECONDS = 0.05
_QUIET_SECONDS = 60.0
_NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


def run_http(
    settings: Settings,
    http: HttpSettings,
    sockets: Sequence[socket.socket],
    metrics_sockets: Sequence[socket.socket] | None = None,
) -> None:
    """Serve until a signal comes.

    Args:
        settings: where things are.
        http: how it is reached, and by whom.
        sockets: where to listen.
        metrics_sockets: where to show figures; None for nowhere.
    """
    # It logs whole answers, in which there may be a signed link.
    logging.getLogger("sse_starlette").setLevel(logging.INFO)
    for name in (
        "transport_security",  # headers, into which somebody may put the key
        "streamable_http_manager",
        "mcpserver.server",  # what tools answer that fail, in which there may be a link of ours
    ):
        logging.getLogger(f"mcp.server.{name}").setLevel(logging.ERROR)
    limits = Limits(connections=most_connections())
    key = http.link_key or load_key(settings.data_dir, LINKS_FILE_NAME)[0].encode()
    links = FileLinks(key, http.public_url)
    service = ServiceOnDemand(settings, TOOLS, links=links)
    server = build_server(settings, service=service, has_callers=http.knows_callers)
    names = Names(each.name for each in all_tools(settings.provider))
    server.middleware.append(CallLog(names))
    beside = None
    if metrics_sockets is not None:
        from outpaint_mcp.server.http.metrics import Metrics  # noqa: PLC0415 - an extra

        metrics = Metrics(service, names)
        server.middleware.append(metrics.measure)
        # Elsewhere, whoever scrapes knows it by any address.
        is_local = metrics_sockets[0].getsockname()[0] in LOOPBACK
        shown = Addresses(metrics, HttpSettings()) if is_local else metrics
        beside = _Beside(_config(shown, limits), metrics_sockets)
    served = http_server(server, service, links, http, limits, beside=beside, on_stopped=start_tracing())
    served.run([*sockets])


def http_server(  # noqa: PLR0913 - what it is put together from
    server: MCPServer[Lifespan],
    service: ServiceOnDemand,
    links: FileLinks,
    http: HttpSettings,
    limits: Limits,
    *,
    beside: _Beside | None = None,
    on_stopped: Callable[[], None] = lambda: None,
) -> uvicorn.Server:
    """Put a server behind our door, and files beside it.

    Args:
        server: the server.
        service: what it works with.
        links: those to files.
        http: how it is reached, and by whom.
        limits: what callers may take up.
        beside: what else is served for as long as it is.
        on_stopped: called in a thread at the very end.
    """
    app = server.streamable_http_app(
        streamable_http_path=PATH,
        max_request_body_size=limits.body_bytes,
        session_idle_timeout=limits.session_seconds,
        max_sessions=None,
        # The SDK checks Host and Origin at its own address only: our door does, at all of them.
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    messages = Bodies(Sessions(app, limits.sessions), limits)
    authenticated = AuthContextMiddleware(Files(messages, service, links, limits))
    door = Addresses(Gate(SignsOfLife(authenticated, service), http, most_open=limits.connections // 4), http)
    return _Server(_config(door, limits), service, beside, on_stopped)


def _config(app: ASGIApp, limits: Limits) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="asyncio",
        http=protocol(limits),  # type: ignore[arg-type]  # only ever called
        ws="none",
        lifespan="on",
        log_config=None,
        # It has a line for whatever it cannot read; and the address of a request may have the key in it.
        log_level=logging.ERROR,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=_ACCEPTED,
        timeout_keep_alive=max(1, int(limits.header_seconds)),
        timeout_graceful_shutdown=_STOP_SECONDS,
        h11_max_incomplete_event_size=16 * 1024,
    )


class _Beside(uvicorn.Server):
    """A small server that runs for as long as another one does."""

    def __init__(self, config: uvicorn.Config, sockets: Sequence[socket.socket]) -> None:
        super().__init__(config)
        self._sockets = [*sockets]
        self._serving: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Serve from now on."""
        self._serving = asyncio.create_task(self.serve(self._sockets))

    async def stop(self) -> None:
        """End."""
        self.should_exit = True
        if self._serving is not None:
            await self._serving

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the other one."""
        yield


class _Server(uvicorn.Server):
    """Takes connections a few at a time, is quiet where the system has no room for them, and ends in good order."""

    def __init__(
        self,
        config: uvicorn.Config,
        service: ServiceOnDemand,
        beside: _Beside | None,
        on_stopped: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._service = service
        self._beside = beside
        self._on_stopped = on_stopped

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        # By itself it ends them at the first signal, answered or not.
        AppStatus.disable_automatic_graceful_drain()  # type: ignore[no-untyped-call]  # its own
        AppStatus.should_exit = False
        await super().startup(sockets)
        for each in sockets or ():
            each.listen(_QUEUED)
        asyncio.get_running_loop().set_exception_handler(LoopErrors())
        if self._beside is not None:
            self._beside.start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._service.stop_waiting()
        ending = asyncio.create_task(self._end_streams())
        # It has a traceback for each request that is cut off.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        await super().shutdown(sockets)
        await ending
        if self._beside is not None:
            await self._beside.stop()
        await asyncio.to_thread(self._on_stopped)

    async def _end_streams(self) -> None:
        """End the streams of older clients, once those are answered that wait for something."""
        clock = asyncio.get_running_loop().time
        until = clock() + _ANSWER_SECONDS
        while clock() < until and any(  # noqa: ASYNC110 - uvicorn has no event for it
            map(is_awaiting_answer, self.server_state.connections)
        ):
            await asyncio.sleep(_LOOK_SECONDS)
        AppStatus.should_exit = True


class LoopErrors:
    """Reports what went wrong in the event loop; a lack of descriptors in one line a minute."""

    def __init__(self) -> None:
        self._reported_at = -_QUIET_SECONDS

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Report what is in the context, as the loop's exception handler."""
        failure = context.get("exception")
        if not isinstance(failure, OSError) or failure.errno not in _NO_ROOM:
            loop.default_exception_handler(context)
        elif time.monotonic() - self._reported_at >= _QUIET_SECONDS:
            self._reported_at = time.monotonic()
            _log.warning("No more connections are taken for now: %s", failure.strerror)
