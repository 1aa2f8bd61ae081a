"""The command line: the same way as the tools, for a person at a terminal."""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import socket
import sys
from typing import TYPE_CHECKING, NoReturn, get_args

from outpaint_mcp import errors
from outpaint_mcp._version import __version__
from outpaint_mcp.cli.output import finish, is_closed_pipe, prepare
from outpaint_mcp.cli.wording import TERMINAL
from outpaint_mcp.config import Settings
from outpaint_mcp.export_options import Format, Part
from outpaint_mcp.reports.wording import explain

if TYPE_CHECKING:
    from collections.abc import Sequence

# argparse itself exits with 2 for a command line it cannot read.
_EXIT_CODES: dict[type[errors.OutpaintError], int] = {
    errors.InvalidRequest: 2,
    errors.SourceError: 3,
    errors.GenerationFailed: 4,
    errors.ProviderError: 5,
    errors.DeliveryFailed: 6,
    errors.StorageFailed: 6,
    errors.ServerStopping: 6,
    errors.InternalError: 70,
    errors.RequestNotFound: 7,
    errors.ConfigError: 8,
}
_CANCELLED_EXIT_CODE = 130
_CLOSED_PIPE_EXIT_CODE = 141
"""What a shell reports of a program that SIGPIPE ended."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit; without one, serve MCP over stdio."""
    prepare(sys.stdout, sys.stderr)
    try:
        code = _run(arguments)
    except* OSError as failures:
        if failures.subgroup(is_closed_pipe) is None:
            raise
        code = _CLOSED_PIPE_EXIT_CODE
    failure = finish(sys.stdout, sys.stderr)
    if failure is not None and is_closed_pipe(failure):
        code = _CLOSED_PIPE_EXIT_CODE
    elif failure is not None:
        print(f"outpaint-mcp: cannot write the output: {failure.strerror}.", file=sys.stderr)
        code = _EXIT_CODES[errors.DeliveryFailed]
    sys.exit(code)


def _run(arguments: Sequence[str] | None) -> int:
    """Run a command; its errors become a message and an exit code."""
    try:
        parsed = _parser().parse_args(arguments)
    except SystemExit as exc:  # after --help, or a command line that cannot be read
        return int(exc.code or 0)
    try:
        return int(parsed.run(parsed, _settings()))
    except errors.OutpaintError as exc:
        message = explain(exc, TERMINAL)
        if getattr(parsed, "json", False):
            print(json.dumps({"error": message}, ensure_ascii=False))
        print(f"outpaint-mcp: {message}", file=sys.stderr)
        return next((code for kind, code in _EXIT_CODES.items() if isinstance(exc, kind)), 70)
    except KeyboardInterrupt:
        print("outpaint-mcp: interrupted.", file=sys.stderr)
        return _CANCELLED_EXIT_CODE


def _settings() -> Settings:
    """Read the settings; one that cannot be used ends every command before it begins."""
    from outpaint_mcp.providers.registry import check_provider  # noqa: PLC0415 - loads asyncio

    settings = Settings.from_env(os.environ)
    check_provider(settings.provider)
    return settings


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="outpaint-mcp",
        description="Extend a recording. Without a command, serves MCP on stdin and stdout.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.set_defaults(run=_serve, http=False)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    serve = commands.add_parser("serve", help="serve MCP over stdio, or over Streamable HTTP with --http")
    serve.add_argument("--http", action="store_true", help="Streamable HTTP instead of stdio")
    serve.add_argument(
        "--host", default="127.0.0.1", help="with --http: loopback address to listen on (%(default)s)"
    )
    serve.add_argument("--port", type=int, default=8000, help="with --http: port to listen on (%(default)s)")
    serve.set_defaults(run=_serve)

    extend = commands.add_parser("extend", help="extend a recording and wait for the result")
    extend.add_argument(
        "source", metavar="SOURCE", help="a file, an https link, or the id of an earlier request"
    )
    extend.add_argument(
        "--before",
        type=float,
        default=0,
        metavar="SECONDS",
        help="seconds of new music before it (%(default)s)",
    )
    extend.add_argument(
        "--after",
        type=float,
        default=30,
        metavar="SECONDS",
        help="seconds of new music after it (%(default)s)",
    )
    extend.add_argument(
        "--from", dest="start", type=float, default=0, metavar="SECONDS", help="start of the part to extend"
    )
    extend.add_argument(
        "--to",
        dest="end",
        type=float,
        default=0,
        metavar="SECONDS",
        help="end of the part to extend (the source's end)",
    )
    extend.add_argument(
        "--takes", type=int, default=1, help="number of takes to generate, 1 to 4 (%(default)s)"
    )
    extend.add_argument("--tags", default="", help="genre, mood and instruments, for generative models")
    extend.add_argument(
        "--lyrics", default="", help="words to sing, for generative models; [inst] for no vocals"
    )
    extend.add_argument(
        "--seed", type=int, default=-1, help="the same seed gives the same take (%(default)s: random)"
    )
    _add_delivery(extend)
    extend.set_defaults(run=_command, command="extend")

    get = commands.add_parser("get", help="wait for an earlier request and deliver its extended file")
    get.add_argument("request_id", metavar="ID", help="the request's id, from extend, list or an assistant")
    _add_delivery(get)
    get.set_defaults(run=_command, command="get")

    analyze = commands.add_parser("analyze", help="measure a recording: tempo, key, loudness, sections")
    analyze.add_argument(
        "source", metavar="SOURCE", help="a file, an https link, or the id of an earlier request"
    )
    analyze.add_argument(
        "--picture", metavar="PNG", help="write an image of waveform, spectrogram and sections"
    )
    analyze.add_argument("--json", action="store_true", help="print all measurements as JSON")
    analyze.set_defaults(run=_command, command="analyze")

    list_ = commands.add_parser("list", help="list requests, newest first")
    list_.add_argument("--limit", type=int, default=20, help="maximum number of requests (%(default)s)")
    list_.add_argument("--json", action="store_true", help="print the list as JSON")
    list_.set_defaults(run=_command, command="list")

    demo = commands.add_parser("demo", help="watch an MCP client use this server to extend a short piece")
    demo.add_argument("--output", metavar="FOLDER", help="folder for the piece and the extended file")
    demo.set_defaults(run=_command, command="demo")
    return parser


def _add_delivery(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--output",
        metavar="PLACE",
        help="folder or file name for the extended file; .mp3, .ogg, .opus or .flac choose that format",
    )
    command.add_argument(
        "--format",
        choices=get_args(Format),
        help="format of the extended file (source: lossless, at the source's bit depth)",
    )
    command.add_argument(
        "--part", choices=get_args(Part), default="whole", help="only the music added on one side"
    )
    command.add_argument(
        "--no-restore", action="store_true", help="the provider's own file, with its rendering of the source"
    )
    command.add_argument("--json", action="store_true", help="print the result as JSON")


def _command(parsed: argparse.Namespace, settings: Settings) -> int:
    from outpaint_mcp.cli.commands import COMMANDS  # noqa: PLC0415 - loads pydantic

    return 0 if COMMANDS[parsed.command](parsed, settings) else _CANCELLED_EXIT_CODE


def _serve(parsed: argparse.Namespace, settings: Settings) -> int:
    if parsed.http:
        _check_address(parsed.host, parsed.port)
    parent_id = os.getppid()
    # Before the SDK does: the handler that it prefers ends the process when nobody reads stderr any more.
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # Half of the start is the SDK creating objects that live as long as the process.
    gc.disable()
    from outpaint_mcp.server.app import build_server  # noqa: PLC0415 - loads the SDK
    from outpaint_mcp.server.stdio import run_stdio  # noqa: PLC0415 - likewise

    gc.freeze()
    gc.enable()
    if not parsed.http:
        if sys.stdin.isatty():
            print(
                "outpaint-mcp: serving MCP on stdin and stdout. Ctrl-C stops it; --help lists the commands.",
                file=sys.stderr,
            )
        run_stdio(settings, parent_id=parent_id)
    host = f"[{parsed.host}]" if ":" in parsed.host else parsed.host
    print(f"outpaint-mcp: Streamable HTTP at http://{host}:{parsed.port}/mcp", file=sys.stderr)
    build_server(settings).run("streamable-http", host=parsed.host, port=parsed.port)
    return 0


def _check_address(host: str, port: int) -> None:
    """Check that the address is allowed, and free.

    Raises:
        ConfigError: it is not.
    """
    # The SDK checks the Host header for these alone; 127.0.0.2 is as local, but open to any web page.
    if host not in {"127.0.0.1", "localhost", "::1"}:
        raise errors.ConfigError(
            f"--host {host} is not allowed, because the server does not authenticate callers yet. Use a loopback"
            " address (127.0.0.1, ::1 or localhost), and to reach it from elsewhere a tunnel with its own login."
        )
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            pass
    except (OSError, OverflowError) as exc:
        raise errors.ConfigError(f"Cannot listen on port {port} ({exc}). Choose another --port.") from exc
