"""Reading what RunComfy answers, whatever it is: words fit to be shown, numbers, states."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from outpaint_mcp.models import Status

Json = dict[str, Any]

STATUSES = {
    **dict.fromkeys(("in_queue", "pending", "waiting", "queued"), Status.IN_QUEUE),
    **dict.fromkeys(("in_progress", "starting", "processing", "running"), Status.IN_PROGRESS),
    **dict.fromkeys(("completed", "succeeded"), Status.COMPLETED),
    **dict.fromkeys(("cancelled", "canceled"), Status.CANCELLED),
    "failed": Status.FAILED,
}
"""Of `/status` and `/result`, which have a vocabulary each, and of the vendor's other services."""

_MOST_CHARACTERS, _MOST_READ_CHARACTERS = 300, 5_000
# After a link all of it goes; elsewhere what assigns something, as a signed link without its host does.
_QUERY = re.compile(r"(\w://[^\s?#\"<>]*)[?#][^\s\"<>]*|\?[^\s?\"<>]*=[^\s\"<>]*")
# Also where no link stands around it, as in a bucket's XML.
_SECRET = re.compile(
    r"\b(X-(?:Amz|Goog)-[\w-]+|AWSAccessKeyId|Key-Pair-Id|Signature|sig|(?:access_)?token)(?:=|%3D)[^\s\"'<>&]*",
    re.IGNORECASE,
)
_INLINE = re.compile(r"data:[\w.+/;=-]*,[^\s\"<>]*", re.IGNORECASE)


def object_of(content: bytes, *, secret: str | None) -> Json:
    """Return an answer's JSON object, the secret gone if it echoes that; empty for a proxy's page and the like."""
    echo = json.dumps(secret or "\0")[1:-1]
    try:
        body = json.loads(content)
        # Written anew first: an echo may be escaped in other ways than ours.
        if echo in (text := json.dumps(body)):
            body = json.loads(text.replace(echo, "…"))
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def words_of(body: Json) -> str:
    """Return what an answer says went wrong, in one line fit to be shown; empty where it says nothing."""
    for key in ("error_message", "message", "error", "detail"):
        if words := _words(body.get(key)):
            return shown(words)
    return ""


def shown(text: str) -> str:
    """Return words of the service's without queries, inline audio and line breaks, and not too many."""
    line = " ".join(text[:_MOST_READ_CHARACTERS].split())
    line = "".join(mark for mark in line if mark.isprintable())  # first: they can stand inside of a link
    line = _SECRET.sub(r"\1=…", _INLINE.sub("data:…", _QUERY.sub(r"\1", line))).strip()
    return line if len(line) <= _MOST_CHARACTERS else line[: _MOST_CHARACTERS - 1] + "…"


def _words(value: object) -> str:
    while isinstance(value, list) and value:
        value = value[0]
    match value:
        case {"loc": list(place), "msg": str(words)}:  # what a schema has found wrong, and where
            return ": ".join((".".join(map(str, place)), words.strip()))
        case (
            (str() as words)
            | {"message": str(words)}
            | {"msg": str(words)}
            | {"error_message": str(words)}
            | {"detail": str(words)}
        ):
            return words.strip()
    return ""


def word_of(body: Json) -> str:
    """Return the word for where a request stands, in lower case; empty where there is none."""
    word = body.get("status")
    return shown(word).lower() if isinstance(word, str) else ""


def number(value: object) -> float | None:
    """Return a finite number that is not negative, also one in quotation marks; None for all else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if 0 <= number < math.inf else None


def retry_after_seconds(header: str) -> float | None:
    """Return how long to wait, which is given in seconds or as a date (RFC 9110)."""
    text = header.strip()
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError, OverflowError):
        return None
