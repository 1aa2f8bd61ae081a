"""Is the server there while it works: a 3-minute recording through a bare client, pings all the while.

`python -m bench.liveness [RECORDING]` from the project's root; without a recording, the package's own
piece repeated for three minutes. Prints a table.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING

import numpy as np
import soundfile
from tests.e2e.processes import until, workers_of
from tests.e2e.rpc import Server, structure_of
from tests.e2e.sound import check_longer_file

from outpaint_mcp.cli.demo_music import compose_piece

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.rpc import Json

_SECONDS = 180.0
_BETWEEN_PINGS_SECONDS = 0.05
_IDLE_PINGS = 60
_EXITS = 5


# What a ping costs on this machine at this moment, whoever answers it.
_ECHO = "import sys\nfor line in sys.stdin: print(line, end='', flush=True)"


@dataclass(frozen=True, slots=True)
class _Figure:
    what: str
    seconds: float
    target_seconds: float | None = None

    @property
    def is_met(self) -> bool:
        return self.target_seconds is None or self.seconds < self.target_seconds

    def __str__(self) -> str:
        if self.target_seconds is None:
            return f"| {self.what} | {1000 * self.seconds:.0f} ms | | |"
        met = "yes" if self.is_met else "**no**"
        return (
            f"| {self.what} | {1000 * self.seconds:.0f} ms | < {1000 * self.target_seconds:.0f} ms | {met} |"
        )


def main() -> int:
    """Measure, print the table, and exit with 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("recording", nargs="?", type=Path, help="16-bit, or lossy")
    chosen = parser.parse_args()
    with TemporaryDirectory() as folder:
        recording = chosen.recording.resolve() if chosen.recording else _compose(Path(folder) / "piece.wav")
        environment = {
            "OUTPAINT_INPUT_DIRS": str(recording.parent),
            "OUTPAINT_OUTPUT_DIR": f"{folder}/Longer",
            "OUTPAINT_DATA_DIR": f"{folder}/data",
        }
        seconds = soundfile.info(recording).duration
        figures = [*_measure_job(environment, recording), *_measure_exits(environment, recording)]
    print(f"{recording.name}, {seconds:.0f} s, 15 s before and 15 s after")
    print("| | measured | target | met |\n|---|---|---|---|")
    print(*figures, sep="\n")
    print("The source is in the longer files sample by sample.")
    return 0 if all(each.is_met for each in figures) else 1


def _compose(path: Path) -> Path:
    compose_piece(path)
    samples, sample_rate = soundfile.read(path, dtype="int16")
    times = math.ceil(_SECONDS * sample_rate / len(samples))
    soundfile.write(path, np.tile(samples, (times, 1))[: round(_SECONDS * sample_rate)], sample_rate)
    return path


def _order(recording: Path) -> Json:
    return {"audio": str(recording), "tags": "", "extend_before_duration": 15, "extend_after_duration": 15}


def _measure_job(environment: dict[str, str], recording: Path) -> list[_Figure]:
    with Server(environment) as server:
        idle, _ = _pings(server, while_=iter([True] * _IDLE_PINGS + [False]).__next__)
        submission = server.start_tool("submit_outpaint", _order(recording))
        submitting, echoes = _pings(server, while_=lambda: submission.is_open)
        submit_seconds, answer = submission.timed()
        request_id = structure_of(answer)["request_id"]
        wait = server.start_tool("get_outpaint_result", {"request_id": request_id, "wait_seconds": 45})
        working, more_echoes = _pings(server, while_=lambda: wait.is_open)
        job_seconds, answer = wait.timed()
        check_longer_file(structure_of(answer), recording)
        if server.noise:
            raise AssertionError(server.noise)
    busy = np.array(submitting + working)
    print(f"{len(busy)} pings in {submit_seconds + job_seconds:.1f} s", file=sys.stderr)
    return [
        _Figure("submit's answer", submit_seconds, 1),
        _Figure("worst ping of an idle server", max(idle), 0.05),
        _Figure("median ping during the job", float(np.median(busy)), 0.05),
        _Figure("99th percentile of the pings during the job", float(np.percentile(busy, 99)), 0.05),
        _Figure("worst ping during the job", float(busy.max()), 0.05),
        _Figure("meanwhile, worst answer of a process that only echoes", max(echoes + more_echoes)),
    ]


def _pings(server: Server, *, while_: Callable[[], bool]) -> tuple[list[float], list[float]]:
    """Ping every 50 ms, and return how many seconds each answer took; then those of an echo in between."""
    pause, pings, echoes = threading.Event(), [], []
    with subprocess.Popen(
        [sys.executable, "-c", _ECHO], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as echo:
        if echo.stdin is None or echo.stdout is None:
            raise AssertionError
        _echo_seconds(echo.stdin, echo.stdout)  # its start is not its answer
        while while_():
            seconds, _ = server.send("ping").timed()
            pings.append(seconds)
            echoes.append(_echo_seconds(echo.stdin, echo.stdout))
            pause.wait(max(0.0, _BETWEEN_PINGS_SECONDS - seconds - echoes[-1]))
        echo.stdin.close()
    return pings, echoes


def _echo_seconds(to: IO[str], back: IO[str]) -> float:
    since = time.perf_counter()
    to.write("ping\n")
    back.readline()
    return time.perf_counter() - since


def _measure_exits(environment: dict[str, str], recording: Path) -> list[_Figure]:
    """End the input of idle servers, and of servers with a job; the last one finishes them."""
    data_dir = Path(environment["OUTPAINT_DATA_DIR"])
    idle, busy = [], []
    left: list[str] = []
    for _ in range(_EXITS):
        idle.append(_exit_seconds(Server(environment)))
        server = Server(environment)
        request_id = server.tool("submit_outpaint", **_order(recording))["request_id"]
        left.append(request_id)
        until(lambda: workers_of(data_dir))
        busy.append(_exit_seconds(server))
    with Server(environment) as server:
        for request_id in left:
            check_longer_file(server.finished(request_id), recording)
    return [
        _Figure(f"exit after stdin's end, worst of {_EXITS}", max(idle), 0.5),
        _Figure(f"the same with a job running, worst of {_EXITS}", max(busy), 0.5),
    ]


def _exit_seconds(server: Server) -> float:
    since = time.perf_counter()
    code = server.end()
    if code:
        raise AssertionError(f"exit code {code}")
    return time.perf_counter() - since


if __name__ == "__main__":
    sys.exit(main())
