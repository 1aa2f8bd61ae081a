"""The server over HTTP: the SDK's application behind our own door."""

from __future__ import annotations

import asyncio
import errno
import logging
import time
from typing import TYPE_CHECKING, Any

import uvicorn
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.transport_security import TransportSecuritySettings

from outpaint_mcp.server.app import build_server
from outpaint_mcp.server.http.addresses import Addresses
from outpaint_mcp.server.http.bodies import Bodies
from outpaint_mcp.server.http.connections import protocol
from outpaint_mcp.server.http.files import Files
from outpaint_mcp.server.http.gate import Gate
from outpaint_mcp.server.http.key import LINKS_FILE_NAME, load_key
from outpaint_mcp.server.http.limits import Limits, most_connections
from outpaint_mcp.server.http.sessions import Sessions
from outpaint_mcp.server.http.settings import PATH
from outpaint_mcp.server.wording import TOOLS
from outpaint_mcp.service.file_links import FileLinks
from outpaint_mcp.service.on_demand import ServiceOnDemand

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from mcp.server import MCPServer

    from outpaint_mcp.config import Settings
    from outpaint_mcp.server.content import Lifespan
    from outpaint_mcp.server.http.settings import HttpSettings

_log = logging.getLogger(__name__)

# At a time: the event loop takes as many before it counts one of them.
_ACCEPTED = 32
# In the system's queue until then.
_QUEUED = 2048
_STOP_SECONDS = 5
_QUIET_SECONDS = 60.0
_NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


def run_http(settings: Settings, http: HttpSettings, sockets: Sequence[socket.socket]) -> None:
    """Serve until a signal comes.

    Args:
        settings: where things are.
        http: how it is reached, and by whom.
        sockets: where to listen.
    """
    # It logs whole answers, in which there may be a signed link.
    logging.getLogger("sse_starlette").setLevel(logging.INFO)
    for name in (
        "transport_security",
        "streamable_http_manager",
    ):  # headers, into which somebody may put the key
        logging.getLogger(f"mcp.server.{name}").setLevel(logging.ERROR)
    limits = Limits(connections=most_connections())
    key = http.link_key or load_key(settings.data_dir, LINKS_FILE_NAME)[0].encode()
    links = FileLinks(key, http.public_url)
    service = ServiceOnDemand(settings, TOOLS, links=links)
    http_server(build_server(settings, service=service), service, links, http, limits).run([*sockets])


def http_server(
    server: MCPServer[Lifespan],
    service: ServiceOnDemand,
    links: FileLinks,
    http: HttpSettings,
    limits: Limits,
) -> uvicorn.Server:
    """Put a server behind our door, and files beside it.

    Args:
        server: the server.
        service: what it works with.
        links: those to files.
        http: how it is reached, and by whom.
        limits: what callers may take up.
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
    config = uvicorn.Config(
        Addresses(Gate(AuthContextMiddleware(Files(messages, service, links, limits)), http), http),
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
    return _Server(config)


class _Server(uvicorn.Server):
    """Takes connections a few at a time; is quiet where the system has no room for them, and at the end."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for each in sockets or ():
            each.listen(_QUEUED)
        asyncio.get_running_loop().set_exception_handler(LoopErrors())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # It has a traceback for each request that is cut off.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        await super().shutdown(sockets)


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
