"""The command line: the same way as the tools, for a person at a terminal."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import gc
import ipaddress
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from outpaint_mcp import __version__, errors
from outpaint_mcp.config import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outpaint_mcp.models import RequestList, ResultReport
    from outpaint_mcp.provider import ProviderStatus

# argparse itself exits with 2 for a command line it cannot read.
_EXIT_CODES: dict[type[errors.OutpaintError], int] = {
    errors.InvalidRequest: 2,
    errors.SourceError: 3,
    errors.GenerationFailed: 4,
    errors.ProviderError: 5,
    errors.DeliveryFailed: 6,
    errors.StorageFailed: 6,
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
        print(f"outpaint-mcp: {exc}", file=sys.stderr)
        sys.exit(next(code for kind, code in _EXIT_CODES.items() if isinstance(exc, kind)))
    except KeyboardInterrupt:
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
    serve.add_argument("--host", default="127.0.0.1", help="loopback address to listen on (%(default)s)")
    serve.add_argument("--port", type=int, default=8000, help="port to listen on (%(default)s)")
    serve.set_defaults(run=_serve)

    extend = commands.add_parser("extend", help="make one recording longer and wait for it")
    extend.add_argument("source", metavar="SOURCE", help="a file, an https link, or an earlier request id")
    extend.add_argument(
        "--before", type=float, default=0, metavar="SECONDS", help="music before (%(default)s)"
    )
    extend.add_argument(
        "--after", type=float, default=30, metavar="SECONDS", help="music after (%(default)s)"
    )
    extend.add_argument("--tags", default="", help="genre, mood, instruments; for hosted models")
    extend.add_argument("--lyrics", default="", help="for hosted models")
    extend.add_argument(
        "--seed", type=int, default=-1, help="the same seed gives the same take (%(default)s: any)"
    )
    extend.add_argument(
        "--output", type=Path, metavar="PLACE", help="folder, or file name, for the longer file"
    )
    extend.add_argument("--json", action="store_true", help="print the result as JSON")
    extend.set_defaults(run=_extend)

    list_ = commands.add_parser("list", help="list the requests, newest first")
    list_.add_argument("--limit", type=int, default=20, help="at most so many (%(default)s)")
    list_.add_argument("--json", action="store_true", help="print the list as JSON")
    list_.set_defaults(run=_list)

    demo = commands.add_parser("demo", help="watch an MCP client drive this server and extend a short piece")
    demo.add_argument(
        "--output", type=Path, metavar="FOLDER", help="folder for the piece and the longer file"
    )
    demo.set_defaults(run=_demo)
    return parser


def _serve(parsed: argparse.Namespace, settings: Settings) -> int:
    if parsed.http and not _is_loopback(parsed.host):
        raise errors.ConfigError(
            f"--host {parsed.host} can be reached from other machines, and nothing here checks who calls yet."
            " Use a loopback address (127.0.0.1, ::1, localhost), and a tunnel with its own login where it"
            " has to be reached from elsewhere."
        )
    # Half of the start is the SDK making objects that live as long as the process.
    gc.disable()
    from outpaint_mcp.server import build_server  # noqa: PLC0415 - loads the SDK

    server = build_server(settings)
    gc.freeze()
    gc.enable()
    if not parsed.http:
        if sys.stdin.isatty():
            print("outpaint-mcp: speaking MCP on stdin and stdout; see --help for commands.", file=sys.stderr)
        server.run("stdio")
        return 0
    host = f"[{parsed.host}]" if ":" in parsed.host else parsed.host
    print(f"outpaint-mcp: Streamable HTTP at http://{host}:{parsed.port}/mcp", file=sys.stderr)
    server.run("streamable-http", host=parsed.host, port=parsed.port)
    return 0


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _extend(parsed: argparse.Namespace, settings: Settings) -> int:
    from outpaint_mcp.journal import is_request_id  # noqa: PLC0415 - loads pydantic

    audio = parsed.source
    if "://" not in audio and not audio.startswith("data:") and not is_request_id(audio):
        # Who names a file at a terminal may read it.
        path = Path(audio).expanduser().absolute()
        audio = str(path)
        settings = dataclasses.replace(settings, input_dirs=(*settings.input_dirs, path.parent))
    target = None
    if parsed.output is not None:
        output = parsed.output.expanduser().absolute()
        if output.is_dir() or not output.suffix:
            settings = dataclasses.replace(settings, output_dir=output)
        else:
            target = output
    report = asyncio.run(_extend_and_wait(parsed, audio, settings, target))
    if parsed.json:
        print(report.model_dump_json(exclude_none=True, indent=2))
    elif report.path is not None:
        print(report.path)
        print(report.message, file=sys.stderr)
    if report.error is not None:
        raise errors.GenerationFailed(report.error)
    return 0 if report.path is not None else _CANCELLED_EXIT_CODE


async def _extend_and_wait(
    parsed: argparse.Namespace, audio: str, settings: Settings, target: Path | None
) -> ResultReport:
    from outpaint_mcp.desk import open_desk  # noqa: PLC0415 - loads pydantic
    from outpaint_mcp.models import OutpaintRequest  # noqa: PLC0415

    request = OutpaintRequest.of(
        audio=audio,
        tags=parsed.tags,
        extend_before_duration=parsed.before,
        extend_after_duration=parsed.after,
        lyrics=parsed.lyrics,
        seed=parsed.seed,
    )
    async with open_desk(settings) as desk:
        submission = await desk.submit(request)
        bar = _Bar(shown=sys.stderr.isatty())
        try:
            return await desk.result(
                submission.request_id, wait_seconds=float("inf"), on_update=bar.show, target=target
            )
        except asyncio.CancelledError:  # Ctrl-C: whoever waits at a terminal means the work as well
            await desk.cancel(submission.request_id)
            raise
        finally:
            bar.close()


class _Bar:
    """A progress line on the terminal."""

    _WIDTH = 30

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown
        self._since = time.monotonic()

    async def show(self, seen: ProviderStatus) -> None:
        if self._shown:
            share = seen.progress or 0.0
            done = round(share * self._WIDTH)
            words = f"{seen.queue_position} in line" if seen.queue_position else seen.step
            bar = "#" * done + "." * (self._WIDTH - done)
            line = f"[{bar}] {share:4.0%} {time.monotonic() - self._since:4.0f} s  {words}"
            print(f"\r{line:<70}", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._shown:
            print("\r" + " " * 70, end="\r", file=sys.stderr, flush=True)


def _list(parsed: argparse.Namespace, settings: Settings) -> int:
    from outpaint_mcp.desk import open_desk  # noqa: PLC0415 - loads pydantic

    async def listed() -> RequestList:
        async with open_desk(settings) as desk:
            return await desk.list(limit=parsed.limit)

    found = asyncio.run(listed())
    if parsed.json:
        print(found.model_dump_json(exclude_none=True, indent=2))
        return 0
    for each in found.requests:
        added = f"{each.extend_before_duration:g}+{each.extend_after_duration:g} s"
        where = each.path or each.error or each.title
        print(f"{each.created_at[:16]}  {each.request_id}  {each.status:<11}  {added:>10}  {where}")
    return 0


def _demo(parsed: argparse.Namespace, settings: Settings) -> int:
    from outpaint_mcp.demo import run_demo  # noqa: PLC0415 - loads the SDK

    folder = parsed.output.expanduser().absolute() if parsed.output else settings.output_dir
    folder.mkdir(parents=True, exist_ok=True)
    asyncio.run(run_demo(folder))
    return 0
