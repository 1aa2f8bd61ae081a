"""What a remote model is to us: a client for its calls, its limits, and its price."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from outpaint_mcp.models import CancelOutcome, OutpaintRequest, Status
    from outpaint_mcp.providers.base import ProviderDescription
    from outpaint_mcp.sources import DownloadPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteStatus:
    """Where the service says that a request is.

    Attributes:
        word: its own word, in lower case; one that is not known counts as still running.
        queue_position: its own count, only while in the queue.
    """

    status: Status
    word: str
    queue_position: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteResult:
    """What the service made of a request.

    Attributes:
        urls: of audio, the likeliest first; secret, since they can be signed.
        cost_usd: what was billed, where the service says so.
        odd_cost: what it says was billed, where that cannot be believed.
        error: its own reason, fit to be shown; None unless failed.
    """

    status: Status
    urls: tuple[str, ...] = field(default=(), repr=False)
    cost_usd: float | None = None
    odd_cost: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a model costs.

    Attributes:
        usd: US dollars per unit.
        unit: a second of audio, or an output.
        origin: where that is written.
        is_certain: False where it is only reported by others.
    """

    usd: float
    unit: Literal["second", "output"]
    origin: str
    is_certain: bool = True

    def at_most_usd(self, seconds: float, outputs: int) -> float:
        """Return the most that some seconds of audio, sources included, cost in a number of outputs."""
        return self.usd * (outputs if self.unit == "output" else seconds)


class InlineFile(NamedTuple):
    """A file that goes out inside a request.

    Attributes:
        path: it must not change until it is sent.
        media_type: such as `audio/flac`.
    """

    path: Path
    media_type: str


def lost_answer(title: str, how: str) -> str:
    """Say that nobody knows what became of a submission to the service of this name."""
    return f"{title}'s answer to the submission was lost: {how}. It may have been carried out and billed, or not."


class ModelClient(Protocol):
    """The calls of a service; reads and cancellations are repeated for a while, a submission never."""

    async def submit(self, request: OutpaintRequest, *, inline: InlineFile | None = None) -> str:
        """Send a request, once, and return the service's id of it.

        Raises:
            SubmissionUnknown: it may have been taken on and billed; it must not be sent again.
            OutpaintError: it was not taken on.
        """

    async def status(self, remote_id: str) -> RemoteStatus:
        """Ask where a request is.

        Raises:
            RequestNotFound: the service does not know it, or no longer.
            ProviderError: there is no useful answer for now.
        """

    async def result(self, remote_id: str, *, submitted_audio: str = "") -> RemoteResult:
        """Ask what became of a request; `submitted_audio` may be echoed, and is no result. Raises as `status`."""

    async def cancel(self, remote_id: str) -> CancelOutcome:
        """Cancel a request that has not begun. Raises as `status`."""

    async def price(self, *, within_seconds: float) -> Price:
        """Read the model's price.

        Raises:
            ProviderError: there is no useful answer within that time.
        """

    async def aclose(self) -> None:
        """Close the connections."""


class FileFormat(NamedTuple):
    """A kind of file that the model reads as it is.

    Attributes:
        media_type: such as `audio/wav`.
        suffix: without the dot.
        subtypes: libsndfile's names of the encodings inside.
    """

    media_type: str
    suffix: str
    subtypes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a model can do at a time.

    Attributes:
        canvas_seconds: the longest context and extension together.
        context_seconds: how much of a long recording it is given, and the longest extension of one step.
        shortest_seconds: the shortest extension that it does not ignore.
        most_steps: how many steps a short source may take to grow to a whole context; each doubles what there is.
        imprecision: by which share an extension may come out shorter than asked.
        margin_seconds: by how much, whatever its length: so much more is asked in each step, and what is too much cut
            off.
        formats: the files that it reads as they are, by libsndfile's name of the container.
        most_channels: of such a file.
        inline_bytes: the largest file inside a request.
    """

    canvas_seconds: float
    context_seconds: float
    shortest_seconds: float
    most_steps: int
    imprecision: float
    margin_seconds: float
    formats: Mapping[str, FileFormat]
    most_channels: int
    inline_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteModel:
    """Everything that tells one remote model from another.

    Attributes:
        description: what it says of itself.
        limits: what it can do at a time.
        open_client: makes a client at the first need, with a caller's token or the operator's; may take a moment.
        account: a digest of the operator's credentials; empty where there are none.
        account_of: returns such a digest of a token.
        how_to_log_in: what to do where there are none.
        policy: where its results may be fetched from.
        list_price: what to estimate with while the price cannot be read.
    """

    description: ProviderDescription
    limits: Limits
    open_client: Callable[[str | None], ModelClient]
    account: str
    account_of: Callable[[str], str]
    how_to_log_in: str
    policy: DownloadPolicy
    list_price: Price

    @property
    def title(self) -> str:
        """The service's name as people know it."""
        return self.description.title
