"""The client against the contract fake over a real socket: what is asked again, what never is, and what is told."""

from __future__ import annotations

import asyncio
import gzip
import inspect
import logging
import random
import socket
import sys
import threading
import traceback
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.asking import SONG, SONG_URL
from tests.fakes.delivery import PAGE
from tests.fakes.runcomfy import TOKEN, FakeRunComfy, Fault
from tests.hosting import nobodys_base
from tests.test_package import loaded_by
from tests.waiting import Clock

from outpaint_mcp import OutpaintRequest, RunComfyClient
from outpaint_mcp.config.environment import RUNCOMFY_BASE
from outpaint_mcp.errors import (
    InsufficientBalance,
    OutpaintError,
    ProviderRejected,
    ProviderUnavailable,
    RateLimited,
    RequestNotFound,
    SubmissionUnknown,
    Unauthorized,
    UnexpectedReply,
)
from outpaint_mcp.models import CancelOutcome, Status
from outpaint_mcp.providers.runcomfy.api import client as client_module
from outpaint_mcp.providers.runcomfy.api.reading import retry_after_seconds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from tests.fakes.switches import Endpoint

pytestmark = pytest.mark.anyio

REQUEST = OutpaintRequest(audio=SONG_URL, tags="lofi, 90 bpm", extend_after_duration=1, seed=7)
HTML = PAGE.decode()
LATE, SOON = httpx.Timeout(60), httpx.Timeout(60, read=0.5)

CALLS: dict[Endpoint, Callable[..., Awaitable[object]]] = {
    "submit": lambda runcomfy, _, **within: runcomfy.submit(REQUEST, **within),
    "status": lambda runcomfy, request_id, **within: runcomfy.status(request_id, **within),
    "result": lambda runcomfy, request_id, **within: runcomfy.result(request_id, **within),
    "cancel": lambda runcomfy, request_id, **within: runcomfy.cancel(request_id, **within),
    "model": lambda runcomfy, _, **within: runcomfy.price(**within),
    "balance": lambda runcomfy, _, **within: runcomfy.balance_usd(**within),
}
REPEATABLE: list[Endpoint] = [endpoint for endpoint in CALLS if endpoint != "submit"]
OF_A_REQUEST: list[Endpoint] = ["status", "result", "cancel"]


@pytest.fixture(autouse=True)
def nothing_but_the_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv(
        "SSL_CERT_DIR", "/nowhere"
    )  # hundreds of clients would spend most of their time on reading


@pytest.fixture
def fake() -> Iterator[FakeRunComfy]:
    """Fails the test if the contract was broken."""
    with FakeRunComfy() as running:
        running.web[SONG_URL] = SONG
        yield running
        running.check()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def runcomfy(fake: FakeRunComfy, clock: Clock) -> AsyncIterator[RunComfyClient]:
    async with provider(fake.base, clock) as opened:
        yield opened


def provider(
    base: str, clock: Clock, *, token: str | None = TOKEN, timeout: httpx.Timeout = LATE, seed: int = 0
) -> RunComfyClient:
    return RunComfyClient(
        token, base_url=base, timeout=timeout, sleep=clock.sleep, clock=clock, rng=random.Random(seed)
    )


def switch(fake: FakeRunComfy, **switches: Any) -> None:  # noqa: ANN401 - any of them
    fake.switches = replace(fake.switches, **switches)


async def finished(fake: FakeRunComfy, runcomfy: RunComfyClient) -> str:
    request_id = await runcomfy.submit(REQUEST)
    fake.finish_all()
    return request_id


def answer(status: int, body: bytes = b"{}", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Elsewhere:
    """A server that says the same whatever it is asked, well-formed or not.

    Attributes:
        heads: what it was asked.
    """

    def __init__(self, says: bytes) -> None:
        self.says = says
        self.heads: list[str] = []
        self.base = ""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Elsewhere]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        async with server:
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head)
            lengths = [line.split(":")[1] for line in head.lower().split("\r\n") if "content-length" in line]
            await reader.readexactly(int(lengths[0]) if lengths else 0)
            writer.write(self.says)
            await writer.drain()
        finally:
            writer.close()


# What comes back.


@pytest.mark.smoke
async def test_a_request_goes_from_submission_to_its_result(
    fake: FakeRunComfy, runcomfy: RunComfyClient, clock: Clock
) -> None:
    switch(fake, queue_polls=2)
    request_id = await runcomfy.submit(REQUEST)
    assert [*fake.jobs] == [request_id]
    waiting = await runcomfy.result(request_id)
    assert (waiting.status, waiting.urls) == (Status.IN_QUEUE, ())
    seen = [await runcomfy.status(request_id) for _ in range(4)]
    assert [(each.status, each.queue_position) for each in seen] == [
        (Status.IN_QUEUE, 2),
        (Status.IN_QUEUE, 1),
        (Status.IN_PROGRESS, None),
        (Status.COMPLETED, None),
    ]
    done = await runcomfy.result(request_id, submitted_audio=SONG_URL)
    assert done.status is Status.COMPLETED
    assert len(done.urls) == 1
    assert done.cost_usd == 0.0006
    assert done.error is None
    assert not clock.pauses


async def test_what_is_sent_are_the_six_inputs_with_their_types(
    fake: FakeRunComfy, runcomfy: RunComfyClient
) -> None:
    request_id = await runcomfy.submit(REQUEST)
    sent = fake.jobs[request_id].inputs
    assert sent == {
        "audio": SONG_URL,
        "tags": "lofi, 90 bpm",
        "extend_before_duration": 0,
        "extend_after_duration": 1,
        "lyrics": "",
        "seed": 7,
    }
    assert type(sent["seed"]) is int


@pytest.mark.parametrize("success", ["succeeded", "completed"])
@pytest.mark.parametrize("shape", ["audio", "audios", "both", "string", "list", "nested"])
async def test_a_result_is_found_under_both_words_and_in_every_shape_and_inputs_are_none(
    success: str, shape: str, fake: FakeRunComfy, runcomfy: RunComfyClient
) -> None:
    switch(fake, success=success, output=shape, echoes_inputs=True, signed=False)
    request_id = await finished(fake, runcomfy)
    done = await runcomfy.result(request_id, submitted_audio=SONG_URL)
    assert done.status is Status.COMPLETED
    assert done.urls == (fake.base.removesuffix("/v1") + f"/outputs/{request_id}.wav",)


@pytest.mark.parametrize(
    ("how", "error"),
    [("string", "The model failed"), ("object", "The model failed"), ("absent", "RunComfy gives no reason")],
)
async def test_what_is_completed_on_status_can_have_failed_on_result(
    how: str, error: str, fake: FakeRunComfy, runcomfy: RunComfyClient
) -> None:
    switch(fake, result_fails=how)
    request_id = await finished(fake, runcomfy)
    assert (await runcomfy.status(request_id)).status is Status.COMPLETED
    done = await runcomfy.result(request_id)
    assert (done.status, done.error, done.urls) == (Status.FAILED, error, ())


async def test_a_failure_that_comes_with_a_code_is_the_requests_and_not_the_calls(
    fake: FakeRunComfy, runcomfy: RunComfyClient
) -> None:
    request_id = await runcomfy.submit(REQUEST)
    said = {"status": "failed", "error_code": 500001, "error_message": "out of memory"}
    fake.fail("result", Fault(body=said))
    done = await runcomfy.result(request_id)
    assert (done.status, done.error) == (Status.FAILED, "out of memory")


async def test_a_word_that_is_not_known_is_still_running_and_is_passed_on(
    fake: FakeRunComfy, runcomfy: RunComfyClient
) -> None:
    switch(fake, status_words=("pending", "starting", "warming_up"))
    request_id = await runcomfy.submit(REQUEST)
    seen = [await runcomfy.status(request_id) for _ in range(4)]
    assert [(each.status, each.word) for each in seen] == [
        (Status.IN_QUEUE, "pending"),
        (Status.IN_PROGRESS, "starting"),
        (Status.IN_PROGRESS, "warming_up"),
        (Status.COMPLETED, "completed"),
    ]


async def test_only_the_queue_can_be_left(fake: FakeRunComfy, runcomfy: RunComfyClient) -> None:
    queued, running, raced = [await runcomfy.submit(REQUEST) for _ in range(3)]
    assert await runcomfy.cancel(queued) is CancelOutcome.CANCELLED
    assert (await runcomfy.status(queued)).status is Status.CANCELLED
    assert (await runcomfy.result(queued)).status is Status.CANCELLED
    await runcomfy.status(running)
    await runcomfy.status(running)
    assert await runcomfy.cancel(running) is CancelOutcome.NOT_CANCELLABLE
    switch(fake, cancel="race")
    assert await runcomfy.cancel(raced) is CancelOutcome.NOT_CANCELLABLE
    assert (await runcomfy.status(raced)).status is Status.COMPLETED


@pytest.mark.parametrize("lost", [Fault(kind="drop"), Fault(status=502, body=HTML, accepts=True)], ids=str)
async def test_a_request_whose_cancellation_was_not_heard_of_counts_as_cancelled(
    lost: Fault, fake: FakeRunComfy, runcomfy: RunComfyClient
) -> None:
    request_id = await runcomfy.submit(REQUEST)
    fake.fail("cancel", lost)
    assert await runcomfy.cancel(request_id) is CancelOutcome.CANCELLED
    assert fake.count("cancel") == 2


@pytest.mark.parametrize("includes", [True, False])
async def test_what_it_cost_is_told_where_the_service_tells_it(
    includes: bool,  # noqa: FBT001
    fake: FakeRunComfy,
    runcomfy: RunComfyClient,
) -> None:
    switch(fake, includes_cost=includes)
    done = await runcomfy.result(await finished(fake, runcomfy))
    assert done.cost_usd == (0.0006 if includes else None)


@pytest.mark.parametrize(("unit", "most_usd"), [("second", 15), ("output", 1)])
async def test_the_price_is_the_catalogues(
    unit: str, most_usd: float, fake: FakeRunComfy, runcomfy: RunComfyClient
) -> None:
    switch(fake, price_usd=0.5, price_unit=unit)
    price = await runcomfy.price()
    assert (price.usd, price.unit) == (0.5, unit)
    assert price.at_most_usd(30, 2) == most_usd


@pytest.mark.parametrize(
    "body",
    [{}, {"base_price_usd": 1}, {"base_price_usd": 1, "price_unit": []}, {"price_unit": "second"}, HTML],
    ids=str,
)
async def test_a_catalogue_without_a_price_is_unexpected(
    body: Any,  # noqa: ANN401 - JSON
    fake: FakeRunComfy,
    runcomfy: RunComfyClient,
) -> None:
    fake.fail("model", Fault(body=body))
    with pytest.raises(UnexpectedReply):
        await runcomfy.price()


async def test_the_balance_is_what_is_left_or_not_told(fake: FakeRunComfy, runcomfy: RunComfyClient) -> None:
    assert await runcomfy.balance_usd() == 10
    await runcomfy.result(await finished(fake, runcomfy))
    assert await runcomfy.balance_usd() == 9.9994
    fake.fail("balance", Fault(body={"credit": 3}))
    assert await runcomfy.balance_usd() is None


@pytest.mark.parametrize("endpoint", ["model", "balance"])
async def test_an_address_without_a_price_or_balance_is_no_lost_request(
    endpoint: Endpoint, fake: FakeRunComfy, runcomfy: RunComfyClient
) -> None:
    fake.fail(endpoint, Fault(status=404))
    with pytest.raises(UnexpectedReply, match="RUNCOMFY_MODEL_API_BASE"):
        await CALLS[endpoint](runcomfy, "")


@pytest.mark.parametrize("body", [{}, {"status": ""}, HTML, "[]", "{"], ids=str)
async def test_an_answer_that_means_nothing_is_unexpected(
    body: Any,  # noqa: ANN401 - JSON
    fake: FakeRunComfy,
    runcomfy: RunComfyClient,
) -> None:
    request_id = await runcomfy.submit(REQUEST)
    for endpoint in ("status", "result"):
        fake.fail(endpoint, Fault(body=body))
        with pytest.raises(UnexpectedReply):
            await CALLS[endpoint](runcomfy, request_id)


# What is refused.

BUSINESS_ERRORS: list[tuple[Fault, type[OutpaintError]]] = [
    (Fault(status=401), Unauthorized),
    (Fault(status=400, body={"error_code": 400004, "error_message": "no"}), Unauthorized),
    (Fault(body={"error_code": 400004, "error_message": "no"}), Unauthorized),
    (Fault(status=403), Unauthorized),
    (Fault(status=403, body={"error_code": 403001}), Unauthorized),
    (Fault(status=402), InsufficientBalance),
    (Fault(status=400, body={"error_code": 400002, "error_message": "no"}), InsufficientBalance),
    (Fault(body={"error_code": 400002, "error_message": "no"}), InsufficientBalance),
    (Fault(status=400), ProviderRejected),
    (Fault(status=400, body={"error_code": 400001}), ProviderRejected),
    (Fault(status=422, body={"detail": [{"loc": ["body", "seed"], "msg": "no"}]}), ProviderRejected),
    (Fault(body={"error_code": 400001, "error_message": "no"}), ProviderRejected),
    (Fault(body={"error_message": "no"}), ProviderRejected),
]


@pytest.mark.parametrize(("fault", "error"), BUSINESS_ERRORS, ids=str)
async def test_a_business_error_is_told_by_its_reason_and_never_asked_again(
    fault: Fault, error: type[OutpaintError], fake: FakeRunComfy, runcomfy: RunComfyClient, clock: Clock
) -> None:
    request_id = await runcomfy.submit(REQUEST)
    for endpoint, call in CALLS.items():
        fake.fail(endpoint, fault)
        before = fake.count(endpoint)
        with pytest.raises(error) as raised:
            await call(runcomfy, request_id)
        assert type(raised.value) is error
        assert fake.count(endpoint) == before + 1
    assert len(fake.jobs) == 1
    assert not clock.pauses


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 411, 413, 414, 415, 422, 431])
async def test_a_submission_that_is_refused_was_not_taken_on_and_is_not_repeated(
    status: int, fake: FakeRunComfy, runcomfy: RunComfyClient
) -> None:
    fake.fail("submit", Fault(status=status), Fault(status=status, body=HTML), Fault(status=status, body={}))
    for _ in range(3):
        with pytest.raises((ProviderRejected, Unauthorized, InsufficientBalance, UnexpectedReply)):
            await runcomfy.submit(REQUEST)
    assert fake.count("submit") == 3
    assert not fake.jobs


async def test_a_model_that_is_not_there_is_a_matter_of_the_address(
    fake: FakeRunComfy, runcomfy: RunComfyClient
) -> None:
    fake.fail("submit", Fault(status=404, body={"error_code": 404001}))
    with pytest.raises(ProviderRejected, match=r"does not offer acestep-ai/.*RUNCOMFY_MODEL_API_BASE"):
        await runcomfy.submit(REQUEST)


async def test_a_token_that_is_not_taken_is_told_with_what_to_do(fake: FakeRunComfy, clock: Clock) -> None:
    async with provider(fake.base, clock, token="rc-expired") as runcomfy:
        for call in CALLS.values():
            with pytest.raises(Unauthorized, match="RUNCOMFY_API_TOKEN"):
                await call(runcomfy, "r")
    assert not fake.jobs


async def test_too_little_money_is_told_with_the_balance(
    fake: FakeRunComfy, runcomfy: RunComfyClient
) -> None:
    switch(fake, balance_usd=0)
    with pytest.raises(InsufficientBalance, match=r"Its balance is \$0\.00\."):
        await runcomfy.submit(REQUEST)
    switch(fake, balance_usd=0.129)
    fake.fail("submit", Fault(status=400, body={"error_code": 400002}))
    with pytest.raises(InsufficientBalance, match=r"Its balance is \$0\.13\."):
        await runcomfy.submit(REQUEST)
    assert not fake.jobs


@pytest.mark.parametrize("fault", [Fault(status=404), Fault(status=503), Fault(body=HTML)], ids=str)
async def test_too_little_money_is_told_where_the_balance_is_not(
    fault: Fault, fake: FakeRunComfy, runcomfy: RunComfyClient
) -> None:
    switch(fake, balance_usd=0)
    fake.fail("balance", *[fault] * 20)
    with pytest.raises(InsufficientBalance, match=r"what was refused is not billed\.$"):
        await runcomfy.submit(REQUEST)


async def test_a_source_inside_of_the_request_can_be_refused(
    fake: FakeRunComfy, runcomfy: RunComfyClient
) -> None:
    switch(fake, data_uris=False)
    inline = REQUEST.model_copy(update={"audio": "data:audio/wav;base64,UklGRgAAAABXQVZF"})
    with pytest.raises(ProviderRejected, match="URL scheme should be 'https'"):
        await runcomfy.submit(inline)
    switch(fake, data_uris=True)
    await runcomfy.submit(inline)


async def test_a_request_that_has_expired_or_never_was_is_not_found(
    fake: FakeRunComfy, runcomfy: RunComfyClient, clock: Clock
) -> None:
    request_id = await runcomfy.submit(REQUEST)
    fake.expire(request_id)
    for endpoint in OF_A_REQUEST:
        for each in (request_id, "never-was"):
            with pytest.raises(RequestNotFound):
                await CALLS[endpoint](runcomfy, each)
        fake.fail(endpoint, Fault(status=404, body={"error_code": 404, "error_message": "no"}))
        with pytest.raises(RequestNotFound):
            await CALLS[endpoint](runcomfy, request_id)
    assert not clock.pauses


@pytest.mark.parametrize(
    ("request_id", "quoted"),
    [
        ("a/../b?c=d#e f%2F", "a%2F..%2Fb%3Fc%3Dd%23e%20f%252F"),
        ("ü\r\n", "%C3%BC%0D%0A"),
        ("..a", "..a"),
        ("\ud800", "%3F"),
    ],
)
async def test_a_request_id_is_quoted_in_a_path(
    request_id: str, quoted: str, fake: FakeRunComfy, runcomfy: RunComfyClient
) -> None:
    for endpoint in OF_A_REQUEST:
        with pytest.raises(RequestNotFound):
            await CALLS[endpoint](runcomfy, request_id)
    assert [call.path for call in fake.calls] == [f"/v1/requests/{quoted}/{name}" for name in OF_A_REQUEST]


async def test_a_request_id_that_no_quoting_keeps_in_its_place_is_not_asked_for(
    fake: FakeRunComfy, runcomfy: RunComfyClient
) -> None:
    for endpoint in OF_A_REQUEST:
        for request_id in ("", ".", ".."):
            with pytest.raises(RequestNotFound):
                await CALLS[endpoint](runcomfy, request_id)
    assert not fake.calls


# What is asked again, and for how long.


@pytest.mark.smoke
@pytest.mark.parametrize("endpoint", REPEATABLE)
async def test_a_call_that_costs_nothing_is_repeated_whatever_goes_wrong(
    endpoint: Endpoint, fake: FakeRunComfy, runcomfy: RunComfyClient, clock: Clock
) -> None:
    request_id = await runcomfy.submit(REQUEST)
    faults = [
        *(Fault(status=status) for status in (429, 500, 502, 503, 504)),
        Fault(status=502, body=HTML),
        Fault(body={"error_code": 500001, "error_message": "no"}),
        Fault(kind="drop"),
        Fault(kind="refuse"),
    ]
    fake.fail(endpoint, *faults)
    await CALLS[endpoint](runcomfy, request_id, within_seconds=1_000)
    assert fake.count(endpoint) == len(faults) + 1
    assert len(clock.pauses) == len(faults)
    for pause, ceiling in zip(clock.pauses, (0.5, 1, 2, 4, 8, 16, 30, 30, 30), strict=True):
        assert ceiling / 2 <= pause <= ceiling


@pytest.mark.parametrize("endpoint", REPEATABLE)
@pytest.mark.parametrize("status", [429, 503])
async def test_a_call_is_never_repeated_for_longer_than_the_caller_waits(
    endpoint: Endpoint, status: int, fake: FakeRunComfy, runcomfy: RunComfyClient, clock: Clock
) -> None:
    request_id = await runcomfy.submit(REQUEST)
    fake.fail(endpoint, *[Fault(status=status)] * 50)
    with pytest.raises(ProviderUnavailable):
        await CALLS[endpoint](runcomfy, request_id, within_seconds=20)
    assert sum(clock.pauses) < 20
    assert fake.count(endpoint) == len(clock.pauses) + 1 > 4


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        ("0", 0),
        ("7", 7),
        ("86400", 30),
        ("9" * 400, 30),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 30),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Wed, 21 Oct 2015 07:28:00 -0000", 0),
        ("Wed, 21 Oct 99999999999999999999 07:28:00 GMT", 0),
        ("Wed, 21 Oct 2015 07:28:00 +99999999999999999999", 0),
        ("-1", 0),
        ("soon", 0),
        (None, 0),
    ],
)
async def test_the_service_is_left_alone_for_as_long_as_it_asks_within_reason(
    retry_after: str | None, seconds: float, fake: FakeRunComfy, runcomfy: RunComfyClient, clock: Clock
) -> None:
    for status in (429, 502, 503, 504):
        fake.fail("model", Fault(status=status, retry_after=retry_after))
        await runcomfy.price(within_seconds=100)
    assert len(clock.pauses) == 4
    assert all(seconds + 0.25 <= pause <= seconds + 0.5 for pause in clock.pauses)


async def test_a_caller_who_waits_for_less_than_the_service_asks_is_told_at_once(
    fake: FakeRunComfy, runcomfy: RunComfyClient, clock: Clock
) -> None:
    fake.fail("model", Fault(status=429, retry_after="60"))
    with pytest.raises(RateLimited) as raised:
        await runcomfy.price(within_seconds=20)
    assert raised.value.retry_after_seconds == 60
    assert not clock.pauses


DATES = st.builds(
    "{}, {} {} {} {}:{}:{} {}{}".format,
    st.sampled_from(["Wed", "", "X"]),
    st.integers(),
    st.sampled_from(["Oct", "Feb", "10"]),
    st.integers(),
    st.integers(),
    st.integers(),
    st.integers(),
    st.sampled_from(["GMT", "+", "-", "EST"]),
    st.integers() | st.just(""),
)


@given(value=st.binary() | st.text().map(str.encode) | DATES.map(str.encode))
def test_no_retry_after_makes_an_error_of_its_own(value: bytes) -> None:
    header = httpx.Response(503, headers=[(b"Retry-After", value)]).headers["retry-after"]
    seconds = retry_after_seconds(header)
    assert seconds is None or seconds >= 0


async def test_no_two_clients_ask_again_at_the_same_moment(fake: FakeRunComfy) -> None:
    pauses: list[list[float]] = []
    for seed in (1, 2, 1):
        clock = Clock()
        fake.fail("model", *[Fault(status=503)] * 3)
        async with provider(fake.base, clock, seed=seed) as runcomfy:
            await runcomfy.price()
        pauses.append(clock.pauses)
    assert pauses[0] == pauses[2]
    assert not set(pauses[0]) & set(pauses[1])


@pytest.mark.parametrize("endpoint", REPEATABLE)
async def test_a_socket_that_hangs_ends_within_the_wait(
    endpoint: Endpoint, fake: FakeRunComfy, clock: Clock
) -> None:
    fake.fail(endpoint, Fault(kind="hang"))
    async with provider(fake.base, clock, timeout=httpx.Timeout(600)) as runcomfy, asyncio.timeout(60):
        with pytest.raises(ProviderUnavailable, match="does not answer in time"):
            await CALLS[endpoint](runcomfy, "r", within_seconds=0.3)
    assert fake.count(endpoint) <= 1


async def test_a_call_that_hangs_is_given_up_and_repeated(fake: FakeRunComfy, clock: Clock) -> None:
    fake.fail("status", Fault(kind="hang"))
    async with provider(fake.base, clock, timeout=SOON) as runcomfy:
        request_id = await runcomfy.submit(REQUEST)
        assert (await runcomfy.status(request_id, within_seconds=60)).status is Status.IN_QUEUE
    assert fake.count("status") >= 2


async def test_a_caller_who_leaves_is_not_kept(fake: FakeRunComfy, clock: Clock) -> None:
    arrived = asyncio.Event()
    loop = asyncio.get_running_loop()

    def tell(_: str) -> None:
        loop.call_soon_threadsafe(arrived.set)

    fake.on("status", tell)
    fake.fail("status", Fault(kind="hang"))
    async with provider(fake.base, clock, timeout=httpx.Timeout(600)) as runcomfy:
        asking = asyncio.create_task(runcomfy.status("r", within_seconds=600))
        await arrived.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking


# A submission, which is paid for.


@pytest.mark.parametrize("endpoint", REPEATABLE)
async def test_a_service_that_is_not_there_is_told_after_as_long_as_the_caller_waits(
    endpoint: Endpoint, clock: Clock
) -> None:
    async with provider(nobodys_base(), clock) as runcomfy:
        with pytest.raises(ProviderUnavailable, match="cannot be reached"):
            await CALLS[endpoint](runcomfy, "r", within_seconds=30)
    assert 0 < sum(clock.pauses) < 30


async def test_a_submission_that_reaches_nobody_says_so_at_once(clock: Clock) -> None:
    async with provider(nobodys_base(), clock) as runcomfy:
        with pytest.raises(ProviderUnavailable, match="cannot be reached"):
            await runcomfy.submit(REQUEST)
    assert not clock.pauses


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full backlog refuses")
async def test_a_submission_whose_connection_is_not_even_taken_up_was_not_sent(clock: Clock) -> None:
    with ExitStack() as stack:
        deaf = stack.enter_context(socket.socket())
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(deaf.getsockname())
        base = f"http://127.0.0.1:{deaf.getsockname()[1]}/v1"
        async with provider(base, clock, timeout=httpx.Timeout(10, connect=0.05)) as runcomfy:
            with pytest.raises(ProviderUnavailable) as raised:
                await runcomfy.submit(REQUEST)
    assert isinstance(raised.value.__cause__, httpx.ConnectTimeout)


async def test_a_submission_that_finds_no_free_connection_was_not_sent(
    fake: FakeRunComfy, clock: Clock
) -> None:
    arrived = threading.Semaphore(0)
    fake.on("status", lambda _: arrived.release())
    fake.fail("status", *[Fault(kind="hang")] * 16)
    async with provider(fake.base, clock, timeout=httpx.Timeout(600, pool=0.05)) as runcomfy:
        hanging = [asyncio.create_task(runcomfy.status("r", within_seconds=600)) for _ in range(16)]
        for _ in hanging:
            await asyncio.to_thread(arrived.acquire)
        with pytest.raises(ProviderUnavailable) as raised:
            await runcomfy.submit(REQUEST)
        for each in hanging:
            each.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)
    assert isinstance(raised.value.__cause__, httpx.PoolTimeout)
    assert fake.count("submit") == 0


@pytest.mark.parametrize("status", [400, 402, 429])
async def test_a_refusal_that_names_a_request_may_have_taken_it_on(
    fake: FakeRunComfy, runcomfy: RunComfyClient, status: int
) -> None:
    fake.fail("submit", Fault(status=status, body={"request_id": "abc0", "status": "in_queue"}))
    with pytest.raises(SubmissionUnknown):
        await runcomfy.submit(REQUEST)


async def test_a_submission_that_was_refused_unread_is_not_repeated_either(
    fake: FakeRunComfy, runcomfy: RunComfyClient, clock: Clock
) -> None:
    fake.fail("submit", Fault(status=429, retry_after="2"))
    with pytest.raises(RateLimited) as raised:
        await runcomfy.submit(REQUEST)
    assert raised.value.retry_after_seconds == 2
    assert fake.count("submit") == 1
    assert not fake.jobs
    assert not clock.pauses


@pytest.mark.parametrize(
    "fault",
    [
        *(Fault(status=status) for status in (500, 502, 503, 504, 520, 408, 409, 425, 302, 307)),
        Fault(status=503, retry_after="1"),
        Fault(status=502, body=HTML),
        Fault(kind="drop"),
        Fault(kind="refuse"),
        Fault(kind="hang"),
        Fault(body={}),
        Fault(body=HTML),
        Fault(body="[]"),
        Fault(body={"request_id": None}),
        Fault(body={"request_id": "../../models"}),
        Fault(body={"error_code": 500001, "error_message": "no"}),
        Fault(body={"status": "in_queue", "error_code": 400001}),
    ],
    ids=str,
)
async def test_a_submission_that_may_have_been_taken_on_is_never_sent_again(
    fault: Fault, fake: FakeRunComfy, clock: Clock
) -> None:
    timeout, taken_on = SOON if fault.kind == "hang" else LATE, 0
    async with provider(fake.base, clock, timeout=timeout) as runcomfy:
        for number, accepts in enumerate((True, False), start=1):
            happens = replace(fault, accepts=accepts)
            taken_on += happens.carries_out
            fake.fail("submit", happens)
            with pytest.raises(SubmissionUnknown):
                await runcomfy.submit(REQUEST)
            assert fake.count("submit") == len(fake.calls) == number
            assert len(fake.jobs) == taken_on
    assert not clock.pauses


async def test_a_submission_with_a_request_id_is_taken_on_whatever_else_is_said(
    fake: FakeRunComfy, runcomfy: RunComfyClient
) -> None:
    said = {
        "request_id": "abc",
        "error_code": 0,
        "error_message": "success",
        "status_url": "http://127.0.0.1:9/",
    }
    fake.fail("submit", Fault(body=said))
    assert await runcomfy.submit(REQUEST) == "abc"


ODD_ANSWERS = {
    "too deep": answer(200, b"[" * 100_000 + b"]" * 100_000),
    "deep within": answer(200, b'{"status": "failed", "error": ' + b"[" * 400 + b"]" * 400 + b"}"),
    "endless number": answer(200, b'{"status": "in_queue", "queue_position": 1' + b"0" * 4_000 + b"}"),
    "more than endless": answer(200, b'{"status": "in_queue", "queue_position": 1' + b"0" * 9_000 + b"}"),
    "no text": answer(200, bytes(range(256))),
    "half a character": answer(200, b'{"status": "\\ud800", "error_code": "\\ud800"}'),
    "no charset": answer(200, b"{}", Content_Type="application/json; charset=hex"),
    "no gzip": answer(200, b"{}", Content_Encoding="gzip"),
    "half a gzip": answer(200, gzip.compress(b'{"status": "in_queue"}')[:-9], Content_Encoding="gzip"),
    "half a body": answer(200, b"{}").replace(b"Length: 2", b"Length: 99"),
    "no http": b"SSH-2.0-OpenSSH_9.6\r\n",
    "no status": b"HTTP/1.1 abc\r\n\r\n",
    "nothing": b"",
    "switching": answer(101),
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
}


@pytest.mark.parametrize("says", ODD_ANSWERS.values(), ids=ODD_ANSWERS)
async def test_no_answer_whatsoever_makes_an_error_that_is_not_ours(says: bytes, clock: Clock) -> None:
    async with Elsewhere(says).open() as odd, provider(odd.base, clock) as runcomfy:
        with pytest.raises(SubmissionUnknown):
            await runcomfy.submit(REQUEST)
        assert len(odd.heads) == 1
        for endpoint in REPEATABLE:
            with suppress(OutpaintError):
                await CALLS[endpoint](runcomfy, "r", within_seconds=2)
            assert endpoint in odd.heads[-1] or endpoint == "model"


# Where the token goes.


async def test_without_a_token_nothing_is_sent(fake: FakeRunComfy, clock: Clock) -> None:
    for token in (None, "", "two words", "line\n", "ключ", "a\0b"):
        async with provider(fake.base, clock, token=token) as runcomfy:
            for call in CALLS.values():
                with pytest.raises(Unauthorized):
                    await call(runcomfy, "r")
    assert not fake.calls
    assert not clock.pauses


@pytest.mark.smoke
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_the_token_follows_no_redirect(status: int, clock: Clock) -> None:
    async with AsyncExitStack() as stack:
        thief = await stack.enter_async_context(Elsewhere(answer(200)).open())
        says = answer(status, Location=f"{thief.base}/x")
        named = await stack.enter_async_context(Elsewhere(says).open())
        runcomfy = await stack.enter_async_context(provider(named.base, clock))
        for endpoint, call in CALLS.items():
            with pytest.raises(SubmissionUnknown if endpoint == "submit" else ProviderRejected):
                await call(runcomfy, "r")
    assert len(named.heads) == len(CALLS)
    assert all(f"authorization: bearer {TOKEN}" in head.lower() for head in named.heads)
    assert not thief.heads


async def test_the_token_goes_to_no_address_that_the_service_names(fake: FakeRunComfy, clock: Clock) -> None:
    async with Elsewhere(answer(200)).open() as thief, provider(fake.base, clock) as runcomfy:
        urls: dict[str, object] = {
            f"{name}_url": f"{thief.base}/requests/abc/{name}" for name in OF_A_REQUEST
        }
        fake.fail("submit", Fault(body={"request_id": "abc"} | urls))
        fake.fail("status", Fault(body={"status": "completed", "queue_position": 1} | urls))
        request_id = await runcomfy.submit(REQUEST)
        await runcomfy.status(request_id)
        for endpoint in OF_A_REQUEST:
            with pytest.raises(RequestNotFound):
                await CALLS[endpoint](runcomfy, request_id)
    assert not thief.heads


async def test_the_balance_of_another_address_is_asked_for_there(
    fake: FakeRunComfy, runcomfy: RunComfyClient
) -> None:
    await runcomfy.balance_usd()
    assert [call.path for call in fake.calls] == ["/prod/v2/balance"]


@pytest.mark.parametrize(
    ("base", "host"),
    [
        (RUNCOMFY_BASE, "api.runcomfy.net"),
        (RUNCOMFY_BASE + "/", "api.runcomfy.net"),
        ("https://model-api.runcomfy.net/v2", "api.runcomfy.net"),
        ("https://model-api.runcomfy.net.example/v1", "model-api.runcomfy.net.example"),
        ("https://[::1]:8089/v1", "[::1]:8089"),
    ],
)
async def test_the_token_goes_to_no_host_but_the_one_that_was_named(base: str, host: str) -> None:
    async with RunComfyClient(TOKEN, base_url=base) as runcomfy:
        assert urlsplit(runcomfy._balance_url).netloc == host


def told(exc: BaseException) -> str:
    """Everything that can be seen of an error."""
    return "\n".join([*traceback.format_exception(exc), repr(exc), str(exc), str(exc.__cause__)])


ECHOES = (
    TOKEN,
    f"Bearer {TOKEN}",
    f"https://x.example/{TOKEN}?token={TOKEN}",
    "".join(f"\\u{ord(mark):04x}" for mark in TOKEN),
)


@pytest.mark.parametrize("status", [200, 400, 401, 402, 404, 422, 429, 503])
async def test_a_token_that_the_service_echoes_is_not_repeated(
    status: int, fake: FakeRunComfy, runcomfy: RunComfyClient
) -> None:
    for echo in ECHOES:
        body = f'{{"error_code": 400999, "error_message": "no such token: {echo}!"}}'
        for endpoint, call in CALLS.items():
            fake.fail(endpoint, Fault(status=status, body=body, retry_after="99"))
            with pytest.raises(OutpaintError) as raised:
                await call(runcomfy, "r")
            assert TOKEN not in told(raised.value)
            assert "no such token" in told(raised.value)


async def test_a_token_in_a_status_or_a_reason_is_not_repeated(
    fake: FakeRunComfy, runcomfy: RunComfyClient
) -> None:
    request_id = await runcomfy.submit(REQUEST)
    fake.fail("status", Fault(body={"status": f"waiting for {TOKEN}"}))
    fake.fail("result", Fault(body={"status": "failed", "error": {"message": [TOKEN], "detail": TOKEN}}))
    assert (await runcomfy.status(request_id)).word == "waiting for …"
    assert TOKEN not in repr(await runcomfy.result(request_id))


async def test_a_token_with_marks_that_json_escapes_is_not_repeated(fake: FakeRunComfy, clock: Clock) -> None:
    for token in ('a"quote"d-token', "back\\slashed", "base64/+=="):
        fake.fail("model", Fault(status=400, body={"error_message": f"not {token}"}))
        async with provider(fake.base, clock, token=token) as runcomfy:
            with pytest.raises(ProviderRejected, match="not …"):
                await runcomfy.price()


async def test_no_log_line_and_no_repr_of_a_whole_session_holds_the_token(
    fake: FakeRunComfy, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    echo = f"no {TOKEN}"
    seen: list[str] = []
    async with provider(fake.base, clock) as runcomfy:
        for fault in (
            Fault(status=503, body={"error_message": echo}),
            Fault(kind="drop"),
            Fault(status=400, body={"error_message": echo}, retry_after=TOKEN),
        ):
            request_id = await runcomfy.submit(REQUEST)
            for endpoint, call in CALLS.items():
                fake.fail(endpoint, fault)
                try:
                    seen.append(repr(await call(runcomfy, request_id)))
                except OutpaintError as exc:
                    seen.append(told(exc))
        seen += [repr(runcomfy), str(runcomfy), f"{runcomfy!r:>10}"]
    assert len(seen) == 21
    assert TOKEN not in "\n".join(seen)
    assert TOKEN not in caplog.text
    assert not [record for record in caplog.records if record.name.startswith("http")]


# How it is used.


async def test_many_calls_share_one_connection(fake: FakeRunComfy, runcomfy: RunComfyClient) -> None:
    ours: list[tuple[str, int]] = []

    async def note(response: httpx.Response) -> None:
        ours.append(response.extensions["network_stream"].get_extra_info("client_addr"))

    runcomfy._client.event_hooks = {"response": [note]}
    request_id = await runcomfy.submit(REQUEST)
    for call in list(CALLS.values()) * 3:
        await call(runcomfy, request_id)
    fake.fail("status", Fault(status=503))
    await runcomfy.status(request_id)
    assert len(ours) == 21
    assert len(set(ours)) == 1


def test_the_package_alone_loads_neither_the_network_nor_the_models() -> None:
    assert not loaded_by("import outpaint_mcp") & {"httpx", "pydantic", "outpaint_mcp.models"}


def test_the_client_can_be_had_without_the_rest_of_the_house() -> None:
    loaded = loaded_by("from outpaint_mcp import RunComfyClient\nRunComfyClient('t')")
    assert "outpaint_mcp.providers.runcomfy.api.client" in loaded
    ours = {module for module in loaded if module.startswith("outpaint_mcp.")}
    api = ("answers", "client", "inline", "reading", "refusals", "wire")
    assert ours == {
        f"outpaint_mcp.{name}"
        for name in (
            *("_version", "config", "config.environment", "errors", "fields", "inputs", "models", "wishes"),
            *("providers", "providers.remote"),
            *("providers.base", "providers.remote.model", "providers.remote.retries"),
            *("providers.runcomfy", "providers.runcomfy.api"),
            *(f"providers.runcomfy.api.{module}" for module in api),
        )
    }
    assert not loaded & {"mcp", "numpy", "sqlite3"}


async def test_the_example_in_the_docstring_runs(fake: FakeRunComfy, clock: Clock) -> None:
    _, _, example = inspect.cleandoc(client_module.__doc__ or "").partition("Usable alone::\n")
    names: dict[str, Any] = {
        "RunComfyClient": partial(RunComfyClient, base_url=fake.base),
        "asyncio": SimpleNamespace(sleep=clock.sleep),
        "token": TOKEN,
        "request": REQUEST,
    }
    exec(f"async def use():\n{example}\n    return result", names)
    done = await names["use"]()
    assert done.status is Status.COMPLETED
    assert len(done.urls) == 1
    assert clock.pauses == [2, 2]
