"""RunComfy's JSON: tolerant in what is read, exact in what is sent; nothing here does any I/O.

The shapes are those of the published API and of what the vendor's own clients are prepared for: two
vocabularies of states, errors inside of successful answers, and several names for the output.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

from outpaint_mcp.errors import UnexpectedReply
from outpaint_mcp.models import CancelOutcome, Status
from outpaint_mcp.providers.runcomfy.api.reading import STATUSES, Json, number, said, word_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from outpaint_mcp.models import OutpaintRequest

_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_AUDIO_KEYS = ("audios", "audio")
_NOT_AUDIO_KEYS = frozenset({"image", "images", "video", "videos"})


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
        position = number(body.get("queue_position"))
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
            cost_usd=number(body.get("cost")),
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
        usd, unit = number(body.get("base_price_usd")), body.get("price_unit")
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
    is_cancelled = body.get("outcome") == "cancelled" or STATUSES.get(word_of(body)) is Status.CANCELLED
    return CancelOutcome.CANCELLED if is_cancelled else CancelOutcome.NOT_CANCELLABLE


def balance_of(body: Json) -> float | None:
    """Return the account's balance in US dollars, where it is named."""
    return number(body.get("balance_usd"))


def _status(body: Json) -> tuple[Status, str]:
    if not (word := word_of(body)):
        raise UnexpectedReply("RunComfy's answer names no status.")
    return STATUSES.get(word, Status.IN_PROGRESS), word


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
