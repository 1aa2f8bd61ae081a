"""Lines become JSON-RPC messages, or the refusals that answer them: whoever sent one is never left waiting."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, BinaryIO

from mcp.types import (
    INVALID_REQUEST,
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCNotification,
    JSONRPCRequest,
    jsonrpc_message_adapter,
)
from pydantic import ValidationError
from pydantic_core import from_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcp.types import JSONRPCMessage, RequestId

MAX_LINE_BYTES = 16 * 1024**2
"""A longer message is refused without being held in memory."""

OVERGROWN = "This message has too many parts: only texts, such as audio in base64, may be long."

_SKIPPED_BYTES = 64 * 1024
# Clients write the id of a request first or last, and nothing after it but the end of the line.
_END_BYTES = 256
_ID = rb'"id"\s*:\s*(-?\d{1,18}|"[^"\\\x00-\x1f\x7f-\xff]{1,128}")'
_ID_FIRST = re.compile(rb'\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?' + _ID + rb"\s*,")
_ID_LAST = re.compile(rb",\s*" + _ID + rb'\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*\Z')
# An escaped pair, the half of one, and any other escape.
_ESCAPE = re.compile(rb"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(u[dD][89a-fA-F]..)|.)", re.DOTALL)
_TEXT = re.compile(rb'"(?:[^"\\]++|\\.)*+"|\s++', re.DOTALL)
_MOST_STRUCTURE_BYTES = 64 * 1024
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_messages(stream: BinaryIO, *, max_bytes: int = MAX_LINE_BYTES) -> Iterator[JSONRPCMessage]:
    """Read a stream to its end, a message a line; blocks.

    Yields:
        Messages, and in the place of those that are none, `Refusal`s.
    """
    while line := stream.readline(max_bytes + 1):
        if len(line) > max_bytes and not line.endswith(b"\n"):
            yield _too_long(line[:_END_BYTES], _skip_line(stream, line[-_END_BYTES:]), max_bytes)
        elif is_overgrown(line):
            yield Refusal.of(INVALID_REQUEST, OVERGROWN, _id_at_an_end(line, line))
        elif not line.isspace():
            yield read_message(line)


class Refusal(JSONRPCError):
    """The answer to what is no message."""

    @classmethod
    def of(cls, code: int, message: str, request_id: RequestId | None = None) -> Refusal:
        """Refuse the message with this id; None where it has none, or none that can be read."""
        return cls(jsonrpc="2.0", id=request_id, error=ErrorData(code=code, message=message))


def read_message(line: bytes) -> JSONRPCMessage:
    """Read one message; a `Refusal` where it is none.

    Half a character (an unpaired surrogate, which JavaScript sends when a text was cut within an emoji) is replaced:
    it can be neither stored nor sent on, and the rest of the text is as good without it.
    """
    line = line.removeprefix(_BYTE_ORDER_MARK)
    try:
        value = from_json(_ESCAPE.sub(_replace_half, line) if b"\\u" in line else line)
    except ValueError:
        return Refusal.of(
            PARSE_ERROR,
            "This is not JSON that can be read: send one object a line, in UTF-8, with fewer than 200 levels.",
            _id_at_an_end(line, line),
        )
    if not isinstance(value, dict):
        return Refusal.of(
            INVALID_REQUEST, "Send one message a line, as an object: batches are not supported."
        )
    is_reply = "method" not in value and ("result" in value or "error" in value)
    given = value.get("id")
    request_id = given if isinstance(given, str | int) and not isinstance(given, bool) else None
    if "id" in value and request_id is None and not is_reply:
        return Refusal.of(INVALID_REQUEST, "The id of a request has to be a text or a whole number.")
    try:
        if "method" not in value:
            return jsonrpc_message_adapter.validate_python(value, by_name=False)
        kind = JSONRPCRequest if "id" in value else JSONRPCNotification
        return kind.model_validate(value, by_name=False)
    except ValidationError:
        return Refusal.of(
            INVALID_REQUEST,
            'This is no JSON-RPC message: a request has "jsonrpc": "2.0", an id, a method, and params as an object.',
            None if is_reply else request_id,
        )


def is_overgrown(message: bytes | bytearray) -> bool:
    """Whether a message is large by anything but its texts: as objects, that takes sixty times its room."""
    return len(message) > _MOST_STRUCTURE_BYTES and len(_TEXT.sub(b"", message)) > _MOST_STRUCTURE_BYTES


def _replace_half(escape: re.Match[bytes]) -> bytes:
    return b"\\ufffd" if escape[1] else escape[0]


def _too_long(start: bytes, end: bytes, max_bytes: int) -> Refusal:
    return Refusal.of(
        INVALID_REQUEST,
        f"This message exceeds the limit of {max_bytes // 2**20} MiB, so it was not read: give long audio as a path or"
        " a link.",
        _id_at_an_end(start, end),
    )


def _skip_line(stream: BinaryIO, end: bytes) -> bytes:
    """Read to the end of a line; returns the last bytes of it."""
    while not end.endswith(b"\n") and (more := stream.readline(_SKIPPED_BYTES)):
        end = (end + more)[-_END_BYTES:]
    return end


def _id_at_an_end(start: bytes, end: bytes) -> RequestId | None:
    """Return the id of a message that cannot be read as a whole."""
    found = _ID_FIRST.match(start[:_END_BYTES]) or _ID_LAST.search(end[-_END_BYTES:])
    if found is None:
        return None
    request_id: RequestId = from_json(found[1])
    return request_id
