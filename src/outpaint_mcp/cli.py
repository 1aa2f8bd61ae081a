"""The command line: the same way as the tools, for a person at a terminal."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import gc
import json
import os
import socket
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from outpaint_mcp import __version__, errors
from outpaint_mcp.config import Settings
from outpaint_mcp.wording import for_a_person

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outpaint_mcp.desk import Desk
    from outpaint_mcp.models import RequestList
    from outpaint_mcp.terminal import Begin

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
        if getattr(parsed, "json", False):
            print(json.dumps({"error": str(exc)}, ensure_ascii=False))
        print(f"outpaint-mcp: {for_a_person(str(exc))}", file=sys.stderr)
        sys.exit(next(code for kind, code in _EXIT_CODES.items() if isinstance(exc, kind)))
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
    extend.add_argument("--tags", default="", help="genre, mood, instruments; for hosted models")
    extend.add_argument("--lyrics", default="", help="for hosted models")
    extend.add_argument(
        "--seed", type=int, default=-1, help="the same seed gives the same take (%(default)s: any)"
    )
    _add_delivery(extend)
    extend.set_defaults(run=_extend)

    get = commands.add_parser("get", help="wait for an earlier request and deliver its longer file")
    get.add_argument("request_id", metavar="ID", help="as extend, list or an assistant gave it")
    _add_delivery(get)
    get.set_defaults(run=_get)

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


def _add_delivery(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--output",
        type=Path,
        metavar="PLACE",
        help="folder or file name for the longer file; it is WAV or FLAC, as the source warrants",
    )
    command.add_argument("--json", action="store_true", help="print the result as JSON")


def _serve(parsed: argparse.Namespace, settings: Settings) -> int:
    if parsed.http:
        _check_address(parsed.host, parsed.port)
    # Half of the start is the SDK making objects that live as long as the process.
    gc.disable()
    from outpaint_mcp.server import build_server, run_stdio  # noqa: PLC0415 - loads the SDK

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


def _extend(parsed: argparse.Namespace, settings: Settings) -> int:
    from outpaint_mcp.journal import is_request_id  # noqa: PLC0415 - loads pydantic
    from outpaint_mcp.models import OutpaintRequest  # noqa: PLC0415
    from outpaint_mcp.reports import WHAT_NEXT  # noqa: PLC0415
    from outpaint_mcp.sources.paths import path_of_file_url  # noqa: PLC0415

    request = OutpaintRequest.of(
        audio=parsed.source,
        tags=parsed.tags,
        extend_before_duration=parsed.before,
        extend_after_duration=parsed.after,
        lyrics=parsed.lyrics,
        seed=parsed.seed,
    )
    audio = parsed.source
    if audio.startswith("file:"):
        audio = path_of_file_url(audio)
    if "://" not in audio and not audio.startswith("data:") and not is_request_id(audio):
        # Who names a file at a terminal may read it.
        path = Path(audio).expanduser().absolute()
        if not path.exists():
            raise errors.SourceUnreachable(f"There is no file {path}.")
        audio = str(path)
        settings = dataclasses.replace(settings, input_dirs=(*settings.input_dirs, path.parent))
        request = request.model_copy(update={"audio": audio})

    async def submit(desk: Desk) -> tuple[str, bool]:
        submission = await desk.submit(request)
        if not parsed.json and submission.status != "unknown":  # that is told as the error that it is
            print(submission.message.removesuffix(WHAT_NEXT).rstrip(), file=sys.stderr)
        return submission.request_id, not submission.is_repeat

    return _deliver(parsed, settings, submit)


def _get(parsed: argparse.Namespace, settings: Settings) -> int:
    async def given(_desk: Desk) -> tuple[str, bool]:
        return str(parsed.request_id), False

    return _deliver(parsed, settings, given)


def _deliver(parsed: argparse.Namespace, settings: Settings, begin: Begin) -> int:
    """Wait for a request and print where its longer file is."""
    from outpaint_mcp.terminal import wait  # noqa: PLC0415 - loads pydantic

    settings, target = _place(parsed.output, settings)
    report = asyncio.run(wait(settings, begin, target))
    if report.status == "unknown":
        raise errors.SubmissionUnknown(report.error or report.message)
    if report.status == "failed":
        raise errors.GenerationFailed(report.error or report.message)
    if report.status == "cancelled":
        print(f"outpaint-mcp: {report.error or report.message}", file=sys.stderr)
    if parsed.json:
        print(report.model_dump_json(exclude_none=True, indent=2))
    elif report.path is not None:
        print(report.path)
        print(report.message, file=sys.stderr)
    return 0 if report.path is not None else _CANCELLED_EXIT_CODE


def _place(output: Path | None, settings: Settings) -> tuple[Settings, Path | None]:
    """Find out what `--output` means, before any work is done for a place that cannot be used.

    Raises:
        InvalidRequest: a format that is not made.
        DeliveryFailed: something lies there, or nothing can be written there.
    """
    if output is None:
        return settings, None
    output = output.expanduser().absolute()
    is_folder = output.is_dir() or not output.suffix
    lossy = {".mp3", ".ogg", ".opus", ".m4a", ".aac"}
    if settings.provider == "local" and output.suffix.lower() in lossy and not is_folder:
        raise errors.InvalidRequest(
            f"{output.name}: longer files are WAV or FLAC, so that nothing of the source is lost. Name it .flac, or"
            " name a folder."
        )
    if not is_folder:
        for taken in (output, *map(output.with_suffix, (".wav", ".flac", ".mp3", ".ogg"))):
            if taken.exists():
                raise errors.DeliveryFailed(f"{taken} is there already, and nothing is overwritten.")
    folder = output if is_folder else output.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise errors.DeliveryFailed(f"{folder} cannot be made: {exc.strerror or exc}.") from exc
    if not os.access(folder, os.W_OK):
        raise errors.DeliveryFailed(f"{folder} cannot be written to.")
    return (dataclasses.replace(settings, output_dir=folder), folder) if is_folder else (settings, output)


def _list(parsed: argparse.Namespace, settings: Settings) -> int:
    from outpaint_mcp.opening import open_desk  # noqa: PLC0415 - loads pydantic

    async def listed() -> RequestList:
        async with open_desk(settings, runs=False) as desk:
            return await desk.list(limit=parsed.limit)

    found = asyncio.run(listed())
    if parsed.json:
        print(found.model_dump_json(exclude_none=True, indent=2))
        return 0
    if not found.requests:
        print("No requests yet.", file=sys.stderr)
    if found.spent_usd or found.open_estimate_usd:
        unknown = f", and up to ${found.open_estimate_usd:.4f} whose cost is not known"
        print(f"Spent: ${found.spent_usd:.4f}{unknown if found.open_estimate_usd else ''}.", file=sys.stderr)
    for each in found.requests:
        made = datetime.fromisoformat(each.created_at).astimezone()
        added = f"{each.extend_before_duration:g}+{each.extend_after_duration:g} s"
        where = each.path or each.error or each.title
        if each.status == "completed" and each.path is None:
            where = f"{each.title}: outpaint-mcp get {each.request_id}"
        print(f"{made:%Y-%m-%d %H:%M}  {each.request_id}  {each.status:<11}  {added:>10}  {where}")
    return 0


def _demo(parsed: argparse.Namespace, settings: Settings) -> int:
    from outpaint_mcp.demo import run_demo  # noqa: PLC0415 - loads the SDK

    settings, _ = _place(parsed.output or settings.output_dir, settings)
    asyncio.run(run_demo(settings.output_dir))
    return 0
