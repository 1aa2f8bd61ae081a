"""Lines of every kind become messages or refusals."""

from __future__ import annotations

from io import BytesIO

from mcp.types import JSONRPCError, JSONRPCRequest

from outpaint_mcp.server.messages import Refusal, read_messages

PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'


def test_a_line_as_long_as_the_limit_is_read_and_one_byte_more_is_not() -> None:
    for padding, is_read in ((0, True), (1, False)):
        stream = BytesIO(PING + b" " * padding + b"\n" + PING[:20])
        first, second = read_messages(stream, max_bytes=len(PING))
        assert isinstance(first, JSONRPCRequest) == is_read
        assert isinstance(second, Refusal), "the last line may lack its end"


def test_a_long_line_at_the_end_of_the_stream_is_refused_once() -> None:
    (only,) = read_messages(BytesIO(b"x" * 1_000_000), max_bytes=100)
    assert isinstance(only, Refusal)


def test_a_client_may_answer_that_it_could_not_read_an_id() -> None:
    (reply,) = read_messages(BytesIO(b'{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"?"}}'))
    assert isinstance(reply, JSONRPCError)
    assert not isinstance(reply, Refusal), "a refusal would be answered"


def test_a_message_may_be_large_by_its_texts_alone() -> None:
    long = '{"jsonrpc":"2.0","id":3,"method":"ping","params":{"a":"%s"}}\n' % ("a\\u0041" * 100_000)
    many = '{"jsonrpc":"2.0","id":4,"method":"ping","params":{"a":[%s]}}\n' % ",".join(["[]"] * 100_000)  # noqa: UP031
    read, refused = read_messages(BytesIO((long + many).encode()))
    assert isinstance(read, JSONRPCRequest)
    assert isinstance(refused, Refusal)
    assert "too many parts" in refused.error.message
