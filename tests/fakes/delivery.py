"""Answers as they go out: JSON, faults in its place, and output files with what can be wrong with them."""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.fakes.switches import Fault
from tests.fakes.wire import reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fakes.switches import Flaky, Json, Switches
    from tests.fakes.wire import Exchange

MEDIA_TYPES = {"wav": "audio/wav", "flac": "audio/flac", "mp3": "audio/mpeg"}
PAGE = b"<!DOCTYPE html><html><body><h1>Something went wrong</h1></body></html>"
PRIVATE_ADDRESS = "http://169.254.169.254/x"

_SLOW_PIECES = 20
_SLOW_PIECE_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer that is sent whole."""

    status: int = 200
    body: Json | str = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)

    async def send(self, exchange: Exchange) -> None:
        if isinstance(self.body, dict):
            await exchange.answer(
                self.status, json.dumps(self.body).encode(), "application/json", self.headers
            )
        else:
            markup = "application/xml" if self.body.startswith("<?xml") else "text/html; charset=utf-8"
            await exchange.answer(self.status, self.body.encode(), markup, self.headers)


def storage_error(status: int, code: str) -> Reply:
    """Answer as the bucket behind the output URLs does."""
    return Reply(
        status=status, body=f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code></Error>'
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """An output file on its way."""

    content: bytes
    container: str
    switches: Switches
    on_half: Callable[[], None]
    status: int = 200

    async def send(self, exchange: Exchange) -> None:
        """Send it, or what the switches make of it; half of it is in the client's socket at `on_half`."""
        content, media_type = self.content, MEDIA_TYPES[self.container]
        match self.switches.content:
            case "empty":
                content = b""
            case "html":
                content, media_type = PAGE, "text/html; charset=utf-8"
        sent = announced = len(content)
        match self.switches.content:
            case "truncated":
                sent = announced * 3 // 5
            case "excess":
                announced //= 2
        exchange.is_open &= sent == announced
        exchange.begin(200, announced, media_type)
        is_slow = self.switches.download == "slow"
        pieces = _SLOW_PIECES if is_slow else 2
        view = memoryview(content)
        for piece in range(pieces):
            if piece == pieces // 2:
                self.on_half()
            await exchange.send(view[sent * piece // pieces : sent * (piece + 1) // pieces])
            if is_slow:
                await asyncio.sleep(_SLOW_PIECE_SECONDS)


async def meet(fault: Fault, exchange: Exchange) -> None:
    """Answer with a fault."""
    if fault.kind == "hang":
        await exchange.hang()
    elif fault.kind in {"drop", "refuse"}:
        exchange.drop()
    else:
        await _spoken(fault).send(exchange)


def status_of(fault: Fault) -> int:
    """Return the HTTP status that a fault answers with; 0 where it gives no answer."""
    return _spoken(fault).status if fault.kind == "answer" else 0


def _spoken(fault: Fault) -> Reply:
    status = fault.status if fault.status is not None else 200
    headers = {} if fault.retry_after is None else {"Retry-After": fault.retry_after}
    body: Json | str = {} if fault.body is None else fault.body
    if fault.body is None and fault.status is not None:
        body = {"error_message": reason(status)}
    return Reply(status=status, body=body, headers=headers)


class Dice:
    """Draws the faults of a flaky service."""

    def __init__(self) -> None:
        self._flaky: Flaky | None = None
        self._rng = random.Random()

    def throw(self, flaky: Flaky | None) -> Fault | None:
        """Return the next call's fault, if it meets one; every new `Flaky` begins with its seed."""
        if flaky is None:
            return None
        if flaky is not self._flaky:
            self._flaky, self._rng = flaky, random.Random(flaky.seed)
        drawn, accepts = self._rng.random(), self._rng.random() < 0.5
        faults = {
            Fault(
                status=self._rng.choice([500, 502, 503, 504]), body=PAGE.decode(), accepts=accepts
            ): flaky.server_error,
            Fault(status=429, retry_after=self._rng.choice([None, "0", "1"])): flaky.too_many,
            Fault(kind="drop"): flaky.dropped,
            Fault(kind="hang", accepts=accepts): flaky.hang,
        }
        for fault, probability in faults.items():
            drawn -= probability
            if drawn < 0:
                return fault
        return None
