"""RunComfy, as it would be if it wanted to do harm."""

from __future__ import annotations

import asyncio
import zlib
from functools import cache
from typing import TYPE_CHECKING, Any

from tests.fakes.runcomfy import FakeRunComfy

if TYPE_CHECKING:
    from tests.fakes.runcomfy import Call
    from tests.fakes.switches import Endpoint
    from tests.fakes.wire import Exchange

_MIB = 1 << 20
_BOMB_MIB, _LARGE_MIB = 1024, 300
_DEPTH = 200_000
_SLOW_SECONDS = 0.5


class LyingRunComfy(FakeRunComfy):
    """The fake, whose answers can be replaced.

    Attributes:
        plagues: `gzip`, `endless`, `large`, `deep`, `slow`, or a redirect as `302 URL`, by endpoint.
    """

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - passed on
        super().__init__(**options)
        self.plagues: dict[Endpoint, str] = {}

    async def _send(self, exchange: Exchange, call: Call, reply: Any) -> None:  # noqa: ANN401 - as above
        plague = self.plagues.get(call.endpoint) if call.endpoint else None
        if plague is None:
            await super()._send(exchange, call, reply)
            return
        exchange.is_open = False
        await _answer(exchange, plague)


async def _answer(exchange: Exchange, plague: str) -> None:
    kind, _, place = plague.partition(" ")
    json = "application/json"
    match kind:
        case "gzip":
            exchange.begin(200, len(_bomb()), json, {"Content-Encoding": "gzip"})
            await exchange.send(_bomb())
        case "endless" | "large":
            exchange.begin(200, (1 << 40) if kind == "endless" else _LARGE_MIB * _MIB, json)
            await exchange.send(b'{"request_id":"')
            for _ in range(_LARGE_MIB):
                await exchange.send(b"a" * _MIB)
        case "deep":
            body = b'{"a":' * _DEPTH + b"1" + b"}" * _DEPTH
            exchange.begin(200, len(body), json)
            await exchange.send(body)
        case "slow":
            exchange.begin(200, 1000, json)
            for _ in range(1000):
                await exchange.send(b" ")
                await asyncio.sleep(_SLOW_SECONDS)
        case _:
            exchange.begin(int(kind), 0, json, {"Location": place})
            await exchange.send(b"")


@cache
def _bomb() -> bytes:
    press = zlib.compressobj(9, zlib.DEFLATED, 31)
    pieces = [press.compress(b'{"a":"')]
    pieces += [press.compress(b"a" * _MIB) for _ in range(_BOMB_MIB)]
    return b"".join([*pieces, press.compress(b'"}'), press.flush()])
