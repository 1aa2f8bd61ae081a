"""Houses whose servers pay for what they do: each with a song, folders and a service of its own, so that they do not
have to wait for one another."""

from __future__ import annotations

import shutil
import signal
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
import soundfile
from tests.e2e.processes import workers_of
from tests.e2e.rpc import PATIENCE_SECONDS, Json, Server
from tests.fakes.runcomfy import TOKEN, FakeRunComfy, Switches

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.rpc import Call
    from tests.fakes.switches import Endpoint, Event

TAGS, SEED = "a tired waltz", 7
ONE_STEP = {"tags": TAGS, "seed": SEED, "extend_before_duration": 0, "extend_after_duration": 2}
TWO_STEPS = ONE_STEP | {"extend_before_duration": 1}

# Most of what a scene takes is waiting for the next look at the service.
_AT_ONCE = 4
# What may lie in a data folder in which nothing is going on, besides the signs of life of servers that were killed.
_KEPT = {"outpaint.sqlite3", "outpaint.lock"}
# A join may reach so far into the song.
_JOIN_SECONDS = 0.06


class House:
    """A song, the folders that its servers share, and a service whose jobs are done at the first look."""

    def __init__(self, folder: Path, song: Path) -> None:
        self.fake = FakeRunComfy(switches=Switches(queue_polls=0, running_polls=0))
        self.data_dir, self.output_dir = folder / "data", folder / "Longer"
        self._input_dir = folder / "Music"
        self._input_dir.mkdir(parents=True)
        self.song = Path(shutil.copy(song, self._input_dir))
        self._stack = ExitStack()
        self.is_old = False
        """Whether it was delivered so long ago that nothing else is kept."""

    def __enter__(self) -> Self:
        self._stack.enter_context(self.fake)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()  # the servers first
        if error[0] is None:
            self.fake.check()

    def start(self, *, code: str | None = None) -> Server:
        """Start a server, by code of its own if there is some."""
        environment = {
            "OUTPAINT_INPUT_DIRS": str(self._input_dir),
            "OUTPAINT_OUTPUT_DIR": str(self.output_dir),
            "OUTPAINT_DATA_DIR": str(self.data_dir),
            "OUTPAINT_PROVIDER": "runcomfy",
            "RUNCOMFY_API_TOKEN": TOKEN,
            "RUNCOMFY_MODEL_API_BASE": self.fake.base,
        }
        server = Server(environment, arguments=None if code is None else ["-c", code])
        return self._stack.enter_context(server)

    def submit(self, server: Server, asked: Json = ONE_STEP) -> Call:
        """Submit a request; there may be no answer."""
        return server.start_tool("submit_outpaint", {"audio": str(self.song)} | asked)

    def submit_to_doomed(self, code: str) -> None:
        """Submit a request to a server whose code kills it meanwhile, and see it gone."""
        doomed = self.start(code=code)
        self.submit(doomed)
        assert doomed.process.wait(PATIENCE_SECONDS) == -signal.SIGKILL

    def once(self, event: Event, act: Callable[[], object], *, nth: int = 1) -> None:
        """Act when something happens at the service for the nth time from now on, before it answers."""
        left, lock = nth, Lock()

        def strike(_request_id: str) -> None:
            nonlocal left
            with lock:
                left -= 1
            if left == 0:
                act()

        self.fake.on(event, strike)

    def kill_at(self, event: Event, asked: Json | None = ONE_STEP, *, nth: int = 1) -> None:
        """Have a new server submit a request, or go on with the last one, and kill it as `once` does."""
        doomed = self.start()
        self.once(event, doomed.kill, nth=nth)
        if asked is not None:
            self.submit(doomed, asked)
        assert doomed.process.wait(PATIENCE_SECONDS) == -signal.SIGKILL

    def only_request(self, server: Server) -> Json:
        """Return the one request that the list has."""
        (listed,) = server.tool("list_outpaints")["requests"]
        return dict(listed)

    def finished(self, server: Server) -> Json:
        """Wait for the one request's end."""
        return server.finished(self.only_request(server)["request_id"])

    def owner(self, *servers: Server) -> Server:
        """Return the server that carries the one request out."""
        ((server_id,),) = self.rows("SELECT server_id FROM jobs")
        return next(each for each in servers if str(each.process.pid) == server_id.partition("-")[0])

    def files(self, name: str) -> list[Path]:
        """Return the hosted requests' working files of this name."""
        return list((self.data_dir / "jobs").glob(f"*/{name}"))

    def rows(self, query: str, *values: object) -> list[Any]:
        """Ask the database, or change something in it."""
        with (
            closing(sqlite3.connect(self.data_dir / "outpaint.sqlite3", timeout=30)) as connection,
            connection,
        ):
            return connection.execute(query, values).fetchall()

    def check_asked(self, **counts: int) -> None:
        """Check how often the service was asked for what."""
        assert {each: self.fake.count(cast("Endpoint", each)) for each in counts} == counts

    def check_one_step(self, result: Json) -> None:
        """Check that a result is the song, sample by sample, with what the service's one file has after it.

        That file is kept as well, byte for byte.
        """
        assert result["status"] == "completed", result
        (job,) = self.fake.jobs.values()
        content = Path(result["path"]).read_bytes()
        assert result["sha256"] == sha256(content).hexdigest()
        assert result["size_bytes"] == len(content)
        original, sample_rate = soundfile.read(self.song, dtype="int32", always_2d=True)
        longer, _ = soundfile.read(result["path"], dtype="int32", always_2d=True)
        assert np.array_equal(longer[: len(original)], original)
        assert abs(len(longer) - len(original) - 2 * sample_rate) < 0.05 * sample_rate
        assert result["before_seconds"] == 0
        assert abs(result["after_seconds"] - 2) < 0.05
        assert result["measured"]["source"]["bit_exact"] is True
        assert result["seed"] == job.inputs["seed"] == SEED
        assert result["cost_usd"] == job.cost_usd > 0
        for made in self.files("made.*"):
            assert made.read_bytes() == job.output(Path(self.fake._folder.name))

    def check_put_together(self, result: Json) -> None:
        """Check that a result has both sides, and between them the song, sample by sample but for the joins."""
        assert result["status"] == "completed", result
        assert sha256(Path(result["path"]).read_bytes()).hexdigest() == result["sha256"]
        longer, sample_rate = soundfile.read(result["path"], dtype="int32", always_2d=True)
        original, _ = soundfile.read(self.song, dtype="int32", always_2d=True)
        first, join = round(result["before_seconds"] * sample_rate), round(_JOIN_SECONDS * sample_rate)
        assert len(longer) == first + len(original) + round(result["after_seconds"] * sample_rate)
        assert np.array_equal(longer[first:][join : len(original) - join], original[join:-join])
        assert abs(result["before_seconds"] - 1) < 0.25
        assert abs(result["after_seconds"] - 2) < 0.25
        assert result["seed"] == SEED
        assert abs(result["cost_usd"] - sum(job.cost_usd for job in self.fake.jobs.values())) < 1e-9

    def check_inherited(self, **counts: int) -> None:
        """Check that a new server completes the one request, with so many calls of the service, and leaves no more."""
        heir = self.start()
        result = self.finished(heir)
        self.check_one_step(result)
        self.check_asked(**counts)
        self.check_left(heir, path=result["path"])

    def check_left(self, *servers: Server, path: str | None = None) -> None:
        """End all servers, and check that there is this file in the output folder and nothing else anywhere."""
        for server in servers:
            assert server.end() == 0
            assert server.noise == []
        there = {str(each) for each in self.output_dir.rglob("*")} if self.output_dir.exists() else set()
        assert there == {path} - {None}
        kept = [path for path in self.data_dir.rglob("*") if path.is_file() and path.parent.name != "servers"]
        made = [each.name for each in kept if each.parent.parent.name == "jobs"]
        assert set(made) <= {"output.wav", "made.wav"}
        assert bool(made) is (path is not None and not self.is_old)
        assert {each.name for each in kept} - set(made) == _KEPT
        assert workers_of(self.data_dir) == []


def play(folder: Path, song: Path, scenes: list[Callable[[House], None]]) -> None:
    """Play scenes at once, each in a house of its own.

    Raises:
        ExceptionGroup: what went wrong, with the scene in its notes.
    """

    def one(number: int) -> Exception | None:
        try:
            with House(folder / f"house-{number}", song) as house:
                scenes[number](house)
        except Exception as exc:  # noqa: BLE001 - told by all of them together
            exc.add_note(f"in {scenes[number]}")
            return exc
        return None

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        failures = [exc for exc in pool.map(one, range(len(scenes))) if exc is not None]
    if failures:
        raise ExceptionGroup(f"{len(failures)} of {len(scenes)} scenes went wrong", failures)
