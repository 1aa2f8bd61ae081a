"""What a provider is: whoever carries a request out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from outpaint_mcp.errors import OutpaintError
    from outpaint_mcp.models import CancelOutcome, Status, SubmitRequest
    from outpaint_mcp.results import Outcome
    from outpaint_mcp.sources import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderStatus:
    """Where a provider says that a request stands.

    Attributes:
        queue_position: 1 is next; None once it has left the queue.
        progress: share done, 0 to 1; None where the provider does not say.
        step: what is being done, in a word or two.
        error: why it failed.
        cost_usd: what it has cost so far, where the provider says so.
    """

    status: Status
    queue_position: int | None = None
    progress: float | None = None
    step: str = ""
    error: str | None = None
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What a provider says when it has taken a request on.

    Attributes:
        status: where it stands by now.
        waits_for: what has still to happen before the provider has really taken it on; empty once it has.
        failure: why it has failed, if it has already.
    """

    status: Status
    waits_for: str = ""
    failure: OutpaintError | None = None


class Provider(Protocol):
    """Submit, status, result, cancel; requests are named by the journal's ids."""

    name: str
    poll_seconds: float
    """How long to wait between two looks at a request that is not final."""

    async def news(self, request_id: str) -> None:
        """Return once there may be something new to see, after `poll_seconds` at the latest."""

    async def source_seconds(self, source: Source) -> float | None:
        """Look at a source before it is submitted.

        Returns:
            Its length as far as it is known without fetching it.

        Raises:
            SourceError: the provider could never use it.
        """

    async def submit(self, request_id: str, request: SubmitRequest, source: Source) -> Receipt:
        """Take one take on; it outlives this call and this process.

        Raises:
            ProviderUnavailable: the provider cannot work now, or the request has been given up.
        """

    async def status(self, request_id: str) -> ProviderStatus:
        """Say where a request stands.

        Raises:
            RequestNotFound: this provider was never given it.
        """

    async def give_up(self, request_id: str) -> None:
        """Settle that a request is never taken on, if it has not been by now; its status is then failed.

        For one whose server may have died before it handed the request over, or may only be slow.
        """

    async def result(self, request_id: str) -> Outcome:
        """Give what was made of a completed request.

        Raises:
            RequestNotFound: there is nothing to give, or no longer.
        """

    async def cancel(self, request_id: str) -> CancelOutcome:
        """Stop a request if it has not ended.

        Raises:
            RequestNotFound: this provider was never given it.
        """

    async def kept(self) -> list[str]:
        """Return the requests of which this provider keeps files."""

    async def discard(self, request_id: str) -> None:
        """Forget what was made of a request: it was delivered long ago, or nobody wants it."""
