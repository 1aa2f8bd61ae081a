"""What the service answers where nothing goes wrong on the way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from tests.fakes import contract
from tests.fakes.contract import RefusedError
from tests.fakes.delivery import PRIVATE_ADDRESS, Output, Reply, storage_error
from tests.fakes.jobs import Job

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.fakes.contract import Route
    from tests.fakes.switches import Event, Json, Switches

_SCHEMA = Path(__file__).parent.parent / "model-schema.json"

_T = TypeVar("_T")


class OffLoop(Protocol):
    """Runs slow work in a thread."""

    def __call__(self, work: Callable[..., _T], *args: object) -> Awaitable[_T]: ...


class Service:
    """Jobs and what is said about them.

    Attributes:
        origin: scheme, host and port of the URLs that it gives.
        folder: where output files are kept.
    """

    def __init__(self, switches: Switches, fire: Callable[[Event, str], None], off_loop: OffLoop) -> None:
        self.switches = switches
        self.web: dict[str, bytes] = {}
        self.jobs: dict[str, Job] = {}
        self.is_held = False
        self.origin = ""
        self.folder = Path()
        self._fire = fire
        self._off_loop = off_loop

    async def admit(self, body: bytes) -> Json:
        """Read a submission, and return its inputs if they are taken on.

        Raises:
            RefusedError: they are not.
        """
        inputs = await self._off_loop(contract.read_inputs, body)
        if not self.switches.data_uris and str(inputs["audio"]).startswith("data:"):
            message = "audio: URL scheme should be 'https'"
            raise RefusedError(422, contract.BAD_REQUEST, message, is_breach=False)
        if self._balance_usd() <= 0:
            raise RefusedError(402, contract.NO_BALANCE, "Insufficient balance", is_breach=False)
        return inputs

    def accept(self, inputs: Json) -> Reply:
        """Take a submission on."""
        words = self.switches.waiting_words
        job = Job(inputs=inputs, status=words[0] if words else "in_queue")
        self.jobs[job.request_id] = job
        self._fire("submit_accepted", job.request_id)
        return Reply(body={"request_id": job.request_id} | self._urls(job, "status", "result", "cancel"))

    async def answer(self, route: Route, query: str) -> Reply | Output:
        """Answer anything but a submission.

        Raises:
            RefusedError: the request id is not known, or no longer.
        """
        match route.endpoint:
            case "model":
                reply: Reply | Output = Reply(body=self._catalogue_entry())
            case "balance":
                reply = Reply(body={"balance_usd": self._balance_usd()})
            case "download":
                reply = await self._download(route.request_id, query)
            case "status":
                reply = Reply(body=await self._status(self._job(route.request_id)))
            case "result":
                reply = Reply(body=await self._result(self._job(route.request_id), query))
            case _:
                reply = Reply(status=202, body=await self._cancel(self._job(route.request_id)))
        return reply

    def _job(self, request_id: str) -> Job:
        job = self.jobs.get(request_id)
        if job is None or job.is_expired:
            raise RefusedError(404, contract.NOT_FOUND, "Request not found", is_breach=False)
        return job

    def _balance_usd(self) -> float:
        return round(self.switches.balance_usd - sum(job.cost_usd for job in self.jobs.values()), 6)

    def _catalogue_entry(self) -> Json:
        return {
            "model_id": contract.MODEL_ID,
            "base_price_usd": self.switches.price_usd,
            "price_unit": self.switches.price_unit,
            "pricing_note": f"${self.switches.price_usd} per {self.switches.price_unit}",
            "input_schema": json.loads(_SCHEMA.read_text(encoding="utf-8"))["input"],
        }

    def _urls(self, job: Job, *names: str) -> Json:
        return {f"{name}_url": f"{self.origin}/v1/requests/{job.request_id}/{name}" for name in names}

    async def _advance(self, job: Job, *, is_poll: bool) -> None:
        async with job.lock:
            if job.is_over:
                return
            words = self.switches.waiting_words
            moves = is_poll and not self.is_held
            if job.is_due or (moves and job.polls >= len(words)):
                await self._off_loop(job.complete, self.switches, self.web)
            else:
                job.queue_position = max(1, self.switches.queue_polls - job.polls)
                if moves:
                    job.status = words[job.polls]
                    job.polls += 1

    async def _status(self, job: Job) -> Json:
        await self._advance(job, is_poll=True)
        answer: Json = {"request_id": job.request_id, "status": job.said}
        if job.said == "in_queue":
            answer["queue_position"] = job.queue_position
        return answer | self._urls(job, "status", "result")

    async def _result(self, job: Job, query: str) -> Json:
        await self._advance(job, is_poll=False)
        answer: Json = {
            "request_id": job.request_id,
            "status": job.status,
            "created_at": job.created_at.isoformat(),
        }
        if job.finished_at is None or job.status == "cancelled":
            return answer
        answer["finished_at"] = job.finished_at.isoformat()
        if query and self.switches.includes_cost:
            answer["cost"] = job.cost_usd if self.switches.bill is None else self.switches.bill
        if self.switches.echoes_inputs:
            answer["input"] = job.inputs
        if job.status == "failed" or self.switches.result_fails != "no":
            return answer | {"status": "failed"} | self._error(job)
        return answer | {"status": self.switches.success, "output": self._output(job)}

    def _error(self, job: Job) -> Json:
        message = job.error or "The model failed"
        match self.switches.result_fails:
            case "absent":
                return {}
            case "object":
                return {"error": {"code": "MODEL_ERROR", "message": message}}
        return {"error": message}

    def _output(self, job: Job) -> object:
        url = f"{self.origin}/outputs/{job.request_id}.{job.container}"
        if self.switches.signed:
            url += f"?{job.sign()}"
        echo: list[object] = [job.inputs["audio"]] if self.switches.echoes_inputs else []
        shapes: dict[str, object] = {
            "audio": {"audio": url},
            "audios": {"audios": [*echo, url]},
            "both": {"audio": url, "audios": [*echo, url]},
            "string": url,
            "list": [*echo, url],
            "nested": {"audios": [{"url": each} for each in (*echo, url)]},
        }
        return shapes[self.switches.output]

    async def _cancel(self, job: Job) -> Json:
        await self._advance(job, is_poll=False)
        queued = {"in_queue", *(self.switches.status_words or ())[:1]}
        outcome = "not_cancellable"
        if self.switches.cancel == "race" and not job.is_over:
            job.is_due = True
            await self._advance(job, is_poll=False)
        elif self.switches.cancel == "queue_only" and job.status in queued:
            job.end("cancelled")
            outcome = "cancelled"
        return {"request_id": job.request_id, "status": job.said, "outcome": outcome}

    async def _download(self, request_id: str, query: str) -> Reply | Output:
        job, switches = self.jobs.get(request_id), self.switches
        if job is None or job.is_expired or job.status != "completed":
            return storage_error(404, "NoSuchKey")
        if switches.download == "expired" or (switches.signed and query not in job.signatures):
            return storage_error(403, "AccessDenied")
        if switches.download == "private_redirect":
            return Reply(status=302, headers={"Location": PRIVATE_ADDRESS})
        async with job.lock:
            content = await self._off_loop(job.output, self.folder)
        return Output(
            content=content,
            container=job.container,
            switches=switches,
            on_half=lambda: self._fire("download_half", request_id),
        )
