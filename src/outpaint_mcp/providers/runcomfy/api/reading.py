"""Reading what RunComfy answers, whatever it is: words fit to be shown, numbers, states."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from outpaint_mcp.errors import UnexpectedReply
from outpaint_mcp.models import Status

if TYPE_CHECKING:
    from collections.abc import Iterable

Json = dict[str, Any]

STATUSES = {
    **dict.fromkeys(("in_queue", "pending", "waiting", "queued"), Status.IN_QUEUE),
    **dict.fromkeys(("in_progress", "starting", "processing", "running"), Status.IN_PROGRESS),
    **dict.fromkeys(("completed", "succeeded"), Status.COMPLETED),
    **dict.fromkeys(("cancelled", "canceled"), Status.CANCELLED),
    "failed": Status.FAILED,
}
"""Of `/status` and `/result`, which have a vocabulary each, and of the vendor's other services."""

MOST_USD = 1_000_000.0
"""No minutes of audio cost a million and nobody's account holds it; sums of smaller amounts are exact to a cent."""
# Four times as deep as the deepest answer.
_DEEPEST = 32
_TOO_DEEP = "it is nested too deeply"

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
    """Return an answer's JSON object, the secret gone if it echoes that; empty for a proxy's page and the like.

    Raises:
        UnexpectedReply: it is nested more deeply than any answer.
    """
    try:
        body = json.loads(content)
    except RecursionError as exc:
        raise UnexpectedReply(_TOO_DEEP) from exc
    except ValueError:
        return {}
    if _is_too_deep(body):
        raise UnexpectedReply(_TOO_DEEP)
    if secret:
        body = _without(re.compile(re.escape(secret), re.IGNORECASE), body)
    return body if isinstance(body, dict) else {}


def _without(secret: re.Pattern[str], value: object) -> object:
    """Return a value without the secret in any text of it, however that is cased or drawn out with invisible marks."""
    if isinstance(value, str):
        visible = "".join(mark for mark in value if mark.isprintable())
        return secret.sub("…", visible) if secret.search(visible) else value
    if isinstance(value, list):
        return [_without(secret, each) for each in value]
    if isinstance(value, dict):
        return {_without(secret, key): _without(secret, each) for key, each in value.items()}
    return value


def _is_too_deep(body: object) -> bool:
    level = [body]
    for _ in range(_DEEPEST):
        level = [each for parent in level for each in _within(parent)]
    return bool(level)


def _within(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


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


def dollars(value: object) -> float | None:
    """Return an amount of money; None for all that is none."""
    amount = number(value)
    return None if amount is None or amount > MOST_USD else amount


def odd_dollars(value: object) -> str | None:
    """Return what is given as an amount of money and cannot be one: NaN, negative, or beyond all measure."""
    if dollars(value) is not None or isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return f"{float(value):g}"
    except OverflowError:
        return "inf"
    except ValueError:  # words
        return None


def retry_after_seconds(header: str) -> float | None:
    """Return how long to wait, which is given in seconds or as a date (RFC 9110)."""
    text = header.strip()
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError, OverflowError):
        return None
