"""Request ids: `op_` and twenty hexadecimal digits."""

from __future__ import annotations

import secrets

_PREFIX = "op_"
_BYTES = 10


def new_request_id() -> str:
    """Return an id that no other request has."""
    return _PREFIX + secrets.token_hex(_BYTES)


def new_request_ids(takes: int) -> tuple[str, tuple[str, ...]]:
    """Return an id for a request as a whole, and one for each of its takes; a single take has the request's own."""
    whole = new_request_id()
    return whole, (whole,) if takes == 1 else tuple(new_request_id() for _ in range(takes))


def is_request_id(text: str) -> bool:
    """Whether the text has the form of a request id, known or not."""
    digits = text.removeprefix(_PREFIX)
    return digits != text and len(digits) == 2 * _BYTES and set(digits) <= set("0123456789abcdef")
