"""The command that lists what can be extended."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
from datetime import datetime
from typing import TYPE_CHECKING

from outpaint_mcp.cli.places import named_path
from outpaint_mcp.cli.wording import TERMINAL
from outpaint_mcp.principals import OPERATOR
from outpaint_mcp.service.lifespan import open_service

if TYPE_CHECKING:
    import argparse

    from outpaint_mcp.config import Settings
    from outpaint_mcp.reports.models import AudioEntry, AudioList


def print_files(parsed: argparse.Namespace, settings: Settings) -> bool:
    """List files; a folder that is named at a terminal may be read, as a file may."""
    folder = str(parsed.folder)
    if folder and (path := named_path(folder)).is_dir():
        folder = str(path)
        settings = dataclasses.replace(settings, input_dirs=(*settings.input_dirs, path))

    async def listed() -> AudioList:
        async with open_service(settings, vocabulary=TERMINAL, runs=False) as service:
            return await service.list_audio(OPERATOR, folder=folder, query=parsed.query, limit=parsed.limit)

    found = asyncio.run(listed())
    if parsed.json:
        print(found.model_dump_json(exclude_none=True, indent=2))
        return True
    for each in found.files:
        print(_line(each))
    print(found.message, file=sys.stderr)
    return True


def _line(entry: AudioEntry) -> str:
    modified = datetime.fromisoformat(entry.modified_at).astimezone()
    seconds = entry.duration_seconds
    length = "" if seconds is None else f"{int(seconds // 60)}:{int(seconds % 60):02}"
    return f"{modified:%Y-%m-%d %H:%M}  {length:>7}  {entry.request_id or '':<23}  {entry.name}"
