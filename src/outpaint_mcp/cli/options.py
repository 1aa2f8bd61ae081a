"""The options of what is asked for, and of how it is delivered."""

from __future__ import annotations

import argparse
from datetime import date
from pathlib import Path
from typing import get_args

from outpaint_mcp.export_options import USUAL_KBPS, Format, Part
from outpaint_mcp.inputs import read_seconds
from outpaint_mcp.sources import legible, stored_text
from outpaint_mcp.wishes import BeginningName, EndingName, PlacementName


def source_text(text: str) -> str:
    """What is typed for a source, as text; a path that is no UTF-8 becomes a `file:` URL."""
    return text if legible(text) == text else stored_text(Path(text).absolute())


def add_request(command: argparse.ArgumentParser) -> None:
    """Add what can be asked of an extension."""
    command.add_argument(
        "source",
        type=source_text,
        metavar="SOURCE",
        help="a file, an https link, or the id of an earlier request",
    )
    command.add_argument(
        "--before",
        type=_seconds,
        default=0,
        metavar="SECONDS",
        help="seconds of new music before it (%(default)s)",
    )
    command.add_argument(
        "--after",
        type=_seconds,
        default=30,
        metavar="SECONDS",
        help="seconds of new music after it (%(default)s)",
    )
    command.add_argument(
        "--from",
        dest="start",
        type=_seconds,
        default=0,
        metavar="SECONDS",
        help="start of the part to extend",
    )
    command.add_argument(
        "--to",
        dest="end",
        type=_seconds,
        default=0,
        metavar="SECONDS",
        help="end of the part to extend (the source's end)",
    )
    command.add_argument(
        "--takes", type=int, default=1, help="number of takes to generate, 1 to 4 (%(default)s)"
    )
    command.add_argument(
        "--total", type=_seconds, default=0, metavar="SECONDS", help="length of the whole, instead of --after"
    )
    command.add_argument(
        "--placement",
        choices=get_args(PlacementName),
        default="natural",
        help="where the new music goes: on from the last full bar (natural), strictly outside, or inside",
    )
    command.add_argument(
        "--beginning",
        choices=get_args(BeginningName),
        default="natural",
        help="how new music before it begins",
    )
    command.add_argument(
        "--ending", choices=get_args(EndingName), default="natural", help="how new music after it ends"
    )
    command.add_argument(
        "--tags",
        default="",
        help='genre, mood, instruments; locally, energy and sections ("calm, like the chorus")',
    )
    command.add_argument(
        "--lyrics", default="", help="words to sing, for generative models; [inst] for no vocals"
    )
    command.add_argument(
        "--seed", type=int, default=-1, help="the same seed gives the same take (%(default)s: random)"
    )
    command.add_argument("--provider", default="", metavar="NAME", help="local or runcomfy (as configured)")
    command.add_argument(
        "--dry-run",
        action="store_true",
        help="start nothing: print the plan, length, cost, time and warnings",
    )


def _seconds(text: str) -> float:
    try:
        return read_seconds(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; give seconds, or 1:23") from None


def add_delivery(command: argparse.ArgumentParser) -> None:
    """Add where the extended file goes, and in which form."""
    command.add_argument(
        "--output",
        metavar="PLACE",
        help="folder or file name for the extended file; .wav, .flac, .mp3, .m4a, .ogg or .opus choose that format",
    )
    command.add_argument(
        "--format",
        choices=get_args(Format),
        help="format of the extended file (source: lossless, at the source's bit depth)",
    )
    command.add_argument(
        "--bitrate", type=int, metavar="KBPS", help=f"bit rate of a lossy format ({USUAL_KBPS})"
    )
    command.add_argument(
        "--part", choices=get_args(Part), default="whole", help="only the music added on one side"
    )
    command.add_argument(
        "--no-restore", action="store_true", help="the provider's own file, with its rendering of the source"
    )
    command.add_argument("--json", action="store_true", help="print the result as JSON")


def add_keys(keys: argparse.ArgumentParser) -> None:
    """Add what can be done with API keys."""
    actions = keys.add_subparsers(title="commands", metavar="COMMAND", dest="action", required=True)
    add = actions.add_parser("add", help="create a key, and show it once")
    add.add_argument(
        "name", metavar="NAME", help="who will use it: their requests and files belong to this name"
    )
    add.add_argument(
        "--expires",
        type=_day,
        metavar="YYYY-MM-DD",
        help="last day on which it works, in UTC (default: no end)",
    )
    actions.add_parser("list", help="list the names that have a key")
    remove = actions.add_parser("remove", help="remove a key; a running server notices at once")
    remove.add_argument("name", metavar="NAME", help="whose key")


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no day; give one such as 2027-01-31") from None
