"""The commands: the same way through the service as the tools, for a person at a terminal."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import re
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from outpaint_mcp import errors
from outpaint_mcp.cli.approval import approve
from outpaint_mcp.cli.files import print_files
from outpaint_mcp.cli.places import named_path
from outpaint_mcp.cli.progress import Bar, wait
from outpaint_mcp.cli.wording import TERMINAL
from outpaint_mcp.disk.writing import create, make_persons
from outpaint_mcp.export_options import ExportOptions
from outpaint_mcp.models import SubmitRequest
from outpaint_mcp.principals import OPERATOR
from outpaint_mcp.service.destinations import OTHER_SUFFIXES, WRITTEN_SUFFIXES, fit_format, not_written
from outpaint_mcp.service.lifespan import open_service
from outpaint_mcp.sources import legible, stored_text
from outpaint_mcp.sources.paths import path_of_file_url
from outpaint_mcp.storage.ids import is_request_id

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from outpaint_mcp.cli.progress import Begin
    from outpaint_mcp.config import Settings
    from outpaint_mcp.reports.models import AnalysisReport, DryRun, RequestList
    from outpaint_mcp.service.service import OutpaintService

_LIKE_A_SUFFIX = re.compile(r"\.[A-Za-z]{2,4}")
"""What names a file, of whatever kind; any other dot in a name is part of a folder's."""
_SEPARATORS = tuple(filter(None, (os.sep, os.altsep)))


def _extend(parsed: argparse.Namespace, settings: Settings) -> bool:
    request = SubmitRequest.of(
        audio=parsed.source,
        tags=parsed.tags,
        extend_before_duration=parsed.before,
        extend_after_duration=parsed.after,
        lyrics=parsed.lyrics,
        seed=parsed.seed,
        source_start_seconds=parsed.start,
        source_end_seconds=parsed.end,
        takes=parsed.takes,
        total_seconds=parsed.total,
        placement=parsed.placement,
        beginning=parsed.beginning,
        ending=parsed.ending,
    )
    audio, settings = _opened(parsed.source, settings)
    request = request.model_copy(update={"audio": audio})

    if parsed.dry_run:
        return _foresee(parsed, settings, request)

    async def submit(service: OutpaintService) -> tuple[str, bool]:
        submission = await service.submit(OPERATOR, request, provider=parsed.provider)
        if not parsed.json and submission.status != "unknown":  # which is reported as an error
            print(submission.message, file=sys.stderr)
        return submission.request_id, not submission.is_repeat

    return _deliver(parsed, settings, submit)


def _foresee(parsed: argparse.Namespace, settings: Settings, request: SubmitRequest) -> bool:
    """Print what would become of a request."""

    async def foreseen() -> DryRun:
        async with open_service(settings, vocabulary=TERMINAL, runs=False) as service:
            return await service.foresee(OPERATOR, request, provider=parsed.provider)

    report = asyncio.run(foreseen())
    print(report.model_dump_json(exclude_none=True, indent=2) if parsed.json else report.message)
    return True


def _get(parsed: argparse.Namespace, settings: Settings) -> bool:
    async def given(_service: OutpaintService) -> tuple[str, bool]:
        return str(parsed.request_id), False

    return _deliver(parsed, settings, given)


def _opened(source: str, settings: Settings) -> tuple[str, Settings]:
    """Open the folder of a file that was named at a terminal: whoever names it there may read it.

    What is no path may be a name; then it is looked for here, too.
    """
    audio = path_of_file_url(source) if source.startswith("file:") else source
    if "://" in audio or audio.startswith("data:") or is_request_id(audio):
        return audio, settings
    # A name that is no UTF-8 can be read; `named_path` is for what is written, too.
    path = named_path(audio) if legible(audio) == audio else Path(audio)
    if not path.exists() and (Path(audio).is_absolute() or audio.startswith(("~", "."))):
        raise errors.SourceUnreachable(f"There is no file {legible(str(path))}.")
    if not path.exists():
        return audio, dataclasses.replace(settings, input_dirs=(Path.cwd(), *settings.input_dirs))
    folders = (path.parent, path.resolve().parent)  # a link may lead out of its folder
    return stored_text(path), dataclasses.replace(settings, input_dirs=(*settings.input_dirs, *folders))


def _deliver(parsed: argparse.Namespace, settings: Settings, begin: Begin) -> bool:
    """Wait for a request and print where its extended file is; returns whether there is one."""
    options = _options(parsed)
    settings, target = place(parsed.output, settings)
    if target is not None and not target.is_dir() and getattr(parsed, "takes", 1) > 1:
        raise errors.InvalidRequest(f"{target.name} is one file's name; name a folder for several takes.")
    report = asyncio.run(wait(settings, begin, options, target))
    if report.status in {"failed", "unknown"}:
        raise errors.error_of_kind(report.error_kind, report.error or report.message)
    if report.awaits_agreement:
        raise errors.ProviderError(report.message)
    if report.status == "cancelled":
        print(f"outpaint-mcp: {report.error or report.message}", file=sys.stderr)
    if parsed.json:
        print(report.model_dump_json(exclude_none=True, indent=2))
    elif report.path is not None:
        print("\n".join(take.path for take in report.takes if take.path) if report.takes else report.path)
        print(" ".join(filter(None, (report.verdict, report.message))), file=sys.stderr)
    return report.path is not None


def _options(parsed: argparse.Namespace) -> ExportOptions:
    """Find out the form of the extended file; the suffix of a file name can say it, too."""
    options = ExportOptions(
        part=parsed.part, format=parsed.format or "source", restore_source=not parsed.no_restore
    )
    if parsed.output is not None and not _is_folder(parsed.output):
        options = fit_format(parsed.output, options)
    return options if parsed.bitrate is None else dataclasses.replace(options, bitrate_kbps=parsed.bitrate)


def _is_folder(output: str) -> bool:
    """Whether a place is a folder: it exists as one, ends like one, or has no suffix that files have."""
    path = named_path(output)
    suffix = path.suffix.lower()
    is_a_files = suffix in WRITTEN_SUFFIXES | OTHER_SUFFIXES or _LIKE_A_SUFFIX.fullmatch(suffix)
    return path.is_dir() or output.endswith(_SEPARATORS) or not is_a_files


def place(output: str | None, settings: Settings) -> tuple[Settings, Path | None]:
    """Find out what `--output` means, before any work is done for a place that cannot be used.

    Raises:
        InvalidRequest: a format that cannot be written.
        DeliveryFailed: something lies there, or nothing can be written there.
    """
    if output is None:
        return settings, None
    path = named_path(output)
    if _is_folder(output):
        return dataclasses.replace(settings, output_dir=_writable(path)), path
    if path.suffix.lower() not in WRITTEN_SUFFIXES:
        raise not_written(path.name)
    if os.path.lexists(path):
        raise errors.DeliveryFailed(f"{path} exists already, and nothing is overwritten.")
    _writable(path.parent)
    return settings, path


def _writable(folder: Path) -> Path:
    """Create a folder where there is none.

    Raises:
        DeliveryFailed: that is not possible, or nothing can be written there.
    """
    try:
        make_persons(folder)
    except OSError as exc:
        raise errors.DeliveryFailed(f"Cannot create the folder {folder}: {exc.strerror or exc}.") from exc
    if not os.access(folder, os.W_OK):
        raise errors.DeliveryFailed(f"Cannot write to the folder {folder}.")
    return folder


def _analyze(parsed: argparse.Namespace, settings: Settings) -> bool:
    picture = None if parsed.picture is None else named_path(parsed.picture)
    if picture is not None:
        if os.path.lexists(picture):
            raise errors.DeliveryFailed(f"{picture} exists already, and nothing is overwritten.")
        _writable(picture.parent)
    audio, settings = _opened(parsed.source, settings)

    async def analyzed() -> tuple[AnalysisReport, bytes | None]:
        bar = Bar(shown=sys.stderr.isatty())
        try:
            async with open_service(settings, vocabulary=TERMINAL, runs=False) as service:
                return await service.analyze(
                    OPERATOR, audio, details=parsed.json, picture=picture is not None, on_update=bar.show
                )
        finally:
            bar.close()

    report, drawn = asyncio.run(analyzed())
    if parsed.json:
        print(report.model_dump_json(exclude_none=True, indent=2))
    else:
        _print_analysis(report)
    if picture is not None and drawn is not None:
        write_new(picture, drawn)
        print(f"Image written to {picture}.", file=sys.stderr)
    return True


def write_new(path: Path, content: bytes) -> None:
    """Write a file where there is none; whole, or not at all.

    Raises:
        DeliveryFailed: something is there by now, or it cannot be written.
    """
    try:
        file = create(path)
        try:
            with file:
                file.write(content)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
    except OSError as exc:
        raise errors.DeliveryFailed(f"{path} cannot be written: {exc.strerror or exc}.") from exc


def _print_analysis(report: AnalysisReport) -> None:
    for name, value in report.model_dump(
        exclude_none=True, exclude={"status", "sections", "message"}
    ).items():
        print(f"{name.replace('_', ' '):<20}  {value}")
    for number, section in enumerate(report.sections or ()):
        print(f"{'sections' if not number else '':<20}  {section}")
    print(report.message, file=sys.stderr)


def _list(parsed: argparse.Namespace, settings: Settings) -> bool:
    async def listed() -> RequestList:
        async with open_service(settings, vocabulary=TERMINAL, runs=False) as service:
            return await service.list(OPERATOR, limit=parsed.limit)

    found = asyncio.run(listed())
    if parsed.json:
        print(found.model_dump_json(exclude_none=True, indent=2))
        return True
    if not found.requests:
        print("No requests yet.", file=sys.stderr)
    if found.spent_usd or found.open_estimate_usd:
        unknown = f", and up to ${found.open_estimate_usd:.4f} not billed yet, or of unknown cost"
        print(f"Spent: ${found.spent_usd:.4f}{unknown if found.open_estimate_usd else ''}.", file=sys.stderr)
    for each in found.requests:
        created = datetime.fromisoformat(each.created_at).astimezone()
        added = f"{each.extend_before_duration:g}+{each.extend_after_duration:g} s"
        where = each.path or each.error or each.title
        if each.status == "completed" and each.path is None:
            where = f"{each.title}: outpaint-mcp get {each.request_id}"
        print(f"{created:%Y-%m-%d %H:%M}  {each.request_id}  {each.status:<11}  {added:>10}  {where}")
        for number, take in enumerate(each.takes or (), 1):
            print(
                f"{'':16}  {take.request_id}  {take.status:<11}  {f'take {number}':>10}  {take.path or ''}".rstrip()
            )
    return True


def _demo(parsed: argparse.Namespace, settings: Settings) -> bool:
    from outpaint_mcp.cli.demo import run_demo  # noqa: PLC0415 - loads the SDK

    folder = named_path(parsed.output or str(settings.output_dir))
    asyncio.run(run_demo(_writable(folder)))
    return True


COMMANDS: dict[str, Callable[[argparse.Namespace, Settings], bool]] = {
    "extend": _extend,
    "get": _get,
    "approve": approve,
    "analyze": _analyze,
    "list": _list,
    "files": print_files,
    "demo": _demo,
}
