"""What crosses the process boundary arrives as it was sent, or is refused."""

from __future__ import annotations

import inspect
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from outpaint_mcp import errors
from outpaint_mcp.results import Outcome
from outpaint_mcp.workers import orders, wire, worker

ORDERS = [
    each
    for each in vars(orders).values()
    if inspect.isclass(each) and issubclass(each, orders.Order) and each is not orders.Order
]
PROBE = orders.Probe(path=Path("/music/a song.wav"), max_seconds=math.inf)
PARTS = (orders.GeneratedPart(path=Path("/1.flac"), context_seconds=2.5),)
FINISH = orders.Finish(
    whole=None,
    before=(),
    after=PARTS,
    source=Path("/ümlaut\nline.wav"),
    original=Path("/o.mp3"),
    folder=Path("/jobs/1"),
    before_seconds=0,
    after_seconds=30,
    seed=7,
    provider="runcomfy",
    provider_title="RunComfy",
    max_seconds=7200,
    plain=False,
)
OUTCOME = Outcome(
    path=Path("/jobs/1/output.wav"),
    sha256="0" * 64,
    size_bytes=10,
    duration_seconds=1.5,
    before_seconds=0.0,
    after_seconds=-math.inf,
    seed=1,
    note="",
)


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: order.__name__)
def test_every_order_has_a_task_an_answer_and_a_short_name(order: type[orders.Order[Any]]) -> None:
    module, function = worker.TASKS[order]
    assert callable(getattr(worker.load(order), function)), module
    assert wire.answer_type(order)
    assert len(order.__name__) <= 16  # as `messages.REQUEST` has room for
    wire.prepare(order)
    wire.prepare(wire.reply_type(order))


@pytest.mark.parametrize("order", [PROBE, FINISH], ids=lambda order: type(order).__name__)
def test_an_order_arrives_as_it_was_sent_on_one_line(order: orders.Order[Any]) -> None:
    line = wire.encode_order(order)
    assert line.index(b"\n") == len(line) - 1
    assert wire.decode_order(line) == order


def test_an_answer_arrives_as_it_was_sent() -> None:
    reply = wire.Reply(answer=OUTCOME)
    assert wire.decode(wire.reply_type(orders.Extend), wire.encode(reply)) == reply


@pytest.mark.parametrize(
    "text",
    [
        '{"answer": {"seconds": 1.0, "more": 2}}',
        '{"answer": {}}',
        '{"answer": {"seconds": "1.0"}}',
        '{"outcome": {"seconds": 1.0}}',
        '{"answer": ',
        "noise",
        "",
    ],
)
def test_an_answer_that_does_not_fit_is_an_internal_error_without_the_librarys_words(
    text: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(errors.InternalError) as caught:
        wire.decode(wire.reply_type(orders.Measure), text)
    assert "validation" not in str(caught.value)
    assert "pydantic" not in str(caught.value)
    assert "LengthSeconds" in caplog.text


@pytest.mark.parametrize("line", [b"Probe {}\n", b"Order {}\n", b"Path {}\n", b"gone\n", b"\n"])
def test_an_order_that_does_not_fit_is_an_internal_error(line: bytes) -> None:
    with pytest.raises(errors.InternalError):
        wire.decode_order(line)


def test_what_is_no_plain_record_is_not_sent() -> None:
    with pytest.raises(TypeError, match="does not cross"):
        wire.encode(orders.LengthSeconds(seconds=object()))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "kind", [each for each in vars(errors).values() if inspect.isclass(each) and issubclass(each, Exception)]
)
def test_every_error_arrives_as_it_was_raised(kind: type[errors.OutpaintError]) -> None:
    error = kind("What happened.")
    error.hint, error.request_id, error.path, error.field = errors.Hint.GET_RESULT, "op_1", "/a", "audio"
    record = wire.decode(wire.ErrorRecord, wire.encode(wire.encode_error(error)))
    rebuilt = wire.decode_error(record)
    assert type(rebuilt) is kind
    assert str(rebuilt) == "What happened."
    assert rebuilt.hint is errors.Hint.GET_RESULT
    assert (rebuilt.request_id, rebuilt.path, rebuilt.field) == ("op_1", "/a", "audio")


def test_an_error_of_an_unknown_kind_becomes_the_root_of_the_tree() -> None:
    for kind in ("NoSuchError", "annotations", "Hint", "error_of_kind"):
        record = replace(wire.encode_error(errors.InvalidRequest("Something.")), kind=kind)
        assert type(wire.decode_error(record)) is errors.OutpaintError


def test_the_server_loads_neither_numpy_nor_pydantic_for_the_pool() -> None:
    program = "import outpaint_mcp.workers.pool, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {"numpy", "soundfile", "av", "pydantic", "filelock", "multiprocessing"}
    assert "outpaint_mcp.workers.worker" not in loaded
