"""Nothing that a worker answers is believed: it may have been taken over by what it decoded."""

from __future__ import annotations

import errno
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.workers import extend, probe

from outpaint_mcp import errors
from outpaint_mcp.results import Outcome
from outpaint_mcp.workers import answers, outliving, wire, worker
from outpaint_mcp.workers.looks import Draw, Drawn, FileDigest
from outpaint_mcp.workers.orders import ConvertedFile, Extend
from outpaint_mcp.workers.pool import WorkerPool
from outpaint_mcp.workers.process import PlainProcess

if TYPE_CHECKING:
    from outpaint_mcp.workers.order import Order

pytestmark = pytest.mark.anyio

FOLDER = Path("/data/jobs/op_1")
OUTCOME = Outcome(
    path=FOLDER / "output.wav",
    sha256="0" * 64,
    size_bytes=10,
    duration_seconds=1.5,
    before_seconds=0.0,
    after_seconds=1.0,
    seed=1,
    note="It continues the source's own beats.",
)
CONVERTED = ConvertedFile(
    path=FOLDER / "a.mp3",
    sha256="0" * 64,
    size_bytes=1,
    duration_seconds=1.0,
    before_seconds=0,
    after_seconds=1,
)


def test_an_answer_within_its_own_folder_is_taken() -> None:
    for answer in (OUTCOME, replace(OUTCOME, as_made=OUTCOME), CONVERTED, Drawn(path=FOLDER / "picture.png")):
        answers.check_answer(answer, FOLDER)


@pytest.mark.parametrize(
    "answer",
    [
        replace(OUTCOME, path=Path("/outside/secret.txt")),
        replace(OUTCOME, path=FOLDER / "deeper" / "a.wav"),
        replace(OUTCOME, path=FOLDER / ".."),
        replace(OUTCOME, path=FOLDER),
        replace(OUTCOME, path=FOLDER / ".." / "op_2" / "a.wav"),
        replace(OUTCOME, path=Path("output.wav")),
        replace(OUTCOME, as_made=replace(OUTCOME, path=Path("/etc/passwd"))),
        replace(OUTCOME, sha256="../../../home"),
        replace(OUTCOME, audio_sha256="x"),
        replace(OUTCOME, url="https://elsewhere.example/a.wav"),
        replace(OUTCOME, note="\x1b]0;hello\x07"),
        replace(OUTCOME, note="a" * 100_000),
        replace(OUTCOME, duration_seconds=math.inf),
        replace(OUTCOME, after_seconds=math.nan),
        replace(CONVERTED, path=Path("/etc/passwd")),
        Drawn(path=Path("/root/.ssh/id_rsa")),
        FileDigest(sha256="../jobs/op_2"),
    ],
    ids=str,
)
def test_an_answer_beyond_that_is_an_internal_error(answer: object) -> None:
    with pytest.raises(errors.InternalError, match="log has the details"):
        answers.check_answer(answer, FOLDER)


def test_an_order_without_a_folder_is_answered_without_paths() -> None:
    with pytest.raises(errors.InternalError):
        answers.check_answer(Drawn(path=FOLDER / "picture.png"), None)


@pytest.mark.parametrize(
    "kind",
    ["OverBudget", "ConfigError", "OutpaintError", "Hint", "error_of_kind", "annotations", "no such", ""],
)
def test_an_error_that_no_worker_has_is_an_internal_error(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    record = replace(wire.encode_error(errors.InvalidRequest("Something.")), kind=kind)
    found = answers.error_of(record)
    assert type(found) is errors.InternalError
    assert "Internal error" in str(found)
    assert "no known kind" in caplog.text


def test_an_error_without_words_is_an_internal_error() -> None:
    assert type(answers.error_of(wire.encode_error(errors.InvalidRequest(" \n")))) is errors.InternalError


def test_the_words_of_an_error_and_of_a_step_are_bounded_and_show_nothing_but_text() -> None:
    found = answers.error_of(
        wire.encode_error(errors.UnsupportedAudio("\x1b[2Jno\n\u202eaudio" + "!" * 10_000))
    )
    assert str(found).startswith(" [2Jno  audio!")
    assert len(str(found)) == 2_000
    for share, shown in ((math.nan, 0.0), (math.inf, 0.0), (-1.0, 0.0), (7.0, 1.0), (0.5, 0.5)):
        assert answers.progress_in(wire.Progress(share=share, step="a\n" * 500)) == (shown, "a " * 50)


_NONSENSE = [
    b"not JSON",
    b"[]",
    b"null",
    b"7",
    b"{}",
    b'"done"',
    b"\xff\xfe",
    b"{" * 10_000,
    b'{"answer": null}',
    b'{"answer": {"seconds": "3"}}',
    b'{"progress": {"share": "all"}}',
    b'{"error": {}}',
    b'{"error": null, "progress": null}',
    json.dumps({"error": wire.encode_error(errors.InvalidRequest("")).__class__.__name__}).encode(),
    b"x" * (2 << 20),
]


class _Mad(PlainProcess):
    """A worker in whose place another writes."""

    lines: bytes

    def send(self, order: bytes) -> None:
        super().send(order)
        self.kill()
        self.pipes._lines.put_nowait(self.lines)


@pytest.mark.parametrize("line", _NONSENSE, ids=[repr(each[:30]) for each in _NONSENSE])
async def test_what_makes_no_sense_is_an_internal_error_in_words_and_logged(
    line: bytes, song: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_Mad, "lines", line, raising=False)
    monkeypatch.setattr("outpaint_mcp.workers.pool.PlainProcess", _Mad)
    pool = WorkerPool(start_nursery=None)
    with pytest.raises(errors.InternalError, match="Internal error: this program and a worker"):
        await pool.run(probe(song))
    await pool.close()
    assert "worker process" in caplog.text


def _left(folder: Path, answer: object) -> None:
    folder.mkdir(exist_ok=True)
    (folder / outliving.ANSWER_NAME).write_text(wire.encode(wire.Reply(answer=answer)))


def test_what_a_worker_left_behind_is_believed_no_more(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    _left(folder, replace(OUTCOME, path=folder / "output.wav"))
    assert outliving.answer_of(folder, Extend) is not None
    _left(folder, replace(OUTCOME, path=tmp_path / "secret.txt"))
    assert outliving.answer_of(folder, Extend) is None
    _left(folder, Drawn(path=tmp_path / "secret.txt"))
    assert outliving.answer_of(folder, Draw) is None


def test_what_it_left_is_read_through_no_link_and_to_no_end(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    _left(folder, replace(OUTCOME, path=folder / "output.wav"))
    answer = folder / outliving.ANSWER_NAME
    answer.rename(tmp_path / "elsewhere.json")
    answer.symlink_to(tmp_path / "elsewhere.json")
    assert outliving.answer_of(folder, Extend) is None
    answer.unlink()
    answer.write_bytes(b" " * (2 << 20) + (tmp_path / "elsewhere.json").read_bytes())
    assert outliving.answer_of(folder, Extend) is None
    (folder / "progress.json").write_text('{"share": NaN, "step": "a\\u001bb"}')
    assert outliving.progress_of(folder) == (0.0, "a b")


def test_every_order_that_writes_has_a_folder_of_its_own(tmp_path: Path) -> None:
    from outpaint_mcp.workers.inputs import folder_written, inputs_of  # noqa: PLC0415

    order: Order[Any] = extend(tmp_path / "a.wav", tmp_path / "job")
    assert folder_written(order) == tmp_path / "job"
    assert inputs_of(order) == [tmp_path / "a.wav"]


class _Broken(Exception):
    """What a library raises."""


@pytest.mark.parametrize(
    "exc",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        ImportError("libx.so: cannot allocate memory in static TLS block"),
        ImportError("libx.so: failed to map segment from shared object"),
        RuntimeError("can't start new thread"),
        _Broken("Internal psf_allocate() failed."),
        _Broken("Error opening '/proc/self/fd/4': System error."),
    ],
    ids=str,
)
def test_memory_that_cannot_be_had_is_told_as_that_whatever_a_library_calls_it(exc: Exception) -> None:
    if isinstance(exc, _Broken) and "System" in str(exc):
        exc.__cause__ = MemoryError()
    seen = errors.UnsupportedAudio("a.wav is not audio that can be decoded.")
    seen.__cause__ = exc
    for each in (exc, seen):
        error = worker._failure(each).error
        assert error is not None
        assert (error.kind, "ran out of memory" in error.message) == ("GenerationFailed", True)


def test_another_failure_is_not_put_down_to_memory() -> None:
    error = worker._failure(OSError(errno.ENOSPC, "No space left on device")).error
    assert error is not None
    assert "could not use a file: No space left" in error.message
