"""Whatever comes as a line on stdin has an answer, and the next line is served."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.e2e.rpc import HANDSHAKES, NEWEST, PATIENCE_SECONDS, Server

if TYPE_CHECKING:
    from collections.abc import Callable

PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND = -32700, -32600, -32601
MIB = 1024**2

MALFORMED = [
    ("not JSON", b"hello", PARSE_ERROR, None),
    ("zeros", b"\0\0\0", PARSE_ERROR, None),
    ("half of an object", b'{"jsonrpc": "2.0", "id": "cut"', PARSE_ERROR, None),
    ("half of an object after its id", b'{"jsonrpc": "2.0", "id": "cut", "meth', PARSE_ERROR, "cut"),
    ("two messages in a line", b'{"jsonrpc":"2.0","id":"a","method":"ping"}{}', PARSE_ERROR, "a"),
    ("single quotes", b"{'jsonrpc': '2.0'}", PARSE_ERROR, None),
    ("bytes that are no UTF-8", b'{"jsonrpc":"2.0","id":"b","method":"p\xffng"}', PARSE_ERROR, "b"),
    ("UTF-16", '{"jsonrpc":"2.0","id":1,"method":"ping"}'.encode("utf-16-be"), PARSE_ERROR, None),
    ("a surrogate as UTF-8", b'{"jsonrpc":"2.0","id":"c","method":"\xed\xa0\xbd"}', PARSE_ERROR, "c"),
    (
        "many levels",
        b'{"method":"ping","params":{"x":' + b"[" * 9_999 + b"]" * 9_999 + b'},"jsonrpc":"2.0","id":"deep"}',
        PARSE_ERROR,
        "deep",
    ),
    ("objects without end", b'{"a":' * 9_999, PARSE_ERROR, None),
    (
        "a number of many digits",
        b'{"jsonrpc":"2.0","id":"long","method":"ping","params":{"x":' + b"9" * 9_999 + b"}}",
        PARSE_ERROR,
        "long",
    ),
    ("an empty batch", b"[]", INVALID_REQUEST, None),
    ("a batch", b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', INVALID_REQUEST, None),
    ("a text", b'"ping"', INVALID_REQUEST, None),
    ("a number", b"1", INVALID_REQUEST, None),
    ("nothing", b"null", INVALID_REQUEST, None),
    ("an empty object", b"{}", INVALID_REQUEST, None),
    ("no version", b'{"id":"d","method":"ping"}', INVALID_REQUEST, "d"),
    ("another version", b'{"jsonrpc":"1.0","id":"e","method":"ping"}', INVALID_REQUEST, "e"),
    ("no method", b'{"jsonrpc":"2.0","id":"f"}', INVALID_REQUEST, "f"),
    ("no method that is a text", b'{"jsonrpc":"2.0","id":"g","method":5}', INVALID_REQUEST, "g"),
    ("parameters as a list", b'{"jsonrpc":"2.0","id":"h","method":"ping","params":[]}', INVALID_REQUEST, "h"),
    ("an id of null", b'{"jsonrpc":"2.0","id":null,"method":"ping"}', INVALID_REQUEST, None),
    ("an id of true", b'{"jsonrpc":"2.0","id":true,"method":"ping"}', INVALID_REQUEST, None),
    ("an id with a fraction", b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', INVALID_REQUEST, None),
    ("an id beyond all numbers", b'{"jsonrpc":"2.0","id":1e999,"method":"ping"}', INVALID_REQUEST, None),
    ("an object as id", b'{"jsonrpc":"2.0","id":{},"method":"ping"}', INVALID_REQUEST, None),
    ("a list as id", b'{"jsonrpc":"2.0","id":[1],"method":"ping"}', INVALID_REQUEST, None),
    ("a notification that is none", b'{"jsonrpc":"2.0","method":"ping","params":5}', INVALID_REQUEST, None),
    ("a reply that is none", b'{"jsonrpc":"2.0","id":"i","result":5}', INVALID_REQUEST, None),
    (
        "a request that is half a reply",
        b'{"jsonrpc":"2.0","id":"j","method":"nope","error":{"code":1,"message":""}}',
        METHOD_NOT_FOUND,
        "j",
    ),
    ("an unknown method", b'{"jsonrpc":"2.0","id":"k","method":"nope"}', METHOD_NOT_FOUND, "k"),
    (
        "the same key twice",
        b'{"jsonrpc":"2.0","id":"l","method":"ping","method":"nope"}',
        METHOD_NOT_FOUND,
        "l",
    ),
]


@pytest.mark.parametrize(
    ("line", "code", "request_id"), [each[1:] for each in MALFORMED], ids=[each[0] for each in MALFORMED]
)
def test_what_is_no_message_is_answered_and_the_next_one_is_served(
    server: Server, line: bytes, code: int, request_id: str | None
) -> None:
    server.write_line(line)
    answer = server.strays.get(timeout=PATIENCE_SECONDS)
    assert (answer["id"], answer["error"]["code"]) == (request_id, code)
    assert server.ask("ping") == {}
    assert server.strays.empty()


@pytest.mark.parametrize("protocol", [*HANDSHAKES, NEWEST])
def test_half_an_emoji_is_replaced_wherever_it_stands(
    start_server: Callable[..., Server], protocol: str
) -> None:
    server = start_server(protocol=protocol)
    for field in ("audio", "tags", "lyrics"):
        arguments = {"audio": "no such song.wav", "tags": "lofi \ud83d\ude00"} | {field: "no such \ud83d"}
        answer = server.start_tool("submit_outpaint", arguments).wait()
        assert answer["result"]["isError"]
        assert "no such" in answer["result"]["content"][0]["text"]
    found = server.tool("list_audio", query="\\ud83d \ude00")  # the first is a backslash and letters
    assert found["files"] == []


def test_a_byte_order_mark_and_blank_lines_are_overlooked(server: Server) -> None:
    server.write_line(b"\r\n \r\n\xef\xbb\xbf" + b'{"jsonrpc":"2.0","id":"marked","method":"ping"}\r')
    assert server.strays.get(timeout=PATIENCE_SECONDS) == {"jsonrpc": "2.0", "id": "marked", "result": {}}


def test_a_line_beyond_the_limit_is_refused_with_its_id_and_not_held_in_memory(
    start_server: Callable[..., Server],
) -> None:
    server = start_server()
    before = _peak_bytes(server)
    inline = "data:audio/wav;base64," + "A" * (100 * MIB)
    for first in (True, False):  # where clients in Python and in JavaScript write the id
        call = {"method": "tools/call", "params": {"name": "analyze_audio", "arguments": {"audio": inline}}}
        frame = {"jsonrpc": "2.0", "id": "huge"}
        server.write_line(json.dumps(frame | call if first else call | frame).encode())
        answer = server.strays.get(timeout=PATIENCE_SECONDS)
        assert (answer["id"], answer["error"]["code"]) == ("huge", INVALID_REQUEST)
        assert "16 MiB" in answer["error"]["message"]
    assert server.ask("ping") == {}
    after = _peak_bytes(server)
    assert before is None or after is None or after - before < 64 * MIB


def test_a_refusal_is_one_line_in_the_log_without_what_was_sent(start_server: Callable[..., Server]) -> None:
    server = start_server()
    for line in (
        b'{"secret words',
        b'["secret words"]',
        b'{"jsonrpc":"2.0","id":1,"method":{"secret words":1}}',
    ):
        server.write_line(line)
        server.strays.get(timeout=PATIENCE_SECONDS)
    server.end()
    assert "secret" not in server.said
    assert "Traceback" not in server.said
    assert len([line for line in server.said.splitlines() if "refused" in line]) == 3


def _peak_bytes(server: Server) -> int | None:
    """Return the most memory that the server had so far; None where the system does not say."""
    try:
        status = Path(f"/proc/{server.process.pid}/status").read_text(encoding="ascii")
    except OSError:
        return None
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
