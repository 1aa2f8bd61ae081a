"""What crosses the process boundary arrives as it was sent, or is refused."""

from __future__ import annotations

import inspect
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from outpaint_mcp import errors
from outpaint_mcp.audio.layout import Layout, Part, PartKind
from outpaint_mcp.results import Outcome
from outpaint_mcp.wishes import Wishes
from outpaint_mcp.workers import answers, looks, orders, wire, worker
from outpaint_mcp.workers.order import Order

ORDERS = [
    each
    for each in (*vars(looks).values(), *vars(orders).values())
    if inspect.isclass(each) and issubclass(each, Order) and each is not Order
]
PROBE = looks.Probe(path=Path("/music/a song.wav"), max_seconds=math.inf)
PARTS = (orders.GeneratedPart(path=Path("/1.flac"), context_seconds=2.5),)
FINISH = orders.Finish(
    whole=None,
    before=(),
    after=PARTS,
    before_seconds=0,
    after_seconds=30,
    music=Path("/jobs/1/music"),
    source=Path("/ümlaut\nline.wav"),
    original=Path("/o.mp3"),
    cut_before_frames=0,
    cut_after_frames=441,
    start_seconds=1.5,
    is_cut=True,
    layout=Layout(44_100, (Part(PartKind.SOURCE, 9, 0),)),
    wishes=Wishes(after_seconds=30),
    folder=Path("/jobs/1"),
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
def test_every_order_has_a_task_an_answer_and_a_short_name(order: type[Order[Any]]) -> None:
    module, function = worker.TASKS[order]
    assert callable(getattr(worker.load(order), function)), module
    assert wire.answer_type(order)
    assert len(order.__name__) <= 16  # as `messages.REQUEST` has room for
    wire.prepare(order)
    wire.prepare(wire.reply_type(order))


@pytest.mark.parametrize("order", [PROBE, FINISH], ids=lambda order: type(order).__name__)
def test_an_order_arrives_as_it_was_sent_on_one_line(order: Order[Any]) -> None:
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
        wire.decode(wire.reply_type(looks.Measure), text)
    assert "validation" not in str(caught.value)
    assert "pydantic" not in str(caught.value)
    assert "LengthSeconds" in caplog.text


@pytest.mark.parametrize("line", [b"Probe {}\n", b"Order {}\n", b"Path {}\n", b"gone\n", b"\n"])
def test_an_order_that_does_not_fit_is_an_internal_error(line: bytes) -> None:
    with pytest.raises(errors.InternalError):
        wire.decode_order(line)


def test_what_is_no_plain_record_is_not_sent() -> None:
    with pytest.raises(TypeError, match="does not cross"):
        wire.encode(looks.LengthSeconds(seconds=object()))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", answers._KINDS.values())
def test_every_error_of_a_worker_arrives_as_it_was_raised(kind: type[errors.OutpaintError]) -> None:
    error = kind("What happened.")
    error.hint, error.field = errors.Hint.GET_RESULT, "source_end_seconds"
    rebuilt = answers.error_of(wire.decode(wire.ErrorRecord, wire.encode(wire.encode_error(error))))
    assert type(rebuilt) is kind
    assert str(rebuilt) == "What happened."
    assert (rebuilt.hint, rebuilt.field) == (errors.Hint.GET_RESULT, "source_end_seconds")


def test_the_server_loads_neither_numpy_nor_pydantic_for_the_pool() -> None:
    program = "import outpaint_mcp.workers.pool, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {"numpy", "soundfile", "av", "pydantic", "filelock", "multiprocessing"}
    assert "outpaint_mcp.workers.worker" not in loaded
