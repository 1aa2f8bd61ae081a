"""What a provider is: whoever carries requests out."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from pathlib import Path

    from outpaint_mcp.audio.surroundings import FullMusic
    from outpaint_mcp.config import Settings
    from outpaint_mcp.errors import OutpaintError
    from outpaint_mcp.jobs.run import Run
    from outpaint_mcp.models import SubmitRequest
    from outpaint_mcp.principals import Principal
    from outpaint_mcp.providers.remote.schedule import PollSchedule
    from outpaint_mcp.results import Outcome
    from outpaint_mcp.storage.records import Credentials
    from outpaint_mcp.storage.store import Store
    from outpaint_mcp.workers.pool import WorkerPool


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderDescription:
    """What a provider says of itself; servers, tools, reports and workers know nothing else of it.

    Attributes:
        name: as requests name it.
        title: its name as people know it.
        is_generative: whether tags and lyrics steer it.
        is_paid: whether requests cost money.
        instructions: for the server's instructions, where it takes new requests.
        tool_text: for the tool that submits, in a sentence or two, where it takes new requests.
        guide: how to write tags and lyrics for it, in Markdown.
        token_header: the HTTP header in which a caller brings a token of their own along; None where none is needed.
        accepts_within_seconds: how long a submission waits for it to accept or refuse; 0 where it accepts everything.
    """

    name: str
    title: str
    is_generative: bool
    is_paid: bool
    instructions: str
    tool_text: str
    guide: str
    token_header: str | None = None
    accepts_within_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """On what terms a provider takes a request.

    Attributes:
        account: a digest of the credentials that it is sent with; empty where none are needed.
        limit_usd: the most that it may cost; None for no limit.
        day_limit_usd: the most that all requests of its caller may cost within 24 hours; likewise.
    """

    account: str = ""
    limit_usd: float | None = None
    day_limit_usd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a provider would do with a request, as far as it can tell beforehand.

    Attributes:
        cost_usd: the most that one take costs; None where it is free, or not known yet.
        steps: in how many paid steps each take would be generated, as far as that is known.
        basis: how that was computed and how the request would be carried out, in sentences.
        wait_seconds: roughly how long all takes need from their turn on; None where nobody knows.
        warnings: what should be known before it is submitted, in sentences.
        obstacle: why it would not be taken on as things are.
    """

    cost_usd: float | None = None
    steps: int = 0
    basis: str = ""
    wait_seconds: float | None = None
    warnings: tuple[str, ...] = ()
    obstacle: OutpaintError | None = None


@dataclass(slots=True, kw_only=True)
class RemoteTiming:
    """How calls to remote services are timed; tests are quicker.

    Attributes:
        schedule: how often a service is asked; None for our usual way.
        timeout_seconds: of a single call; None for what the service needs.
        sleep: pauses between calls that are repeated.
        clock: monotonic seconds, for how long they are.
    """

    schedule: PollSchedule | None = None
    timeout_seconds: float | None = None
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    clock: Callable[[], float] = time.monotonic


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderContext:
    """What a provider finds when it is opened.

    Attributes:
        settings: where things are, and limits.
        store: where jobs are.
        pool: runs worker processes.
        fetch: fetches a link into a file, as `sources.fetch` does.
        now: Unix seconds.
        sleep: pauses, in seconds.
        timing: of calls to remote services.
    """

    settings: Settings
    store: Store
    pool: WorkerPool
    fetch: Callable[..., Coroutine[object, object, str | None]]
    now: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    timing: RemoteTiming


class Provider(Protocol):
    """Carries requests out as jobs; whatever it does is fenced by the job's lease.

    Attributes:
        description: what it says of itself.
        most_running: how many of its jobs may run on this machine at a time; None for any number.
    """

    description: ProviderDescription
    most_running: int | None

    @property
    def credentials(self) -> Credentials:
        """Whose jobs it can carry out in this process; may change at any time."""

    def recognize(self, principal: Principal) -> bool:
        """Learn the credentials that a caller brings along; returns whether they are new here."""

    def admit(self, principal: Principal, request: SubmitRequest) -> Terms:
        """Say on what terms a caller's request is taken, before it is written.

        Raises:
            InvalidRequest: it can never be carried out.
            ProviderError: it cannot be taken here.
        """

    async def foresee(
        self,
        principal: Principal,
        request: SubmitRequest,
        source_seconds: float | None,
        music: FullMusic | None,
    ) -> Forecast:
        """Say what would become of a request; nothing is started, sent or written.

        Args:
            principal: whose it would be.
            request: what would be asked.
            source_seconds: the length of what would be extended; None where that is not known yet.
            music: where its full music begins and ends; None where that does not matter, or is not known yet.

        Raises:
            InvalidRequest: it can never be carried out.
        """

    async def carry_out(self, run: Run) -> Outcome:
        """Carry a job out from wherever it is; see `jobs.dispatcher.Executor`."""

    def stop(self, folder: Path) -> None:
        """See to it that nothing goes on in a job's folder whose request was cancelled without its server."""

    async def close(self) -> None:
        """Release what was opened."""
