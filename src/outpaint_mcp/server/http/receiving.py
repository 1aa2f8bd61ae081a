"""Bodies that are files: written to disk as they come, in time and one after the other, never held in memory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from outpaint_mcp.errors import InvalidRequest
from outpaint_mcp.sources.disposition import names_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.requests import Request

    from outpaint_mcp.server.http.limits import Limits
    from outpaint_mcp.service.file_threads import FileThreads
    from outpaint_mcp.service.uploads import Upload

# Worth a thread's while.
_CHUNK_BYTES = 1 << 20
_FORM = "multipart/form-data"
# Heads of parts, and fields that are no file.
_MOST_BESIDES_BYTES = 64 * 1024


class Interrupted(Exception):
    """The sender is gone, or too slow."""


def is_form(request: Request) -> bool:
    """Whether a body is a form, as pages and `curl -F` send files."""
    return request.headers.get("content-type", "").lower().startswith(_FORM)


def name_of(request: Request) -> str:
    """Return what a file is called that is the whole body; empty where nobody says."""
    given = request.query_params.get("name", "")
    return given or next(iter(names_in(request.headers.get("content-disposition", ""))), "")


def announced_bytes(request: Request) -> int | None:
    """Return how large a body is announced to be."""
    length = request.headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() else None


async def receive(
    request: Request, limits: Limits, open_upload: Callable[[str], Upload], threads: FileThreads
) -> tuple[str, int]:
    """Take the file in that a request brings.

    Args:
        request: with the file as its body, or as the first file of a form.
        limits: how long it may take.
        open_upload: begins to write a file of a name.
        threads: write it.

    Returns:
        Its name here, and its size in bytes.

    Raises:
        Interrupted: it did not come, or not in time.
        OutpaintError: it cannot be taken.
        LinkSpent: the link was used before.
    """
    chunks = _chunks(request, limits)
    if not is_form(request):
        return await _store(chunks, await threads.run(open_upload, name_of(request)), threads)
    form = _Form(request.headers["content-type"])
    async for chunk in chunks:
        form.add(chunk)
        if form.name is not None:
            upload = await threads.run(open_upload, form.name)
            return await _store(form.rest(chunks), upload, threads)
    raise InvalidRequest("The form has no file: send one as its first field.")


async def _store(chunks: AsyncIterator[bytes], upload: Upload, threads: FileThreads) -> tuple[str, int]:
    try:
        pending = bytearray()
        async for chunk in chunks:
            pending += chunk
            if len(pending) >= _CHUNK_BYTES:
                await threads.run(upload.add, bytes(pending))
                pending.clear()
        await threads.run(upload.add, bytes(pending))
        return await threads.run(upload.finish), upload.size_bytes
    finally:
        upload.close()  # at once, whoever stops us: nothing may be left behind


async def _chunks(request: Request, limits: Limits) -> AsyncIterator[bytes]:
    """Yield a body as it comes.

    Raises:
        Interrupted: its sender is gone, or takes longer than what has come earns it.
    """
    loop = asyncio.get_running_loop()
    since, received = loop.time(), 0
    while True:
        earned = limits.body_seconds + received / limits.body_bytes_per_second
        try:
            async with asyncio.timeout_at(since + earned):
                message = await request.receive()
        except TimeoutError as exc:
            raise Interrupted from exc
        if message["type"] != "http.request":
            raise Interrupted
        received += len(message["body"])
        yield message["body"]
        if not message.get("more_body", False):
            return


class _Form:
    """The first file of a form; what else is in it is passed over.

    Attributes:
        name: of that file, once it begins.
    """

    def __init__(self, content_type: str) -> None:
        _, options = parse_options_header(content_type)
        try:
            self._parser = MultipartParser(
                options.get(b"boundary", b""),
                {
                    "on_part_begin": self._begin,
                    "on_header_field": self._add_field,
                    "on_header_value": self._add_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._end_headers,
                    "on_part_data": self._add_data,
                    "on_part_end": self._end,
                    "on_end": self._finish,
                },
            )
        except FormParserError as exc:
            raise InvalidRequest("The form has no boundary.") from exc
        self.name: str | None = None
        self._field = self._value = b""
        self._disposition = ""
        self._is_in_file = self._is_over = False
        self._data = bytearray()
        self._besides_bytes = 0

    def add(self, chunk: bytes) -> None:
        """Read on.

        Raises:
            InvalidRequest: it is no form, or has much that is not the file.
        """
        self._besides_bytes += len(chunk)
        try:
            self._parser.write(chunk)
        except FormParserError as exc:
            raise InvalidRequest("The form cannot be read: send it as multipart/form-data.") from exc
        if self._besides_bytes > _MOST_BESIDES_BYTES:
            raise InvalidRequest("The form has too much besides its file: send one file, as its first field.")

    async def rest(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yield the file, of which some has been read.

        Raises:
            Interrupted: it is not whole.
        """
        yield self._taken()
        async for chunk in chunks:
            self.add(chunk)
            yield self._taken()
        if not self._is_over:
            raise Interrupted

    def _taken(self) -> bytes:
        data = bytes(self._data)
        self._data.clear()
        return data

    def _begin(self) -> None:
        self._disposition = ""
        self._field = self._value = b""

    def _add_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = self._value.decode(errors="replace")
        self._field = self._value = b""

    def _end_headers(self) -> None:
        if self.name is None and "filename" in self._disposition.lower():
            self.name = next(iter(names_in(self._disposition)), "")
            self._is_in_file = True

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_in_file:
            self._data += data[start:end]
            self._besides_bytes -= end - start

    def _end(self) -> None:
        self._is_in_file = False

    def _finish(self) -> None:
        self._is_over = True
