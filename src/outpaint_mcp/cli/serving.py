"""The command that serves MCP, over stdio or HTTP."""

from __future__ import annotations

import dataclasses
import errno
import gc
import logging
import os
import socket
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from outpaint_mcp import errors

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from outpaint_mcp.config import Settings


def add_options(serve: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    serve.add_argument("--http", action="store_true", help="Streamable HTTP instead of stdio")
    serve.add_argument(
        "--host", default="127.0.0.1", help="with --http: loopback address to listen on (%(default)s)"
    )
    serve.add_argument(
        "--port", type=int, default=8000, help="with --http: port to listen on (%(default)s; 0: any)"
    )
    serve.add_argument(
        "--no-key",
        action="store_true",
        help="with --http: ask callers for no key; every user and program of this machine can call",
    )
    serve.set_defaults(run=serve_mcp)


def serve_mcp(parsed: argparse.Namespace, settings: Settings) -> int:
    """Serve until the client or a signal ends it."""
    parent_id = os.getppid()
    # Before the SDK does: the handler that it prefers ends the process when nobody reads stderr any more.
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    return _serve_http(parsed, settings) if parsed.http else _serve_stdio(settings, parent_id)


def _serve_stdio(settings: Settings, parent_id: int) -> int:
    with _creating_what_stays():
        from outpaint_mcp.server.stdio import run_stdio  # noqa: PLC0415 - loads the SDK

    if sys.stdin.isatty():
        _say("serving MCP on stdin and stdout. Ctrl-C stops it; --help lists the commands.")
    run_stdio(settings, parent_id=parent_id)


def _serve_http(parsed: argparse.Namespace, settings: Settings) -> int:
    _check_spending(settings, has_key=not parsed.no_key)
    if settings.max_day_usd is None:  # whoever can call may call again and again
        settings = dataclasses.replace(settings, max_day_usd=settings.max_cost_usd)
    sockets = listen(parsed.host, parsed.port)
    from outpaint_mcp.server.http.key import FILE_NAME, load_key  # noqa: PLC0415 - loads SQLite

    key, is_new = (None, False) if parsed.no_key else load_key(settings.data_dir)
    address, port = sockets[0].getsockname()[:2]
    url = f"http://{f'[{address}]' if ':' in address else address}:{port}/mcp"
    if key is None:
        _say(f"Streamable HTTP at {url}, without a key: every user and program of this machine can call.")
    elif is_new:
        _say(f"Streamable HTTP at {url}/{key}")
        _say(
            f"the end of that URL is the key to this server. It is shown only once, and stays in"
            f" {settings.data_dir / FILE_NAME}."
        )
    else:
        _say(f"Streamable HTTP at {url}/KEY, where KEY is in {settings.data_dir / FILE_NAME}.")
    with _creating_what_stays():
        from outpaint_mcp.server.http.serving import run_http  # noqa: PLC0415 - loads the SDK

    run_http(settings, sockets, key)
    return 0


@contextmanager
def _creating_what_stays() -> Iterator[None]:
    """Half of the start is the SDK creating objects that live as long as the process: none is to be collected."""
    gc.disable()
    yield
    gc.freeze()
    gc.enable()


def _check_spending(settings: Settings, *, has_key: bool) -> None:
    """Check that nobody can spend the owner's money without bounds.

    Raises:
        ConfigError: somebody could.
    """
    if settings.token is None:
        return
    if not has_key:
        raise errors.ConfigError(
            "--no-key lets every user and program of this machine spend your money, since there is a RunComfy token."
            " Leave out --no-key, or take the token away (RUNCOMFY_API_TOKEN, or the file of RunComfy's own command"
            " line)."
        )
    if settings.max_cost_usd is None:
        raise errors.ConfigError(
            "Over HTTP a RunComfy token needs a limit to what callers can spend. Set OUTPAINT_MAX_COST_USD, such as"
            " 0.25."
        )


def listen(host: str, port: int) -> list[socket.socket]:
    """Listen on a loopback address; for a name on all that it stands for, so that nobody else does.

    Raises:
        ConfigError: it is none, or not free.
    """
    # The SDK checks the Host header for these alone; 127.0.0.2 is as local, but open to any web page.
    if host not in {"127.0.0.1", "localhost", "::1"}:
        raise errors.ConfigError(
            f"--host {host} is not allowed, because there is one key for all callers, and it is sent unencrypted. Use a"
            " loopback address (127.0.0.1, ::1 or localhost), and to reach it from elsewhere a tunnel with its own"
            " login."
        )
    sockets: list[socket.socket] = []
    for address in ("127.0.0.1", "::1") if host == "localhost" else (host,):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            sockets.append(socket.create_server((address, port), family=family))
        except (OSError, OverflowError) as exc:
            if sockets and getattr(exc, "errno", None) in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
                break  # this machine has no IPv6
            # Whoever is there has what clients send in the meantime.
            seen = (
                "If the program there is another user's, delete http-key from the data folder, for a new key."
            )
            advice = f" {seen}" if getattr(exc, "errno", None) == errno.EADDRINUSE else ""
            raise errors.ConfigError(
                f"Cannot listen on port {port} ({exc}). Choose another --port.{advice}"
            ) from exc
        # The event loop does this only where it opens the socket itself: answers in two parts would take 40 ms.
        sockets[-1].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        port = sockets[0].getsockname()[1]
    return sockets


def _say(words: str) -> None:
    print(f"outpaint-mcp: {words}", file=sys.stderr, flush=True)
