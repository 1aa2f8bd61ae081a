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
from importlib.util import find_spec
from typing import TYPE_CHECKING

from outpaint_mcp import errors
from outpaint_mcp.server.logs import TEXT_FORMAT, JsonFormatter

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from outpaint_mcp.config import Settings
    from outpaint_mcp.server.http.settings import HttpSettings


def add_options(serve: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    serve.add_argument("--http", action="store_true", help="Streamable HTTP instead of stdio")
    serve.add_argument("--host", default="127.0.0.1", help="with --http: address to listen on (%(default)s)")
    serve.add_argument(
        "--port", type=int, default=8000, help="with --http: port to listen on (%(default)s; 0: any)"
    )
    serve.add_argument(
        "--no-key",
        action="store_true",
        help="with --http: ask callers for no key; every user and program of this machine can call",
    )
    serve.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="with --http: name that callers reach the server by, if not a loopback address; may be repeated",
    )
    serve.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        metavar="URL",
        help="with --http: web origin that may call it, such as https://outpaint.example.org; may be repeated",
    )
    serve.add_argument(
        "--metrics-port",
        type=int,
        metavar="PORT",
        help="with --http: port for Prometheus metrics, at /metrics (default: none)",
    )
    serve.add_argument(
        "--metrics-host",
        default="127.0.0.1",
        metavar="HOST",
        help="with --metrics-port: address to listen on (%(default)s)",
    )
    serve.set_defaults(run=serve_mcp)


def serve_mcp(parsed: argparse.Namespace, settings: Settings) -> int:
    """Serve until the client or a signal ends it."""
    parent_id = os.getppid()
    # Before the SDK does: the handler that it prefers ends the process when nobody reads stderr any more.
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if settings.log_format == "json" else logging.Formatter(TEXT_FORMAT))
    logging.basicConfig(level=settings.log_level, handlers=[handler])
    return _serve_http(parsed, settings) if parsed.http else _serve_stdio(settings, parent_id)


def _serve_stdio(settings: Settings, parent_id: int) -> int:
    with _creating_what_stays():
        from outpaint_mcp.server.stdio import run_stdio  # noqa: PLC0415 - loads the SDK

    if sys.stdin.isatty():
        _say("serving MCP on stdin and stdout. Ctrl-C stops it; --help lists the commands.")
    run_stdio(settings, parent_id=parent_id)


def _serve_http(parsed: argparse.Namespace, settings: Settings) -> int:
    from outpaint_mcp.server.http.key import FILE_NAME, load_key  # noqa: PLC0415 - loads SQLite
    from outpaint_mcp.server.http.settings import LOOPBACK, PATH, HttpSettings  # noqa: PLC0415 - for this alone

    _check_spending(settings, has_key=not parsed.no_key)
    if settings.max_day_usd is None:  # whoever can call may call again and again
        settings = dataclasses.replace(settings, max_day_usd=settings.max_cost_usd)
    http = HttpSettings.from_env(
        os.environ,
        host=parsed.host,
        hosts=parsed.allow_host,
        origins=parsed.allow_origin,
        no_key=parsed.no_key,
    )
    if http.knows_callers:
        settings.check_callers_apart()
    sockets = listen(parsed.host, parsed.port)
    metrics = None if parsed.metrics_port is None else _listen_for_metrics(parsed)
    address, port = sockets[0].getsockname()[:2]
    url = f"http://{f'[{address}]' if ':' in address else address}:{port}{PATH}"
    http = http.named_after(address, port)
    if http.knows_callers:
        _say(f"Streamable HTTP at {url}, for those with {_credentials(http)}. They use {http.mcp_url}.")
        if parsed.host not in LOOPBACK:
            _say(
                "this traffic is not encrypted: put a TLS proxy in front of it, and let nothing else connect."
            )
    elif parsed.no_key:
        _say(f"Streamable HTTP at {url}, without a key: every user and program of this machine can call.")
    else:
        secret, is_new = load_key(settings.data_dir)
        http = dataclasses.replace(http, secret=secret)
        where = settings.data_dir / FILE_NAME
        if is_new:
            _say(f"Streamable HTTP at {url}/{secret}")
            _say(
                f"the end of that URL is the key to this server. It is shown only once, and stays in {where}."
            )
        else:
            _say(f"Streamable HTTP at {url}/KEY, where KEY is in {where}.")
    with _creating_what_stays():
        from outpaint_mcp.server.http.serving import run_http  # noqa: PLC0415 - loads the SDK

    run_http(settings, http, sockets, metrics)
    return 0


def _listen_for_metrics(parsed: argparse.Namespace) -> list[socket.socket]:
    """Listen where figures are shown.

    Raises:
        ConfigError: the package that writes them is not installed, or the address cannot be used.
    """
    if find_spec("prometheus_client") is None:
        raise errors.ConfigError(
            "--metrics-port needs the extra outpaint-mcp[metrics]. Install that, or leave out --metrics-port."
        )
    sockets = listen(parsed.metrics_host, parsed.metrics_port)
    address, port = sockets[0].getsockname()[:2]
    _say(f"Prometheus metrics at http://{f'[{address}]' if ':' in address else address}:{port}/metrics")
    return sockets


def _credentials(http: HttpSettings) -> str:
    """Say what callers need."""
    kinds = ["an API key"] if http.keys is not None else []
    if http.oauth is not None:
        kinds.append(f"an access token of {http.oauth.issuer}")
    return " or ".join(kinds)


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
    """Listen on an address; for localhost on all that it stands for, so that nobody else does.

    Raises:
        ConfigError: it is not this machine's, or not free.
    """
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
                f"Cannot listen on {address}, port {port} ({exc}). Choose another --port, or --host.{advice}"
            ) from exc
        # The event loop does this only where it opens the socket itself: answers in two parts would take 40 ms.
        sockets[-1].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        port = sockets[0].getsockname()[1]
    return sockets


def _say(words: str) -> None:
    print(f"outpaint-mcp: {words}", file=sys.stderr, flush=True)
