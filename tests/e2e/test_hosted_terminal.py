"""The command line on the hosted model, as a person sees it: a real process, and a terminal to show things on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import soundfile
from tests.e2e.processes import until
from tests.fakes.runcomfy import TOKEN, FakeRunComfy, Fault, Switches
from tests.leaks import check_words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import MakeSong

pty = pytest.importorskip("pty", reason="no terminals here")


@pytest.fixture
def fake() -> Iterator[FakeRunComfy]:
    with FakeRunComfy(switches=Switches(queue_polls=1, running_polls=0)) as opened:
        yield opened
        opened.check()


class Terminal:
    """A command whose stderr is a terminal."""

    def __init__(self, fake: FakeRunComfy, environment: dict[str, str], *arguments: str | Path) -> None:
        self._shown = bytearray()
        ours, theirs = pty.openpty()
        place = {"RUNCOMFY_MODEL_API_BASE": fake.base, "RUNCOMFY_API_TOKEN": TOKEN}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "outpaint_mcp", *map(str, arguments)],
            env=os.environ | environment | place,
            stdout=subprocess.PIPE,
            stderr=theirs,
            text=True,
        )
        os.close(theirs)
        self._reader = threading.Thread(target=self._read, args=(ours,), daemon=True)
        self._reader.start()

    def _read(self, ours: int) -> None:
        try:
            while piece := os.read(ours, 4096):
                self._shown += piece
        except OSError:  # the other end is closed
            os.close(ours)

    @property
    def shown(self) -> str:
        """What stood on the terminal so far."""
        return self._shown.decode("utf-8", "replace")

    def end(self) -> tuple[int, str]:
        """Wait for the command; its exit code and what it printed on stdout."""
        out, _ = self.process.communicate(timeout=60)
        self._reader.join(10)
        check_words(self.shown + out)
        return self.process.returncode, out.rstrip("\n")


def test_a_local_file_is_extended_with_queue_position_and_time_on_the_terminal(
    fake: FakeRunComfy, environment: dict[str, str], make_song: MakeSong
) -> None:
    song = make_song("song.flac", seconds=30)
    terminal = Terminal(fake, environment, "extend", song, "--after", "30", "--tags", "lofi, 120 bpm")
    code, out = terminal.end()
    assert code == 0
    assert soundfile.info(out).duration == pytest.approx(60, abs=0.01)
    assert Path(out).name == "song, extended 30s after.flac"
    assert re.search(r"\[[#.]+\] +\d+ s  Next in the queue \(30 s after\)", terminal.shown)
    assert "At most $0.0120: 60 s x $0.0002 (RunComfy's catalogue" in terminal.shown
    assert fake.count("submit") == 1


def test_ctrl_c_says_what_goes_on_and_how_to_come_back_to_it(
    fake: FakeRunComfy, environment: dict[str, str], song: Path
) -> None:
    fake.switches = Switches(queue_polls=0, running_polls=10_000)
    terminal = Terminal(fake, environment, "extend", song, "--after", "1")
    until(lambda: fake.count("status"))
    terminal.process.send_signal(signal.SIGINT)
    code, out = terminal.end()
    assert (code, out) == (130, "")
    assert "Not cancelled: RunComfy is already carrying the request out" in terminal.shown
    assert re.search(r"This is request op_[0-9a-f]{20}\.", terminal.shown)


def test_an_answer_that_was_lost_is_the_providers_failure_and_told_once(
    fake: FakeRunComfy, environment: dict[str, str], song: Path
) -> None:
    fake.fail("submit", Fault(kind="drop"))
    terminal = Terminal(fake, environment, "extend", song, "--after", "1")
    code, out = terminal.end()
    assert (code, out) == (5, "")
    assert terminal.shown.count("RunComfy's answer to the submission was lost") == 1
    assert fake.count("submit") == 1
