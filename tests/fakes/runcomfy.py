"""RunComfy's Model API as the reference describes it, over a real loopback socket: strict, and nasty at will.

An independent witness of the contract: nothing here comes from `outpaint_mcp`. To run it by hand:
`python -m tests.fakes.runcomfy --port 8089 --switch container=flac --web https://x.example/a.wav=a.wav`
"""

from __future__ import annotations

import asyncio
import traceback
from collections import defaultdict, deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Self, TypeVar

from tests.fakes import contract
from tests.fakes.contract import RefusedError, breach
from tests.fakes.delivery import Dice, Output, Reply, meet, status_of
from tests.fakes.jobs import Job
from tests.fakes.service import Service
from tests.fakes.switches import ENDPOINTS, EVENTS, TOKEN, Call, Fault, Flaky, Switches
from tests.fakes.wire import Exchange, MalformedError, Wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fakes.contract import Route
    from tests.fakes.switches import Endpoint, Event

__all__ = ["TOKEN", "Call", "FakeRunComfy", "Fault", "Flaky", "Job", "Switches"]

_ORDINARY = Switches()

_T = TypeVar("_T")


class FakeRunComfy:
    """The service, running while its context is open.

    Attributes:
        base: what `RUNCOMFY_MODEL_API_BASE` has to be.
        web: what the service sees of the public internet: https URL to bytes.
        jobs: accepted jobs by request id.
        calls: every request, in order of arrival.
        violations: breaches of the contract, in order.
    """

    def __init__(self, *, token: str = TOKEN, switches: Switches = _ORDINARY, port: int = 0) -> None:
        self._service = Service(switches, self._fire, self._off_loop)
        self.base = ""
        self.web: dict[str, bytes] = self._service.web
        self.jobs: dict[str, Job] = self._service.jobs
        self.calls: list[Call] = []
        self.violations: list[str] = []
        self._token = token
        self._faults: defaultdict[Endpoint, deque[Fault]] = defaultdict(deque)
        self._dice = Dice()
        self._callbacks: defaultdict[Event, list[Callable[[str], None]]] = defaultdict(list)
        self._wire = Wire(self._serve, port=port, on_malformed=self.violations.append)

    def __enter__(self) -> Self:
        self._folder = TemporaryDirectory(prefix="fake-runcomfy-")
        self._workers = ThreadPoolExecutor(4, thread_name_prefix="fake-runcomfy")
        try:
            self._wire.start()
        except OSError:
            self._folder.cleanup()
            raise
        self._service.folder = Path(self._folder.name)
        self._service.origin = f"http://127.0.0.1:{self._wire.port}"
        self.base = f"{self._service.origin}/v1"
        return self

    def __exit__(self, *_: object) -> None:
        self._wire.stop()
        self._workers.shutdown(cancel_futures=True)
        self._folder.cleanup()

    @property
    def switches(self) -> Switches:
        """How the service behaves from now on."""
        return self._service.switches

    @switches.setter
    def switches(self, switches: Switches) -> None:
        self._service.switches = switches

    def fail(self, endpoint: Endpoint, *faults: Fault) -> None:
        """Let the next calls of an endpoint meet these faults, one each."""
        assert endpoint in ENDPOINTS, endpoint
        self._faults[endpoint].extend(faults)

    def count(self, endpoint: Endpoint) -> int:
        """Return how many calls of an endpoint have arrived."""
        assert endpoint in ENDPOINTS, endpoint
        return sum(call.endpoint == endpoint for call in self.calls.copy())

    def hold(self) -> None:
        """Let no job move on until `release`."""
        self._service.is_held = True

    def release(self) -> None:
        """Let jobs move on again."""
        self._service.is_held = False

    def finish_all(self) -> None:
        """Let every job that was accepted so far be completed at the next look, held or not."""
        for job in self.jobs.copy().values():
            job.is_due = True

    def expire(self, request_id: str) -> None:
        """Forget a job: the service answers as for an id that never was."""
        self.jobs[request_id].is_expired = True

    def on(self, event: Event, callback: Callable[[str], None]) -> None:
        """Call back in the fake's thread, with the request id or nothing, before an answer goes out.

        A client that has gone when the callbacks of `submit_read` return has submitted nothing.
        """
        assert event in EVENTS, event
        self._callbacks[event].append(callback)

    def check(self) -> None:
        """Fail if the contract was broken.

        Raises:
            AssertionError: listing how.
        """
        if self.violations:
            raise AssertionError("the contract was broken:\n" + "\n".join(self.violations))

    def _fire(self, event: Event, request_id: str) -> None:
        for callback in self._callbacks[event].copy():
            try:
                callback(request_id)
            except Exception:  # noqa: BLE001 - it fails the test, in `check`, and not the service
                self.violations.append(f"a callback on {event} raised:\n{traceback.format_exc()}")

    async def _off_loop(self, work: Callable[..., _T], *args: object) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._workers, work, *args)

    async def _serve(self, exchange: Exchange) -> None:
        path, _, query = exchange.target.partition("?")
        call = Call("", exchange.method, path, query)
        self.calls.append(call)
        try:
            route = contract.route(exchange.method, path)
        except RefusedError as exc:
            with suppress(MalformedError):
                await exchange.body(contract.MAX_BODY_BYTES)
            await self._send(exchange, call, self._refusal(call, exc))
            return
        call.endpoint = route.endpoint
        fault = self._next_fault(route.endpoint)
        if fault is not None and fault.kind == "refuse":
            exchange.drop()
            return
        try:
            reply = await self._reply(exchange, route, query, fault)
        except RefusedError as exc:
            reply = self._refusal(call, exc)
        except MalformedError as exc:
            reply = self._refusal(call, breach(str(exc), 411))
        except (ConnectionError, EOFError):
            raise  # the client has gone
        except Exception:
            self.violations.append(f"the fake itself failed:\n{traceback.format_exc()}")
            raise
        if reply is None:
            exchange.drop()
            return
        if route.endpoint != "submit":
            self._fire(route.endpoint, route.request_id)
        if fault is None:
            await self._send(exchange, call, reply)
        else:
            call.status = status_of(fault)
            await meet(fault, exchange)

    def _next_fault(self, endpoint: Endpoint) -> Fault | None:
        waiting = self._faults[endpoint]
        return waiting.popleft() if waiting else self._dice.throw(self.switches.flaky)

    async def _send(self, exchange: Exchange, call: Call, reply: Reply | Output) -> None:
        call.status = reply.status
        await reply.send(exchange)

    def _refusal(self, call: Call, refused: RefusedError) -> Reply:
        if refused.is_breach:
            self.violations.append(f"{call.method} {call.path}: {refused}".replace(self._token, "TOKEN"))
        return Reply(status=refused.status, body={"error_code": refused.code, "error_message": str(refused)})

    async def _reply(
        self, exchange: Exchange, route: Route, query: str, fault: Fault | None
    ) -> Reply | Output | None:
        """Do what was asked, unless a fault is in the way, and return the ordinary answer; None for nobody.

        Raises:
            RefusedError: it is not to be done.
        """
        body = await exchange.body(contract.MAX_BODY_BYTES)
        if route.endpoint == "submit":
            self._fire("submit_read", "")
            if self._callbacks["submit_read"] and await exchange.is_gone():
                return None
        self._check(exchange, route, query, body)
        is_real = fault is None or fault.carries_out
        if route.endpoint == "submit":
            inputs = await self._service.admit(body or b"")
            return self._service.accept(inputs) if is_real else Reply()
        # A GET that meets a fault leaves everything as it was, dropped or not.
        if fault is not None and not (route.endpoint == "cancel" and is_real):
            return Reply()
        return await self._service.answer(route, query)

    def _check(self, exchange: Exchange, route: Route, query: str, body: bytes | None) -> None:
        if body is None:
            raise breach("a body over 64 MiB", 413)
        if self._token in exchange.target or self._token.encode() in body:
            raise breach("the token stands in a URL or a body", 400)
        contract.check_headers(route.endpoint, exchange.headers, self._token)
        contract.check_query(route.endpoint, query)
        is_empty = not body or (route.endpoint == "cancel" and body == b"{}")
        if route.endpoint != "submit" and not is_empty:
            raise breach(f"{route.endpoint} with a body", 400)


if __name__ == "__main__":
    from tests.fakes.by_hand import main

    main()
