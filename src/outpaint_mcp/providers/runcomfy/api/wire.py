"""RunComfy's JSON: tolerant in what is read, exact in what is sent; nothing here does any I/O.

The shapes are those of the published API and of what the vendor's own clients are prepared for: two
vocabularies of states, errors inside of successful answers, and several names for the output.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from outpaint_mcp.errors import RequestNotFound, UnexpectedReply
from outpaint_mcp.models import CancelOutcome, Status
from outpaint_mcp.providers.remote.model import Price, RemoteResult, RemoteStatus
from outpaint_mcp.providers.runcomfy.api.reading import (
    STATUSES,
    Json,
    dollars,
    number,
    odd_dollars,
    word_of,
    words_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from outpaint_mcp.models import OutpaintRequest

_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_AUDIO_KEYS = ("audios", "audio")
# The published output schema names these for a model that makes audio; whatever lies there is looked at last.
_LAST_KEYS = ("image", "images", "video", "videos")


_DEEPEST, _ENDLESS_QUEUE = 8, 2**31


def status_of(body: Json) -> RemoteStatus:
    """Read the answer of a status call.

    Raises:
        UnexpectedReply: it has no status.
    """
    status, word = _status(body)
    position = number(body.get("queue_position"))
    is_place = position is not None and position < _ENDLESS_QUEUE and status is Status.IN_QUEUE
    return RemoteStatus(status=status, word=word, queue_position=int(position or 0) if is_place else None)


def result_of(body: Json, *, submitted_audio: str = "") -> RemoteResult:
    """Read the answer of a result call.

    Args:
        body: the answer.
        submitted_audio: what was sent; an answer can echo it, and it is no result.

    Raises:
        UnexpectedReply: it has no status.
    """
    status, _ = _status(body)
    urls = dict.fromkeys(url for url in _urls(body.get("output")) if url != submitted_audio)
    failed = status is Status.FAILED
    return RemoteResult(
        status=status,
        urls=tuple(urls),
        cost_usd=dollars(body.get("cost")),
        odd_cost=odd_dollars(body.get("cost")),
        error=(words_of(body) or "RunComfy gives no reason") if failed else None,
    )


def price_of(body: Json) -> Price:
    """Read the model's catalogue record.

    Raises:
        UnexpectedReply: it names no price.
    """
    usd, unit = dollars(body.get("base_price_usd")), body.get("price_unit")
    if usd is None or unit not in ("second", "output"):  # a tuple: what is compared may be unhashable
        raise UnexpectedReply("RunComfy's catalogue names no price for the model.")
    return Price(usd=usd, unit=unit, origin="RunComfy's catalogue")


def payload(request: OutpaintRequest) -> Json:
    """Return the body of a submission: the model's inputs, one to one."""
    return request.model_dump(mode="json")


def request_id_of(body: Json) -> str:
    """Return the id of a submission that was taken on.

    Raises:
        UnexpectedReply: there is none, or none that can stand in a path.
    """
    request_id = body.get("request_id")
    if not isinstance(request_id, str) or not _REQUEST_ID.fullmatch(request_id):
        raise UnexpectedReply("its answer names no request id")
    return request_id


def quoted_id(request_id: str) -> str:
    """Return a request id as a part of a path.

    Raises:
        RequestNotFound: it can be none of RunComfy's.
    """
    if not request_id.strip("."):  # no quoting keeps dots from being resolved
        raise RequestNotFound("RunComfy does not know the request: its id is none of RunComfy's.")
    return quote(request_id, safe="", errors="replace")


def cancel_outcome_of(body: Json) -> CancelOutcome:
    """Return what became of the wish to cancel; where only the status says yes, an earlier answer was lost."""
    is_cancelled = body.get("outcome") == "cancelled" or STATUSES.get(word_of(body)) is Status.CANCELLED
    return CancelOutcome.CANCELLED if is_cancelled else CancelOutcome.NOT_CANCELLABLE


def balance_of(body: Json) -> float | None:
    """Return the account's balance in US dollars, where it is named."""
    return dollars(body.get("balance_usd"))


def _status(body: Json) -> tuple[Status, str]:
    if not (word := word_of(body)):
        raise UnexpectedReply("RunComfy's answer names no status.")
    return STATUSES.get(word, Status.IN_PROGRESS), word


def _urls(output: object, depth: int = _DEEPEST) -> Iterator[str]:
    """Find all links in an output: those under a name for audio first, those under one for pictures last."""
    match output:
        case str():
            if output.startswith(("https://", "http://")):
                yield output
        case list() if depth:
            for each in output:
                yield from _urls(each, depth - 1)
        case dict() if depth:
            others = (key for key in output if key not in {*_AUDIO_KEYS, *_LAST_KEYS})
            for key in (*_AUDIO_KEYS, *others, *_LAST_KEYS):
                yield from _urls(output.get(key), depth - 1)
