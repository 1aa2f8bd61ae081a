"""Lines on stdio that no client should send."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.attack.target import memory_mib

if TYPE_CHECKING:
    import random

    from tests.attack.book import Row
    from tests.attack.target import Attack, Lines

_PATIENCE_SECONDS = 10.0
_FEW_FAILURES = 2
_CALL = '{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"%s","arguments":%s}}'
_HALF = ('"\\ud83d"', '"a\\udc00b"', '"\\ud83d\\ud83d"')

_NO_JSON = (
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b"{]",
    b"nonsense",
    b"'",
    b"{'a':1}",
    b'{"a":1,}',
    b"NaN",
    b"-",
    b"1e",
    b"\x00",
    b"\x00\x00\x00\x00",
    b"\xff\xfe\xfd",
    b"\xc3\x28",
    b"\xed\xa0\xbd",
    b"\xf8\x88\x80\x80\x80",
    b"\xc0\xaf",
    b"\x1b[31m",
    b'{"jsonrpc":"2.0","id":7,"method":"ping"',
    b'{"jsonrpc":"2.0","id":7,"method":"ping"}}',
    b'{"jsonrpc":"2.0","id":7,"method":"ping"}{"jsonrpc":"2.0","id":8,"method":"ping"}',
    b'{"jsonrpc":"2.0","id":7,"method":"pi\x01ng"}',
    b'{"jsonrpc":"2.0","id":7,"method":"\xff"}',
    b'{"jsonrpc":"2.0","id":NaNa,"method":"ping"}',
    b"[" * 50_000,
    b'{"a":' * 50_000,
    b"9" * 10_000,
    '{"jsonrpc":"2.0","id":7,"method":"ping"}'.encode("utf-16"),
    b"POST /mcp HTTP/1.1",
    b"Content-Length: 40",
)
_NO_MESSAGE = (
    "null",
    "true",
    "false",
    "0",
    "1.5",
    '"ping"',
    "[]",
    "[1]",
    "{}",
    "[{}]",
    '[{"jsonrpc":"2.0","id":7,"method":"ping"}]',
    '{"id":7,"method":"ping"}',
    '{"jsonrpc":"1.0","id":7,"method":"ping"}',
    '{"jsonrpc":2.0,"id":7,"method":"ping"}',
    '{"jsonrpc":null,"id":7,"method":"ping"}',
    '{"jsonrpc":"2.0","id":7}',
    '{"jsonrpc":"2.0"}',
    '{"jsonrpc":"2.0","id":7,"method":null}',
    '{"jsonrpc":"2.0","id":7,"method":5}',
    '{"jsonrpc":"2.0","id":7,"method":["ping"]}',
    '{"jsonrpc":"2.0","id":7,"method":{}}',
    '{"jsonrpc":"2.0","id":7,"method":"ping","params":5}',
    '{"jsonrpc":"2.0","id":7,"method":"ping","params":"x"}',
    '{"jsonrpc":"2.0","id":7,"method":"ping","params":[]}',
    '{"jsonrpc":"2.0","id":null,"method":"ping"}',
    '{"jsonrpc":"2.0","id":1.5,"method":"ping"}',
    '{"jsonrpc":"2.0","id":true,"method":"ping"}',
    '{"jsonrpc":"2.0","id":{},"method":"ping"}',
    '{"jsonrpc":"2.0","id":[7],"method":"ping"}',
    '{"jsonrpc":"2.0","id":7,"method":"ping","params":' + "[" * 5000 + "]" * 5000 + "}",
    '{"jsonrpc":"2.0","id":7,"method":"ping","params":{"_meta":5}}',
    '{"jsonrpc":"2.0","id":NaN,"method":"ping"}',
    '{"jsonrpc":"2.0","id":7,"method":""}',
    '{"jsonrpc":"2.0","id":7,"method":"no/such"}',
    '{"jsonrpc":"2.0","id":7,"method":"tools/call"}',
    '{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{}}',
    '{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":5}}',
    '{"jsonrpc":"2.0","id":7,"method":"\\ud83d"}',
    '{"jsonrpc":"2.0","id":7,"method":"initialize"}',
)
_VALUES = (
    "null",
    "[]",
    "5",
    '"x"',
    "{}",
    '{"audio":5,"tags":""}',
    '{"audio":null,"tags":""}',
    '{"audio":"","tags":""}',
    '{"audio":"song.wav"}',
    '{"audio":"song.wav","tags":"","seed":1e400}',
    '{"audio":"song.wav","tags":"","seed":99999999999999999999}',
    '{"audio":"song.wav","tags":"","seed":true}',
    '{"audio":"song.wav","tags":"","extend_after_duration":NaN}',
    '{"audio":"song.wav","tags":"","extend_after_duration":Infinity}',
    '{"audio":"song.wav","tags":"","extend_after_duration":-1}',
    '{"audio":"song.wav","tags":"","extend_after_duration":5e-324}',
    '{"audio":"song.wav","tags":"","extend_after_duration":1e308}',
    '{"audio":"song.wav","tags":"","takes":0}',
    '{"audio":"song.wav","tags":"","takes":1000000}',
    '{"audio":"song.wav","tags":"","provider":"../../etc"}',
    '{"audio":"song.wav","tags":"","ending":"\\u0000"}',
    '{"audio":"song.wav","tags":"","source_start_seconds":1e300}',
    '{"audio":"song.wav","tags":"","max_cost_usd":1e9,"extend_after_duration":-5}',
    '{"audio":"song\\u0000.wav","tags":""}',
    f'{{"audio":"{"a" * 100_000}","tags":""}}',
    *(f'{{"audio":{each},"tags":""}}' for each in _HALF),
)


def attack(attack: Attack) -> None:
    """Send lines that are no JSON, no message, no call, and mutants of good ones."""
    with attack.target() as target:
        server = target.start()
        area = "stdio"
        with attack.book.row(
            area, "lines that are no JSON or no message: each answered with an error"
        ) as row:
            for line in attack.some([*_NO_JSON, *(each.encode() for each in _NO_MESSAGE)]):
                answer = server.answer_to(line, seconds=_patience(row))
                row.check(answer is not None and "error" in answer, f"{line[:90]!r} got {str(answer)[:90]}")
            answer = server.answer_to(
                b'{"jsonrpc":"2.0","id":"\\ud83d","method":"ping"}', seconds=_patience(row)
            )
            row.check(answer is not None, "no answer to half a character as an id")
            row.check(server.is_alive(), "the server answers no longer")
        with attack.book.row(
            area, "tool calls with values of every wrong kind: refused; with half characters: answered"
        ) as row:
            for value in attack.some(_VALUES):
                line = (_CALL % ("submit_outpaint", value)).encode()
                answer = server.answer_to(line, seconds=_patience(row))
                is_error = answer is not None and ("error" in answer or answer["result"].get("isError"))
                row.check(is_error, f"{line[:200]!r}: {str(answer)[:200]}")
            for half in _HALF:
                line = (_CALL % ("submit_outpaint", f'{{"audio":"song.wav","tags":{half}}}')).encode()
                row.check(server.answer_to(line, seconds=_patience(row)), f"no answer to {line!r}")
            row.check(server.is_alive(), "the server answers no longer")
        with attack.book.row(area, "seeded mutants of good messages: the server goes on answering") as row:
            for _ in range(attack.count(30)):
                for _ in range(20):
                    server.put(mutant(attack.rng))
                row.tried += 19
                row.check(server.is_alive(), "no answer to a ping")
        _long_line(attack, server)
        with attack.book.row(area, "a good recording after all that") as row:
            row.check(server.serves(target.song), "it is not analyzed any more")
        with attack.book.row(
            area, "what was written besides: no line that is not JSON-RPC, no traceback"
        ) as row:
            server.kill()
            row.check(not server.noise, f"stdout has {server.noise[:2]}")
            row.check("Traceback" not in server.said, f"stderr has {server.said[-500:]!r}")


def _patience(row: Row) -> float:
    """How long to wait for an answer; less once it is clear that some get none."""
    return _PATIENCE_SECONDS if len(row.failures) < _FEW_FAILURES else 0.3


def _long_line(attack: Attack, server: Lines) -> None:
    with attack.book.row("stdio", "one line of 64 MiB") as row:
        line = b'{"jsonrpc":"2.0","id":7,"method":"ping","params":{"x":"' + b"x" * (64 << 20) + b'"}}'
        answer = server.answer_to(line, seconds=30)
        row.check(answer is not None and "error" in answer, f"answered with {str(answer)[:200]}")
        row.check(server.is_alive(), "the server answers no longer")
        row.at_most(memory_mib(server.process.pid), 250, "MiB", "server")


def mutant(rng: random.Random) -> bytes:
    """Return a message that was good once."""
    good = json.dumps(
        {
            "jsonrpc": "2.0",
            "id": 10**6 + rng.randrange(10**6),
            "method": rng.choice(
                ["ping", "tools/list", "tools/call", "resources/list", "notifications/cancelled"]
            ),
            "params": {"name": "list_outpaints", "arguments": {"limit": 1}, "requestId": 3},
        }
    ).encode()
    raw = bytearray(good)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(raw))
        match rng.randrange(4):
            case 0:
                raw[at] = rng.randrange(256)
            case 1:
                del raw[at : at + rng.randint(1, 8)]
            case 2:
                raw[at:at] = rng.choice([b"{", b"}", b"\\ud800", b'"', b"null", b"\x00", b"1e999", b"[[[["])
            case _:
                raw[at:at] = raw[: rng.randint(1, 30)]
    return bytes(raw).replace(b"\n", b" ").replace(b"\r", b" ")
