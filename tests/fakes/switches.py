"""What the fake can be switched to, what can happen to a call, and what it remembers of calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

TOKEN = "rc-secret-5f2c9e7ab1d84c3e"

Json = dict[str, object]

Endpoint = Literal["submit", "status", "result", "cancel", "model", "balance", "download"]
ENDPOINTS: tuple[Endpoint, ...] = get_args(Endpoint)

Event = Literal[
    "submit_read",
    "submit_accepted",
    "status",
    "result",
    "cancel",
    "model",
    "balance",
    "download",
    "download_half",
]
EVENTS: tuple[Event, ...] = get_args(Event)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What happens to one call in place of its ordinary answer.

    Attributes:
        status: HTTP status of the answer; 200 where only a body is given.
        body: a JSON object, or text that is sent as HTML; a status alone gets `{"error_message": …}`.
        retry_after: the header's value.
        kind: `answer` as above. `drop`: the connection closes without an answer; a submission has been
            accepted and a cancellation carried out by then. `refuse`: it closes before the body is read,
            and nothing happens. `hang`: it stays open without an answer until the client leaves.
        accepts: whether a submission or cancellation that is met by `answer` or `hang` is carried out
            all the same.
    """

    status: int | None = None
    body: Json | str | None = None
    retry_after: str | None = None
    kind: Literal["answer", "drop", "refuse", "hang"] = "answer"
    accepts: bool = False

    @property
    def carries_out(self) -> bool:
        """Whether a POST has its effect although its answer is not the ordinary one."""
        return self.kind == "drop" or (self.accepts and self.kind != "refuse")


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaky:
    """Probabilities, for every call, of a fault; the client cannot tell what became of a submission."""

    server_error: float = 0.0
    too_many: float = 0.0
    dropped: float = 0.0
    hang: float = 0.0
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """How the service behaves; replace it at any time: `fake.switches = replace(fake.switches, …)`.

    Attributes:
        success: the word for it on `/result`.
        output: where the URL stands on `/result`; `nested` is `{"audios": [{"url": …}]}`.
        result_fails: jobs that are completed on `/status` are failed on `/result`, with `error` like this.
        status_words: said one after the other before the final one, in place of the documented words.
        echoes_inputs: the result repeats the inputs, within `output` too where it has room.
        queue_polls: how many status calls are answered `in_queue`, its position counting down to 1.
        running_polls: how many after those are answered `in_progress`.
        cancel: `race`: not cancellable, since the job has just completed.
        sample_rate: of the outputs, Hz.
        seconds_off: by how much every output is too long, or too short.
        quantised: extensions come in whole steps of the model, about 93 ms.
        content: what the output file's URL gives; `truncated` sends less than it announced, `excess` more.
        download: `expired` is 403, `private_redirect` points into a cloud's metadata service.
        signed: output URLs carry a signature in their query that has to match.
        data_uris: whether `audio` may be one.
        includes_cost: whether `?include_cost=true` is honoured.
        bill: what the bill of every job says, in place of what it costs.
        billed_source: whether the source's own seconds are paid for.
        balance_usd: before anything was billed.
        model_faults: the upstream faults of the model that the reference lists.
    """

    success: Literal["succeeded", "completed"] = "succeeded"
    output: Literal["audio", "audios", "both", "string", "list", "nested"] = "audios"
    result_fails: Literal["no", "string", "object", "absent"] = "no"
    status_words: tuple[str, ...] | None = None
    echoes_inputs: bool = False
    queue_polls: int = 1
    running_polls: int = 1
    cancel: Literal["queue_only", "never", "race"] = "queue_only"
    container: Literal["wav", "flac", "mp3"] = "wav"
    sample_rate: int = 48_000
    seconds_off: float = 0.0
    quantised: bool = False
    content: Literal["audio", "empty", "html", "truncated", "excess"] = "audio"
    download: Literal["ok", "expired", "private_redirect", "slow"] = "ok"
    signed: bool = True
    data_uris: bool = True
    includes_cost: bool = True
    bill: object = None
    billed_source: bool = True
    price_usd: float = 0.0002
    price_unit: Literal["second", "output"] = "second"
    balance_usd: float = 10.0
    model_faults: bool = True
    flaky: Flaky | None = None

    @property
    def waiting_words(self) -> tuple[str, ...]:
        """What successive status calls are answered before the final word."""
        if self.status_words is not None:
            return self.status_words
        return ("in_queue",) * self.queue_polls + ("in_progress",) * self.running_polls


@dataclass(slots=True)
class Call:
    """One request that arrived.

    Attributes:
        endpoint: empty where the path is none of the contract's.
        path: as it was sent, still quoted.
        status: HTTP status of the answer; 0 until there is one, and where there never was.
    """

    endpoint: Endpoint | Literal[""]
    method: str
    path: str
    query: str
    status: int = 0
