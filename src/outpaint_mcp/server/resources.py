"""What a host can read without a tool: requests, how they look and sound, and a guide."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError

from outpaint_mcp.errors import DeliveryFailed, OutpaintError, RequestNotFound
from outpaint_mcp.models import Status
from outpaint_mcp.server.content import Lifespan, explained, principal
from outpaint_mcp.server.guide import write_guide

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from mcp.server import MCPServer
    from pydantic import BaseModel

    from outpaint_mcp.service.service import OutpaintService

REQUESTS = "outpaint://requests"
"""The caller's newest requests; what there is of each lies beneath it."""

GUIDE_URI = "outpaint://guide/tags-and-lyrics"

_LISTED = 20
_PICTURE_SECONDS = 45.0
_JSON = "application/json"

_Context = Context[Lifespan, Any]


def add_resources(
    server: MCPServer[Lifespan], open_service: Callable[[], Awaitable[OutpaintService]]
) -> None:
    """Add all resources to a server.

    Args:
        server: the server.
        open_service: returns the service while the server runs, for resources that are given no context.
    """

    async def requests() -> str:
        service = await open_service()
        return _json(await service.list(principal(), limit=_LISTED))

    async def guide() -> str:
        return write_guide()

    server.resource(
        REQUESTS,
        name="requests",
        title="Newest outpaints",
        description="Your newest requests, as list_outpaints returns them.",
        mime_type=_JSON,
    )(requests)
    server.resource(
        GUIDE_URI,
        name="tags-and-lyrics",
        title="Tags and lyrics",
        description="How to write tags and lyrics for submit_outpaint, and what each provider does with them.",
        mime_type="text/markdown",
    )(guide)
    for each in _TEMPLATES:
        server.resource(
            f"{REQUESTS}/{{request_id}}{each.path}",
            name=each.name,
            title=each.title,
            description=each.description,
            mime_type=each.mime_type,
        )(each.read)


async def read_request(ctx: _Context, request_id: str) -> str:
    """Return the result where its file was delivered, or else the status: whoever only reads writes no file."""
    with _resource_errors(f"{REQUESTS}/{request_id}"):
        service = await ctx.request_context.lifespan_context()
        status = await service.status(principal(), request_id)
        if status.status is Status.COMPLETED and await service.previews.is_delivered(principal(), request_id):
            try:
                return _json(await service.result(principal(), request_id))
            except DeliveryFailed:  # it was moved since
                return _json(status)
        return _json(status)


async def read_picture(ctx: _Context, request_id: str) -> bytes:
    """Return the result's picture as analyze_audio draws it."""
    with _resource_errors(f"{REQUESTS}/{request_id}/picture"):
        service = await ctx.request_context.lifespan_context()
        await service.status(principal(), request_id)  # what is no id would be taken for a file's name
        report, drawn = await service.analyze(
            principal(), request_id, picture=True, wait_seconds=_PICTURE_SECONDS
        )
        if drawn is None:
            raise ResourceError(f"{report.message} Then read this again.")
        return drawn


async def read_peaks(ctx: _Context, request_id: str) -> str:
    """Return the result's waveform, parts and sections."""
    with _resource_errors(f"{REQUESTS}/{request_id}/peaks"):
        service = await ctx.request_context.lifespan_context()
        return _json(await service.previews.peaks(principal(), request_id))


async def read_preview(ctx: _Context, request_id: str, start: str, length: str) -> str:
    """Return a piece of the result's sound."""
    uri = f"{REQUESTS}/{request_id}/preview/{start}/{length}"
    with _resource_errors(uri):
        if not all(
            each.isascii() and each.isdigit() and len(each) <= _MAX_DIGITS for each in (start, length)
        ):
            raise ResourceNotFoundError(f"Unknown resource: {uri}")
        service = await ctx.request_context.lifespan_context()
        piece = await service.previews.piece(
            principal(), request_id, start_seconds=int(start), seconds=int(length)
        )
        return _json(piece)


class _Template(NamedTuple):
    path: str
    name: str
    read: Callable[..., Awaitable[str | bytes]]
    title: str
    description: str
    mime_type: str = _JSON


_MAX_DIGITS = 6
_OF_REQUEST = re.compile(rf"{REQUESTS}/(?P<request_id>op_[0-9a-f]{{20}})(/picture|/peaks)?")
_TEMPLATES = (
    _Template(
        "", "request", read_request, "An outpaint", "A request's status; its result once it was delivered."
    ),
    _Template(
        "/picture",
        "picture",
        read_picture,
        "Picture of a result",
        "Waveform and spectrogram of a result with its seams.",
        "image/png",
    ),
    _Template(
        "/peaks",
        "peaks",
        read_peaks,
        "Waveform of a result",
        "For a player: a result's waveform, parts, seams and sections.",
    ),
    _Template(
        "/preview/{start}/{length}",
        "preview",
        read_preview,
        "Sound of a result",
        "For a player: MP3 of a piece of a result, start and length in whole seconds, 30 at most.",
    ),
)


def request_of(uri: str) -> str | None:
    """Return the id of the request that a resource belongs to and that can change with it; None where it is no such."""
    found = _OF_REQUEST.fullmatch(uri)
    return found and found["request_id"]


def _json(report: BaseModel) -> str:
    return report.model_dump_json(exclude_none=True)


@contextmanager
def _resource_errors(uri: str) -> Iterator[None]:
    """Turn errors of ours into those of resources: of what others own as of what does not exist."""
    try:
        yield
    except RequestNotFound:
        raise ResourceNotFoundError(f"Unknown resource: {uri}") from None
    except OutpaintError as exc:
        raise ResourceError(explained(exc, is_remote=principal().is_remote)) from exc
