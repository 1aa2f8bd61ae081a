"""A typed client of RunComfy's audio-outpaint model: submit, status, result, cancel, price, balance.

Usable alone::

    async with RunComfyClient(token) as runcomfy:
        request_id = await runcomfy.submit(request)
        while not (await runcomfy.status(request_id)).status.is_final:
            await asyncio.sleep(2)
        result = await runcomfy.result(request_id)
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

import httpx

from outpaint_mcp.config.environment import RUNCOMFY_BASE, parse_base
from outpaint_mcp.errors import (
    InsufficientBalance,
    OutpaintError,
    ProviderRejected,
    ProviderUnavailable,
    RequestNotFound,
    SubmissionUnknown,
    Unauthorized,
    UnexpectedReply,
)
from outpaint_mcp.providers.remote.model import lost_answer
from outpaint_mcp.providers.remote.retries import RetryPolicy
from outpaint_mcp.providers.runcomfy.api import answers, wire
from outpaint_mcp.providers.runcomfy.api.inline import encoded
from outpaint_mcp.providers.runcomfy.api.reading import Json, object_of, retry_after_seconds, words_of
from outpaint_mcp.providers.runcomfy.api.refusals import HOW_TO_LOG_IN, is_taken_on, refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from outpaint_mcp.models import CancelOutcome, OutpaintRequest
    from outpaint_mcp.providers.remote.model import InlineFile, Price, RemoteResult, RemoteStatus

MODEL_ID = "acestep-ai/ace-step/audio-outpaint"

READ_SECONDS = 20.0

_BALANCE_URL = "https://api.runcomfy.net/prod/v2/balance"
_BALANCE_SECONDS = 3.0

# A submission carries up to 22 MB of inline audio; a slow answer to one is better than a lost one.
_TIMEOUT = httpx.Timeout(30.0, connect=10.0, write=120.0)
_LIMITS = httpx.Limits(max_connections=16, max_keepalive_connections=8, keepalive_expiry=15.0)

# All of it: a host that sends a byte now and then would never meet the others.
_POST_SECONDS = 300.0

_UNREACHABLE = "RunComfy cannot be reached. Check the network, then try again."

# Answers by which a submission was refused for sure. Whatever else is no success may have been taken on.
_REFUSALS = frozenset({400, 401, 402, 403, 404, 405, 411, 413, 414, 415, 422, 429, 431})

for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)  # below, they log whole links, which can be signed


class RunComfyClient:
    """Calls on one kept-alive connection; an async context manager.

    Reads and cancellations are repeated, with jitter, while the caller waits; a submission never, since it is paid for
    and has no idempotency key.
    """

    def __init__(  # noqa: PLR0913 - the place, and what tests turn
        self,
        token: str | None,
        *,
        base_url: str = RUNCOMFY_BASE,
        timeout: httpx.Timeout | float | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: random.Random | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make a client; nothing is connected to yet.

        Args:
            token: sent as the bearer; without one every call raises `Unauthorized`.
            base_url: where the model API is, `/v1` included.
            timeout: of a single call, in seconds, or of each of its phases; None for what the service needs.
            sleep: pauses between calls.
            rng: draws the jitter.
            clock: monotonic seconds.

        Raises:
            ConfigError: the token would go over plain http to another machine, or the URL is none.
        """
        self._token = token
        self._base = parse_base(base_url)
        origin = self._base.removesuffix(urlsplit(self._base).path)
        # The token goes to no host but the one that was named.
        is_default = RUNCOMFY_BASE.startswith(f"{origin}/")
        self._balance_url = _BALANCE_URL if is_default else f"{origin}/prod/v2/balance"
        self._retries = RetryPolicy(sleep, rng or random.Random(), clock)  # noqa: S311 - jitter
        self._client = httpx.AsyncClient(
            headers=answers.HEADERS,
            timeout=_TIMEOUT if timeout is None else timeout,
            limits=_LIMITS,
            # What goes to this machine goes through no proxy, which would see the token.
            trust_env=not self._base.startswith("http:"),
        )

    def __repr__(self) -> str:
        return f"RunComfyClient({self._base!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def submit(self, request: OutpaintRequest, *, inline: InlineFile | None = None) -> str:
        """Send a request, once; its `audio` goes out as it is.

        Args:
            request: the model's inputs.
            inline: a file that goes out in the place of `audio`, as a data: URI.

        Returns:
            RunComfy's request id.

        Raises:
            SubmissionUnknown: it may have been taken on and billed; it must not be sent again.
            Unauthorized, InsufficientBalance, ProviderRejected: refused; nothing was taken on.
            ProviderUnavailable: RunComfy could not be reached, or is asked too often; nothing was taken on.
        """
        try:
            body = await self._post(request, inline)
        except InsufficientBalance as exc:
            raise InsufficientBalance(f"{exc}{await self._balance_words()}") from exc
        try:
            return wire.request_id_of(body)
        except UnexpectedReply as exc:
            raise _lost(str(exc)) from exc

    async def status(self, request_id: str, *, within_seconds: float = READ_SECONDS) -> RemoteStatus:
        """Say where a request stands.

        Raises:
            RequestNotFound: RunComfy does not know it, or no longer.
            ProviderError: no useful answer within `within_seconds`.
        """
        return wire.status_of(
            await self._get(f"/requests/{wire.quoted_id(request_id)}/status", within_seconds)
        )

    async def result(
        self, request_id: str, *, submitted_audio: str = "", within_seconds: float = READ_SECONDS
    ) -> RemoteResult:
        """Give what was made of a request and what it cost; while it has not ended, where it stands.

        Args:
            request_id: as `submit` gave it.
            submitted_audio: what was sent as `audio`, which an answer may echo.
            within_seconds: how long to try.

        Raises:
            RequestNotFound: RunComfy does not know it, or no longer.
            ProviderError: no useful answer within `within_seconds`.
        """
        path = f"/requests/{wire.quoted_id(request_id)}/result?include_cost=true"
        return wire.result_of(await self._get(path, within_seconds), submitted_audio=submitted_audio)

    async def cancel(self, request_id: str, *, within_seconds: float = READ_SECONDS) -> CancelOutcome:
        """Cancel a request that is still in the queue.

        Raises:
            RequestNotFound: RunComfy does not know it, or no longer.
            ProviderError: no useful answer within `within_seconds`.
        """
        url = f"{self._base}/requests/{wire.quoted_id(request_id)}/cancel"
        return wire.cancel_outcome_of(
            await self._retries.run(lambda left: self._call("POST", url, left), within_seconds)
        )

    async def price(self, *, within_seconds: float = READ_SECONDS) -> Price:
        """Read the model's price in the catalogue.

        Raises:
            ProviderError: no useful answer within `within_seconds`.
        """
        return wire.price_of(await self._ask_about(f"{self._base}/models/{MODEL_ID}", within_seconds))

    async def balance_usd(self, *, within_seconds: float = READ_SECONDS) -> float | None:
        """Read the account's balance in US dollars; None where the answer does not name it.

        Raises:
            ProviderError: no useful answer within `within_seconds`.
        """
        return wire.balance_of(await self._ask_about(self._balance_url, within_seconds))

    async def _balance_words(self) -> str:
        with suppress(OutpaintError):
            balance = await self.balance_usd(within_seconds=_BALANCE_SECONDS)
            return "" if balance is None else f" Its balance is ${balance:.2f}."
        return ""

    async def _ask_about(self, url: str, within_seconds: float) -> Json:
        """Read what is no request's."""
        try:
            return await self._retries.run(lambda left: self._call("GET", url, left), within_seconds)
        except RequestNotFound as exc:
            raise UnexpectedReply(f"RunComfy has nothing at {url}. Check RUNCOMFY_MODEL_API_BASE.") from exc

    async def _get(self, path: str, within_seconds: float) -> Json:
        return await self._retries.run(
            lambda left: self._call("GET", self._base + path, left), within_seconds
        )

    async def _post(self, request: OutpaintRequest, inline: InlineFile | None) -> Json:
        """Submit once: what is certain becomes an error that says so, all else `SubmissionUnknown`."""
        url = f"{self._base}/models/{MODEL_ID}"
        try:
            body_bytes, content = await asyncio.to_thread(encoded, wire.payload(request), inline)
        except (OSError, RuntimeError) as exc:
            raise ProviderUnavailable("The audio cannot be read for sending. Try again later.") from exc
        headers = self._bearer() | {"Content-Type": "application/json", "Content-Length": str(body_bytes)}
        try:
            async with asyncio.timeout(_POST_SECONDS):
                response, body, error = await self._exchange("POST", url, headers, content)
        except UnexpectedReply as exc:
            raise _lost(str(exc)) from exc
        except TimeoutError as exc:
            raise _lost(f"none within {_POST_SECONDS:.0f} seconds") from exc
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError) as exc:
            raise ProviderUnavailable(_UNREACHABLE) from exc
        except httpx.HTTPError as exc:
            raise _lost(f"the connection broke off ({type(exc).__name__})") from exc
        if error is None:
            return body
        refused_inside = response.is_success and "request_id" not in body
        trouble_inside = response.is_success and isinstance(error, ProviderUnavailable)
        is_certain = refused_inside or (response.status_code in _REFUSALS and not is_taken_on(body))
        if trouble_inside or not is_certain:
            words = words_of(body)
            raise _lost(f"HTTP {response.status_code}{f': {words}' if words else ''}")
        if isinstance(error, RequestNotFound) or response.status_code in {404, 410}:
            # Without RunComfy's own words it is a gateway's, which may know better in a minute.
            kind = ProviderRejected if isinstance(error, RequestNotFound) else UnexpectedReply
            raise kind(
                f"RunComfy does not offer {MODEL_ID} at {self._base} (HTTP {response.status_code}). Check"
                " RUNCOMFY_MODEL_API_BASE."
            ) from error
        raise error

    async def _call(self, method: str, url: str, within_seconds: float) -> Json:
        """Make a call that may be repeated.

        Raises:
            ProviderUnavailable: it was not carried out, and may be later.
            OutpaintError: it was refused, by its reason.
        """
        try:
            async with asyncio.timeout(within_seconds):
                _, body, error = await self._exchange(method, url, self._bearer())
        except UnexpectedReply as exc:
            raise UnexpectedReply(f"RunComfy's answer cannot be used: {exc}.") from exc
        except (TimeoutError, httpx.TimeoutException) as exc:
            raise ProviderUnavailable("RunComfy does not answer in time. Try again later.") from exc
        except httpx.HTTPError as exc:
            raise ProviderUnavailable(_UNREACHABLE) from exc
        if error is not None:
            raise error
        return body

    async def _exchange(
        self, method: str, url: str, headers: dict[str, str], content: AsyncIterator[bytes] | None = None
    ) -> tuple[httpx.Response, Json, OutpaintError | None]:
        async with self._client.stream(method, url, headers=headers, content=content) as response:
            body = object_of(await answers.read_bounded(response), secret=self._token)
        pause = retry_after_seconds(response.headers.get("retry-after", ""))
        return response, body, refusal(response.status_code, body, retry_after_seconds=pause)

    def _bearer(self) -> dict[str, str]:
        if not self._token:
            raise Unauthorized(HOW_TO_LOG_IN)
        if not self._token.isascii() or not self._token.isprintable() or " " in self._token:
            raise Unauthorized("RunComfy's token has characters that no token has. Copy it again.")
        return {"Authorization": f"Bearer {self._token}"}


def _lost(how: str) -> SubmissionUnknown:
    return SubmissionUnknown(lost_answer("RunComfy", how))
