"""The command line: the same way as the tools, for a person at a terminal."""

from __future__ import annotations

import argparse
import gc
import json
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, get_args

from outpaint_mcp import errors
from outpaint_mcp._version import __version__
from outpaint_mcp.cli.wording import for_a_person
from outpaint_mcp.config import Settings
from outpaint_mcp.results import Format, Part

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


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit; without one, serve MCP over stdio."""
    parsed = _parser().parse_args(arguments)
    try:
        sys.exit(parsed.run(parsed, Settings.from_env(os.environ)))
    except errors.OutpaintError as exc:
        if getattr(parsed, "json", False):
            print(json.dumps({"error": str(exc)}, ensure_ascii=False))
        print(f"outpaint-mcp: {for_a_person(str(exc))}", file=sys.stderr)
        sys.exit(next((code for kind, code in _EXIT_CODES.items() if isinstance(exc, kind)), 70))
    except KeyboardInterrupt:
        print("outpaint-mcp: interrupted.", file=sys.stderr)
        sys.exit(_CANCELLED_EXIT_CODE)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="outpaint-mcp",
        description="Make a recording longer. Without a command: an MCP server on stdin and stdout.",
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

    extend = commands.add_parser("extend", help="make one recording longer and wait for it")
    extend.add_argument("source", metavar="SOURCE", help="a file, an https link, or an earlier request id")
    extend.add_argument(
        "--before", type=float, default=0, metavar="SECONDS", help="music before (%(default)s)"
    )
    extend.add_argument(
        "--after", type=float, default=30, metavar="SECONDS", help="music after (%(default)s)"
    )
    extend.add_argument(
        "--from", dest="start", type=float, default=0, metavar="SECONDS", help="use the source from here on"
    )
    extend.add_argument(
        "--to", dest="end", type=float, default=0, metavar="SECONDS", help="use it up to here (its end)"
    )
    extend.add_argument("--takes", type=int, default=1, help="make so many takes, 1 to 4 (%(default)s)")
    extend.add_argument("--tags", default="", help="genre, mood, instruments; for hosted models")
    extend.add_argument("--lyrics", default="", help="for hosted models")
    extend.add_argument(
        "--seed", type=int, default=-1, help="the same seed gives the same take (%(default)s: any)"
    )
    _add_delivery(extend)
    extend.set_defaults(run=_command, command="extend")

    get = commands.add_parser("get", help="wait for an earlier request and deliver its longer file")
    get.add_argument("request_id", metavar="ID", help="as extend, list or an assistant gave it")
    _add_delivery(get)
    get.set_defaults(run=_command, command="get")

    analyze = commands.add_parser("analyze", help="say what a recording is, and draw it")
    analyze.add_argument("source", metavar="FILE", help="a file, an https link, or an earlier request id")
    analyze.add_argument(
        "--picture", type=Path, metavar="PNG", help="draw waveform, spectrogram and sections there"
    )
    analyze.add_argument("--json", action="store_true", help="print all that was measured as JSON")
    analyze.set_defaults(run=_command, command="analyze")

    list_ = commands.add_parser("list", help="list the requests, newest first")
    list_.add_argument("--limit", type=int, default=20, help="at most so many (%(default)s)")
    list_.add_argument("--json", action="store_true", help="print the list as JSON")
    list_.set_defaults(run=_command, command="list")

    demo = commands.add_parser("demo", help="watch an MCP client drive this server and extend a short piece")
    demo.add_argument(
        "--output", type=Path, metavar="FOLDER", help="folder for the piece and the longer file"
    )
    demo.set_defaults(run=_command, command="demo")
    return parser


def _add_delivery(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--output",
        type=Path,
        metavar="PLACE",
        help="folder or file name for the longer file; .mp3, .ogg or .opus choose that format",
    )
    command.add_argument(
        "--format",
        choices=get_args(Format),
        help="of the longer file (source: lossless, as deep as the source)",
    )
    command.add_argument(
        "--part", choices=get_args(Part), default="whole", help="only what was added on one side"
    )
    command.add_argument(
        "--no-restore",
        action="store_true",
        help="the provider's own file, its rendering of the source included",
    )
    command.add_argument("--json", action="store_true", help="print the result as JSON")


def _command(parsed: argparse.Namespace, settings: Settings) -> int:
    from outpaint_mcp.cli.commands import COMMANDS  # noqa: PLC0415 - loads pydantic

    return 0 if COMMANDS[parsed.command](parsed, settings) else _CANCELLED_EXIT_CODE


def _serve(parsed: argparse.Namespace, settings: Settings) -> int:
    if parsed.http:
        _check_address(parsed.host, parsed.port)
    # Half of the start is the SDK making objects that live as long as the process.
    gc.disable()
    from outpaint_mcp.server.app import build_server, run_stdio  # noqa: PLC0415 - loads the SDK

    gc.freeze()
    gc.enable()
    if not parsed.http:
        if sys.stdin.isatty():
            print(
                "outpaint-mcp: speaking MCP on stdin and stdout; Ctrl-C ends, --help tells.", file=sys.stderr
            )
        run_stdio(settings)
    host = f"[{parsed.host}]" if ":" in parsed.host else parsed.host
    print(f"outpaint-mcp: Streamable HTTP at http://{host}:{parsed.port}/mcp", file=sys.stderr)
    build_server(settings).run("streamable-http", host=parsed.host, port=parsed.port)
    return 0


def _check_address(host: str, port: int) -> None:
    """See that the address may be listened on, and can be.

    Raises:
        ConfigError: it may not, or cannot.
    """
    # Only for these does the SDK check who calls; 127.0.0.2 is as local, but open to any web page.
    if host not in {"127.0.0.1", "localhost", "::1"}:
        raise errors.ConfigError(
            f"--host {host} is not served: nothing here checks yet who calls there. Use a loopback address (127.0.0.1,"
            " ::1 or localhost), and a tunnel with its own login where it has to be reached from elsewhere."
        )
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            pass
    except (OSError, OverflowError) as exc:
        raise errors.ConfigError(
            f"Port {port} cannot be listened on ({exc}). Choose another --port."
        ) from exc
