"""The command line: the same way as the tools, for a person at a terminal."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING, NoReturn

from outpaint_mcp import errors
from outpaint_mcp._version import __version__
from outpaint_mcp.cli.options import add_delivery, add_keys, add_request, source_text
from outpaint_mcp.cli.output import finish, is_closed_pipe, prepare
from outpaint_mcp.cli.serving import add_options, serve_mcp
from outpaint_mcp.cli.wording import TERMINAL
from outpaint_mcp.config import Settings
from outpaint_mcp.disk.writing import keep_private
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
    errors.ServerBusy: 6,
    errors.LimitReached: 6,
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
    from outpaint_mcp.workers.cage import shield_process  # noqa: PLC0415 - loads ctypes

    shield_process()
    keep_private()
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
    parser.set_defaults(run=serve_mcp, http=False)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    serve = commands.add_parser("serve", help="serve MCP over stdio, or over Streamable HTTP with --http")
    add_options(serve)

    keys = commands.add_parser("keys", help="add, list and remove API keys for callers over HTTP")
    add_keys(keys)
    keys.set_defaults(run=_keys)

    extend = commands.add_parser("extend", help="extend a recording and wait for the result")
    add_request(extend)
    add_delivery(extend)
    extend.set_defaults(run=_command, command="extend")

    get = commands.add_parser("get", help="wait for an earlier request and deliver its extended file")
    get.add_argument("request_id", metavar="ID", help="the request's id, from extend, list or an assistant")
    add_delivery(get)
    get.set_defaults(run=_command, command="get")

    approve = commands.add_parser(
        "approve", help="agree that a request may cost more than was expected; shows the figures and asks"
    )
    approve.add_argument("request_id", metavar="ID", help="the request's id, from list or an assistant")
    approve.set_defaults(run=_command, command="approve")

    analyze = commands.add_parser("analyze", help="measure a recording: tempo, key, loudness, sections")
    analyze.add_argument(
        "source",
        type=source_text,
        metavar="SOURCE",
        help="a file, an https link, or the id of an earlier request",
    )
    analyze.add_argument(
        "--picture", metavar="PNG", help="write an image of waveform, spectrogram and sections"
    )
    analyze.add_argument("--json", action="store_true", help="print all measurements as JSON")
    analyze.set_defaults(run=_command, command="analyze")

    files = commands.add_parser("files", help="list what can be extended: audio files and earlier results")
    files.add_argument("query", metavar="QUERY", nargs="?", default="", help="a name, or words of it")
    files.add_argument(
        "--folder", default="", metavar="FOLDER", help="folder to list (all that sources may be read from)"
    )
    files.add_argument("--limit", type=int, default=20, help="maximum number of files (%(default)s)")
    files.add_argument("--json", action="store_true", help="print the list as JSON")
    files.set_defaults(run=_command, command="files")

    list_ = commands.add_parser("list", help="list requests, newest first")
    list_.add_argument("--limit", type=int, default=20, help="maximum number of requests (%(default)s)")
    list_.add_argument("--json", action="store_true", help="print the list as JSON")
    list_.set_defaults(run=_command, command="list")

    demo = commands.add_parser("demo", help="watch an MCP client use this server to extend a short piece")
    demo.add_argument("--output", metavar="FOLDER", help="folder for the piece and the extended file")
    demo.set_defaults(run=_command, command="demo")
    return parser


def _command(parsed: argparse.Namespace, settings: Settings) -> int:
    from outpaint_mcp.cli.commands import COMMANDS  # noqa: PLC0415 - loads pydantic

    return 0 if COMMANDS[parsed.command](parsed, settings) else _CANCELLED_EXIT_CODE


def _keys(parsed: argparse.Namespace, _settings: Settings) -> int:
    from outpaint_mcp.cli.keys import run_keys  # noqa: PLC0415 - for this alone

    return run_keys(parsed)
