"""Files as answers: the whole or a range of it (RFC 9110), read in pieces while the reader takes them."""

from __future__ import annotations

import asyncio
import os
import re
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.datastructures import Headers
    from starlette.requests import Request
    from starlette.types import Receive, Send

    from outpaint_mcp.service.downloads import Download
    from outpaint_mcp.service.file_threads import FileThreads

_PIECE_BYTES = 256 * 1024
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
_TYPES = {
    "wav": "audio/wav",
    "flac": "audio/flac",
    "mp3": "audio/mpeg",
    "m4a": "audio/mp4",
    "ogg": "audio/ogg",
    "opus": "audio/ogg",
    "aiff": "audio/aiff",
    "aif": "audio/aiff",
    "aifc": "audio/aiff",
    "caf": "audio/x-caf",
}

SAFE_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"x-robots-tag", b"noindex"),
)
"""Of everything that has to do with files."""

_FILE_HEADERS = (
    *SAFE_HEADERS,
    (b"cache-control", b"private"),
    (b"content-security-policy", b"default-src 'none'; sandbox"),
    # Whoever has the link may have the file, a page as well as a person.
    (b"access-control-allow-origin", b"*"),
    (
        b"access-control-expose-headers",
        b"accept-ranges, content-disposition, content-length, content-range, etag",
    ),
    (b"cross-origin-resource-policy", b"cross-origin"),
    (b"accept-ranges", b"bytes"),
)


async def send_file(
    request: Request, receive: Receive, send: Send, download: Download, threads: FileThreads
) -> None:
    """Answer a GET or HEAD with a file, and close it."""
    headers = request.headers
    try:
        tag = f'"{download.sha256}"'
        about = [*_FILE_HEADERS, (b"etag", tag.encode())]
        if tag in re.split(r"[,\s]+", headers.get("if-none-match", "")):
            await _start(send, 304, about, 0)
            return
        size = download.size_bytes
        wanted = _range(headers, tag, size)
        if wanted is None:
            await _start(send, 416, [*about, (b"content-range", f"bytes */{size}".encode())], 0)
            return
        start, stop = wanted
        is_part = stop - start < size
        if is_part:
            about.append((b"content-range", f"bytes {start}-{stop - 1}/{size}".encode()))
        about += [
            (
                b"content-type",
                _TYPES.get(download.name.rpartition(".")[2].lower(), "application/octet-stream").encode(),
            ),
            (b"content-disposition", _attachment(download.name)),
        ]
        is_head = request.method == "HEAD"
        await _start(send, 206 if is_part else 200, about, stop - start, more=not is_head)
        if not is_head:
            pieces = _pieces(download.descriptor, start, stop, threads)
            await _send_pieces(receive, send, pieces)
    finally:
        os.close(download.descriptor)


async def _pieces(
    descriptor: int, start: int, stop: int, threads: FileThreads
) -> AsyncIterator[tuple[bytes, bool]]:
    """Yield bytes of a file, and whether more of them come."""
    while start < stop:
        piece = await threads.run(_read, descriptor, start, min(_PIECE_BYTES, stop - start))
        if not piece:  # somebody has cut it off: the connection is closed before its announced end
            return
        start += len(piece)
        yield piece, start < stop


async def _send_pieces(receive: Receive, send: Send, pieces: AsyncIterator[tuple[bytes, bool]]) -> None:
    """Send what a file has until whoever reads it is gone."""
    leaving = asyncio.create_task(_left(receive))
    try:
        async for piece, more in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": more})
            if leaving.done():
                return
    finally:
        leaving.cancel()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _read(descriptor: int, start: int, size: int) -> bytes:
    os.lseek(descriptor, start, os.SEEK_SET)
    return os.read(descriptor, size)


def _range(headers: Headers, tag: str, size: int) -> tuple[int, int] | None:
    """Return which bytes are wanted, all of them for several ranges; None where there are none of those."""
    found = _RANGE.fullmatch(headers.get("range", "").replace(" ", ""))
    if found is None or headers.get("if-range", tag) != tag or not (found[1] or found[2]):
        return 0, size
    if not found[1]:
        last = int(found[2])
        return (max(0, size - last), size) if last else None
    start, stop = int(found[1]), int(found[2] or size) + bool(found[2])
    if start < size and stop > start:
        return start, min(stop, size)
    return None if start >= size else (0, size)  # an end before the start is no range at all


def _attachment(name: str) -> bytes:
    plain = re.sub(r'[^ -~]|["\\%]', "_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}".encode()


async def _start(
    send: Send, status: int, headers: list[tuple[bytes, bytes]], length: int, *, more: bool = False
) -> None:
    """Send the head of an answer; and its end, where there is no more to come."""
    if status != 304:  # noqa: PLR2004 - which has none
        headers = [*headers, (b"content-length", str(length).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    if not more:
        await send({"type": "http.response.body", "body": b""})
