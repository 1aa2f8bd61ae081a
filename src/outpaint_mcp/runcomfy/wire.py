"""RunComfy's JSON: tolerant in what is read, exact in what is sent; nothing here does any I/O.

The shapes are those of the published API and of what the vendor's own clients are prepared for: two
vocabularies of states, errors inside of successful answers, and several names for the output.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Literal, Self

from outpaint_mcp.errors import (
    InsufficientBalance,
    OutpaintError,
    ProviderRejected,
    ProviderUnavailable,
    RateLimited,
    RequestNotFound,
    Unauthorized,
    UnexpectedReply,
)
from outpaint_mcp.models import CancelOutcome, OutpaintRequest, Status

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = dict[str, Any]

_STATUSES = {
    **dict.fromkeys(("in_queue", "pending", "waiting", "queued"), Status.IN_QUEUE),
    **dict.fromkeys(("in_progress", "starting", "processing", "running"), Status.IN_PROGRESS),
    **dict.fromkeys(("completed", "succeeded"), Status.COMPLETED),
    **dict.fromkeys(("cancelled", "canceled"), Status.CANCELLED),
    "failed": Status.FAILED,
}

_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_AUDIO_KEYS = ("audios", "audio")
_NOT_AUDIO_KEYS = frozenset({"image", "images", "video", "videos"})


class _Code(IntEnum):
    """Error codes that the API documents and that mean something of their own here."""

    NO_BALANCE = 400002
    NO_TOKEN = 400004
    NO_PERMISSION = 403001
    NOT_FOUND = 404001


_MOST_CHARACTERS, _MOST_READ_CHARACTERS = 300, 5_000
# After a link all of it goes; elsewhere what assigns something, as a signed link without its host does.
_QUERY = re.compile(r"(\w://[^\s?#\"<>]*)[?#][^\s\"<>]*|\?[^\s?\"<>]*=[^\s\"<>]*")
_INLINE = re.compile(r"data:[\w.+/;=-]*,[^\s\"<>]*", re.IGNORECASE)

_DEEPEST, _ENDLESS_QUEUE = 8, 2**31


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteStatus:
    """Where RunComfy says that a request stands.

    Attributes:
        word: its own word, in lower case; one that is not known counts as still running.
        queue_position: as it says, only while in the queue.
    """

    status: Status
    word: str
    queue_position: int | None = None

    @classmethod
    def of(cls, body: Json) -> Self:
        """Read the answer of a status call.

        Raises:
            UnexpectedReply: it has no status.
        """
        status, word = _status(body)
        position = _number(body.get("queue_position"))
        is_place = position is not None and position < _ENDLESS_QUEUE and status is Status.IN_QUEUE
        return cls(status=status, word=word, queue_position=int(position or 0) if is_place else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteResult:
    """What RunComfy made of a request.

    Attributes:
        urls: of audio, the likeliest first; secret, since they can be signed.
        cost_usd: what was billed, where it says so.
        error: its own reason, fit to be shown; None unless failed.
    """

    status: Status
    urls: tuple[str, ...] = ()
    cost_usd: float | None = None
    error: str | None = None

    @classmethod
    def of(cls, body: Json, *, submitted_audio: str = "") -> Self:
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
        return cls(
            status=status,
            urls=tuple(urls),
            cost_usd=_number(body.get("cost")),
            error=(said(body) or "RunComfy gives no reason") if failed else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What the model costs.

    Attributes:
        usd: US dollars per unit.
        unit: a second of audio, or an output.
        origin: where that stands.
    """

    usd: float
    unit: Literal["second", "output"]
    origin: str

    @classmethod
    def of(cls, body: Json) -> Self:
        """Read the model's catalogue entry.

        Raises:
            UnexpectedReply: it names no price.
        """
        usd, unit = _number(body.get("base_price_usd")), body.get("price_unit")
        if usd is None or unit not in ("second", "output"):  # a tuple: what is compared may be unhashable
            raise UnexpectedReply("RunComfy's catalogue names no price for the model.")
        return cls(usd=usd, unit=unit, origin="RunComfy's catalogue")

    def at_most_usd(self, seconds: float, outputs: int) -> float:
        """Return what so many seconds of audio, sources included, in so many outputs cost at most."""
        return self.usd * (outputs if self.unit == "output" else seconds)


LIST_PRICE = Price(usd=0.0002, unit="second", origin="the list price, as the catalogue could not be read")
"""As reported by third parties."""


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


def cancel_outcome_of(body: Json) -> CancelOutcome:
    """Return what became of the wish to cancel; where only the status says yes, an earlier answer was lost."""
    is_cancelled = body.get("outcome") == "cancelled" or _STATUSES.get(_word(body)) is Status.CANCELLED
    return CancelOutcome.CANCELLED if is_cancelled else CancelOutcome.NOT_CANCELLABLE


def balance_of(body: Json) -> float | None:
    """Return the account's balance in US dollars, where it is named."""
    return _number(body.get("balance_usd"))


def refusal(
    http_status: int, body: Json, *, retry_after_seconds: float | None = None
) -> OutpaintError | None:
    """Return the error that an answer stands for, most specific first; None where it is a success.

    Some of RunComfy's APIs answer HTTP 200 with an error inside. In an answer that says where a request
    stands, it is the request that failed, not the call.
    """
    code = _number(body.get("error_code"))
    kind = http_status
    if 200 <= http_status < 300:  # noqa: PLR2004 - RFC 9110
        is_silent = not code and ("status" in body or not body.get("error_message"))
        if is_silent or code == 0 or _word(body) in _STATUSES:
            return None
        kind = int(code or 0) // 1000  # 400002 is a 400, 500001 a 500
    words = said(body)
    told = f" (HTTP {http_status}{f': {words}' if words else ''})"
    error: OutpaintError
    match kind, code:
        case (401, _) | (_, _Code.NO_TOKEN):
            error = Unauthorized(
                f"RunComfy does not accept the token{told}. It may have expired: put a fresh one into"
                " RUNCOMFY_API_TOKEN and restart the server, or set OUTPAINT_PROVIDER=local to do without."
            )
        case (402, _) | (_, _Code.NO_BALANCE):
            error = InsufficientBalance(
                f"The RunComfy account has too little money for this{told}. Top it up, then submit again; nothing"
                " was billed for this."
            )
        case (403, _) | (_, _Code.NO_PERMISSION):
            error = Unauthorized(
                f"RunComfy's token may not use this model{told}. Use the token of an account that may."
            )
        case (404 | 410, _) | (_, _Code.NOT_FOUND):
            error = RequestNotFound(f"RunComfy does not know the request, or no longer{told}.")
        case (429, _):
            error = RateLimited(
                f"RunComfy is asked too often{told}. Try again in a minute.", retry_after_seconds
            )
        case _ if kind >= 500 or kind in {408, 425}:  # noqa: PLR2004
            error = ProviderUnavailable(
                f"RunComfy is in trouble{told}. Try again later.", retry_after_seconds
            )
        case _:
            error = ProviderRejected(
                f"RunComfy refused the request{told}. Mend what it names, then submit again."
            )
    return error


def said(body: Json) -> str:
    """Return what an answer says went wrong, in one line fit to be shown; empty where it says nothing."""
    for key in ("error_message", "message", "error", "detail"):
        if words := _words(body.get(key)):
            return shown(words)
    return ""


def shown(text: str) -> str:
    """Return words of the service's without queries, inline audio and line breaks, and not too many."""
    line = " ".join(text[:_MOST_READ_CHARACTERS].split())
    line = "".join(mark for mark in line if mark.isprintable())  # first: they can stand inside of a link
    line = _INLINE.sub("data:…", _QUERY.sub(r"\1", line)).strip()
    return line if len(line) <= _MOST_CHARACTERS else line[: _MOST_CHARACTERS - 1] + "…"


def _words(value: object) -> str:
    while isinstance(value, list) and value:
        value = value[0]
    match value:
        case (
            (str() as words)
            | {"message": str(words)}
            | {"msg": str(words)}
            | {"error_message": str(words)}
            | {"detail": str(words)}
        ):
            return words.strip()
    return ""


def _status(body: Json) -> tuple[Status, str]:
    if not (word := _word(body)):
        raise UnexpectedReply("RunComfy's answer names no status.")
    return _STATUSES.get(word, Status.IN_PROGRESS), word


def _word(body: Json) -> str:
    word = body.get("status")
    return shown(word).lower() if isinstance(word, str) else ""


def _number(value: object) -> float | None:
    """A finite number that is not negative, also one in quotation marks."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if 0 <= number < math.inf else None


def _urls(output: object, depth: int = _DEEPEST) -> Iterator[str]:
    """All links in an output, those under a name for audio first."""
    match output:
        case str():
            if output.startswith(("https://", "http://")):
                yield output
        case list() if depth:
            for each in output:
                yield from _urls(each, depth - 1)
        case dict() if depth:
            for key in (
                *_AUDIO_KEYS,
                *(key for key in output if key not in {*_AUDIO_KEYS, *_NOT_AUDIO_KEYS}),
            ):
                yield from _urls(output.get(key), depth - 1)
