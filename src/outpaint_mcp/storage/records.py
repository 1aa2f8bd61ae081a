"""What is stored of a request, its job, the job's paid steps, and its deliveries; times are Unix seconds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from outpaint_mcp.export_options import ExportOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from outpaint_mcp.audio.sides import Side
    from outpaint_mcp.audio.verdict.records import Verdict
    from outpaint_mcp.config import Allowance
    from outpaint_mcp.models import Status, SubmitRequest
    from outpaint_mcp.results import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestProgress:
    """Where a request is that has not ended.

    Attributes:
        queue_position: 1 is next; None once it has left the queue, or where nobody knows.
        progress: share done, 0 to 1; None where it is not known.
        step: what is being done, in a word or two.
        cost_usd: what it has cost so far, where that is known.
        awaits_agreement: whether it costs more than was expected, and what is left of it waits for the person.
    """

    status: Status
    queue_position: int | None = None
    progress: float | None = None
    step: str = ""
    cost_usd: float | None = None
    awaits_agreement: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One file in the output folder; durations in seconds.

    Attributes:
        url: where a hosted provider stores the very same file.
        seed: the seed that was used; this and all below are those of what the provider produced, and not in lists.
        note: how it was generated, in sentences.
        verdict: how it came out; None where it was not measured.
        audio_sha256: of the file before it was tagged.
        restore_refusal: why the source was not put back into it, where that was tried in vain.
        has_as_made: whether the model's own file can be delivered, too.
        seeds_differ: whether another seed would give another file.
    """

    path: str
    sha256: str
    size_bytes: int
    duration_seconds: float
    before_seconds: float
    after_seconds: float
    url: str | None = None
    delivered_at: float = 0.0
    seed: int = -1
    note: str = ""
    verdict: Verdict | None = None
    audio_sha256: str | None = None
    restore_refusal: str | None = None
    has_as_made: bool = False
    seeds_differ: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRecord:
    """One request as the journal has it; `audio` is fit to be shown.

    Attributes:
        take_of: the request that this is one of several takes of; None where it is the only one.
        takes: how many takes the request has, of which this is one.
        caller: whose it is, as `Principal.owner` names them.
        estimated_cost_usd: the most it costs; None where it is free, or not known yet.
        cost_usd: what it has cost, where the provider says so; 0 where nothing was ever sent.
        basis: how the estimate was computed and how the request is carried out.
        is_accepted: whether the provider has taken it on.
        expected_cost_usd: what it was expected to cost, where it has cost more and nobody has agreed to that.
        odd_cost: what the provider says that it has cost, where that cannot be believed.
        live: where it is while it has not ended; None then.
        ended_at: when it ended.
        outcome: what the provider made; None in lists, which do not need it.
        deliveries: its delivered files by export options, the oldest first.
        planned_paths: where a file was about to be put when its server was last seen, by export options.
    """

    request_id: str
    provider: str
    status: Status
    audio: str
    title: str
    extend_before_duration: float
    extend_after_duration: float
    parent_request_id: str | None
    take_of: str | None
    takes: int
    expected_duration_seconds: float | None
    created_at: float
    caller: str
    estimated_cost_usd: float | None
    cost_usd: float | None
    basis: str | None
    error: str | None
    error_kind: str | None
    error_hint: str | None
    error_field: str | None
    is_accepted: bool
    expected_cost_usd: float | None
    odd_cost: str | None
    live: RequestProgress | None
    ended_at: float | None
    outcome: Outcome | None
    deliveries: Mapping[str, Delivery]
    planned_paths: Mapping[str, str]

    @property
    def family(self) -> str:
        """The id of the request as a whole; its own, where it is the only take."""
        return self.take_of or self.request_id

    @property
    def awaits_agreement(self) -> bool:
        """Whether it has steps left that are not sent before the person agrees to what it costs."""
        return self.live is not None and self.live.awaits_agreement

    @property
    def delivery(self) -> Delivery | None:
        """The extended file with default options, or in another form where only that was asked for, if it is whole."""
        wholes = [each for name, each in self.deliveries.items() if name.startswith("whole")]
        return self.deliveries.get(str(ExportOptions())) or next(iter(wholes), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRequest:
    """A request that is about to be written, with the job of each of its takes.

    Attributes:
        request: what is asked; `audio` is not stored.
        request_id: of the whole; where there is but one take, that one's.
        ids: one for each take.
        audio: its source in a form that may be shown.
        title: what the extended file is named after.
        parent_request_id: the request whose result is the source.
        after_seconds: how much is added after the source; 0 where only a total was given, and the source's length is
            not known.
        expected_duration_seconds: the extended file's length, where it is known.
        dedup_key: equal for identical requests.
        source: a path, or an https URL; empty where the audio lies in the jobs' own folders.
        account: a digest of the credentials that it is sent with; empty where none are needed.
        limit_usd: the most that it may cost; None for no limit.
        day_limit_usd: the most that all requests of its caller may cost within 24 hours; likewise.
        allowance: how much its caller may have; None for no limit.
    """

    request: SubmitRequest
    request_id: str
    ids: tuple[str, ...]
    provider: str
    audio: str
    title: str
    source: str
    after_seconds: float
    parent_request_id: str | None = None
    expected_duration_seconds: float | None = None
    dedup_key: str | None = None
    caller: str = ""
    account: str = ""
    limit_usd: float | None = None
    day_limit_usd: float | None = None
    allowance: Allowance | None = None


CALLERS = "caller:"
"""How the account of a job begins that is carried out with the credentials of its caller, and nobody else's."""


class Credentials(NamedTuple):
    """With whose credentials a server can carry out jobs of a provider.

    Attributes:
        has_own: whether it has the operator's, or needs none.
        callers: the accounts of callers whose credentials it knows.
    """

    has_own: bool = True
    callers: frozenset[str] = frozenset()


class StepState(StrEnum):
    """How far a paid step is."""

    PLANNED = "planned"
    """Not sent; may be."""
    SENDING = "sending"
    """About to be sent or on its way: from here on it is never sent again."""
    ACCEPTED = "accepted"
    """The service has taken it on."""
    FINISHED = "finished"
    """The service has carried it out, and bills it; its file is not here yet."""
    FETCHED = "fetched"
    """Its file is here."""


class CancelWish(StrEnum):
    """What became of the wish to cancel."""

    NONE = "none"
    WANTED = "wanted"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One request to a paid service.

    Attributes:
        seconds: how much music it adds.
        context_seconds: how much of the music so far it is given; as planned until it is sent, exact then.
        sent_at: when it was sent.
        remote_id: the service's own id of it.
        object_name: under which its context lies in the bucket, while it does.
        estimated_cost_usd: the most that it costs, at the price that was read last.
        cost_usd: what was billed for it, where the service says so.
        odd_cost: what the service says was billed, where that cannot be believed.
    """

    number: int
    side: Side
    seconds: float
    context_seconds: float
    state: StepState = StepState.PLANNED
    sent_at: float | None = None
    remote_id: str | None = None
    object_name: str | None = None
    estimated_cost_usd: float = 0.0
    cost_usd: float | None = None
    odd_cost: str | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """Who may write about a job: the server that claimed it, and which claim that was."""

    request_id: str
    server_id: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The record by which the dispatcher carries a request out.

    Attributes:
        status: when it was claimed.
        source: a path, or an https URL that has not been fetched yet; empty where the audio lies in the job's folder.
        request: what is asked; its `audio` is not the source, which may be a secret.
        source_seconds: the length of what is extended, once that was measured.
        account: a digest of the credentials that it is sent with.
        limit_usd: the most that it may cost; None for no limit.
        day_limit_usd: as of `NewRequest`.
        steps: its paid steps, once they are planned.
    """

    lease: Lease
    provider: str
    status: Status
    source: str
    request: SubmitRequest
    account: str
    limit_usd: float | None
    day_limit_usd: float | None
    source_seconds: float | None
    steps: tuple[Step, ...] = ()

    @property
    def request_id(self) -> str:
        """The request that it carries out."""
        return self.lease.request_id

    @property
    def billed(self) -> tuple[Step, ...]:
        """The steps that the service has carried out."""
        return tuple(step for step in self.steps if step.state in {StepState.FINISHED, StepState.FETCHED})
