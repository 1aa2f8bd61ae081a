"""Rounds of killing: a server at work, a kill at a random moment, a new server, and a look at what is left."""

from __future__ import annotations

import enum
import itertools
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from tests.e2e.audit import Audit
from tests.e2e.processes import kill_all, workers_of
from tests.e2e.rpc import Call, Json, Server, structure_of
from tests.e2e.sound import check_longer_file

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Iterator

_MOST_REQUESTS = 3
_EARLIEST_SECONDS, _LATEST_SECONDS = 0.1, 2.5
"""When to kill, counted from the first submission: on a quick machine the last jobs end at about the latest."""
_SEEDS = 5
# What may lie in a data folder in which nothing is going on.
_KEPT = {"outpaint.sqlite3", "outpaint.lock", "gate"}


class Victim(enum.StrEnum):
    """Who is killed."""

    SERVER = "server"
    WORKER = "worker"
    BOTH = "both"


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What became of a round's requests.

    Attributes:
        moment_seconds: when the kill came, after the first submission.
        workers_killed: how many worker processes were alive and were killed.
        unanswered: submissions that were not accepted before the kill.
        restarts: jobs that were started more than once.
    """

    victim: Victim
    moment_seconds: float
    workers_killed: int
    submitted: int
    unanswered: int
    completed: int
    failed: int
    restarts: int


@dataclass(slots=True)
class House:
    """The folders that all servers of a loop share, and a song to extend."""

    environment: dict[str, str]
    song: Path
    done: dict[str, Json] = field(default_factory=dict)
    takes: dict[int, str] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def data_dir(self) -> Path:
        """Where the journal and the jobs are."""
        return Path(self.environment["OUTPAINT_DATA_DIR"])

    @property
    def output_dir(self) -> Path:
        """Where the extended files go."""
        return Path(self.environment["OUTPAINT_OUTPUT_DIR"])

    def play(self, victim: Victim, rng: random.Random) -> Round:
        """Play one round and check everything that has to hold after it.

        Raises:
            AssertionError: something does not.
        """
        audit = Audit(self.data_dir)
        starts_before = len(audit.starts())
        moment_seconds = rng.uniform(_EARLIEST_SECONDS, _LATEST_SECONDS)
        seeds = [rng.randrange(_SEEDS) for _ in range(rng.randint(1, _MOST_REQUESTS))]
        server = Server(self.environment)
        try:
            answered = self._work_until(server, moment_seconds, seeds)
            workers_killed = self._strike(server, victim, rng)
            if victim is not Victim.WORKER:
                server = Server(self.environment)
            ended = self._collect(server)
            assert answered <= ended.keys(), "a request that was accepted is gone"
            self._check(ended, answered, most_failed=workers_killed)
            assert server.end() == 0
            assert server.noise == []
        finally:
            server.kill()
        self._check_folders()
        audit.check()
        completed = sum(each["status"] == "completed" for each in ended.values())
        return Round(
            victim=victim,
            moment_seconds=moment_seconds,
            workers_killed=workers_killed,
            submitted=len(seeds),
            unanswered=len(seeds) - len(answered),
            completed=completed,
            failed=len(ended) - completed,
            restarts=len(audit.starts()) - starts_before - len(set(audit.starts()[starts_before:])),
        )

    def _work_until(self, server: Server, moment_seconds: float, seeds: Iterable[int]) -> set[str]:
        """Submit, ask for the results of what was accepted, and return its ids when the moment has come."""
        deadline = monotonic() + moment_seconds
        calls = [
            server.start_tool(
                "submit_outpaint",
                {
                    "audio": str(self.song),
                    "tags": f"number {next(self.numbers)}",  # the same twice would be one request
                    "extend_before_duration": 4,
                    "extend_after_duration": 30,
                    "seed": seed,
                },
            )
            for seed in seeds
        ]
        answered = set()
        for call in calls:
            with suppress(TimeoutError):
                request_id = _accepted(call.wait(max(0.001, deadline - monotonic())))
                answered.add(request_id)
                server.start_tool("get_outpaint_result", {"request_id": request_id, "wait_seconds": 45})
        with suppress(TimeoutError):  # nobody answers this one: it only waits for the moment
            Call(0).wait(max(0.001, deadline - monotonic()))
        return answered

    def _strike(self, server: Server, victim: Victim, rng: random.Random) -> int:
        """Kill, and return how many workers it hit while their server lived."""
        workers = workers_of(self.data_dir)
        match victim:
            case Victim.SERVER:
                server.kill()
                return 0
            case Victim.WORKER:
                workers = workers[: rng.randint(1, len(workers))] if workers else []
                kill_all(workers)
            case Victim.BOTH:
                blows = [lambda: kill_all(workers), server.kill]
                rng.shuffle(blows)
                for blow in blows:
                    blow()
        return len(workers)

    def _collect(self, server: Server) -> dict[str, Json]:
        """Wait for the end of every request that has not been seen to end."""
        listed = server.tool("list_outpaints", limit=100)["requests"]
        new = [each["request_id"] for each in listed if each["request_id"] not in self.done]
        ended = {request_id: server.finished(request_id) for request_id in new}
        self.done |= ended
        return ended

    def _check(self, ended: dict[str, Json], answered: set[str], *, most_failed: int) -> None:
        for request_id, result in ended.items():
            if result["status"] == "completed":
                check_longer_file(result, self.song)
                take = self.takes.setdefault(result["seed"], result["sha256"])
                assert take == result["sha256"], "the same seed gave another take"
            else:
                assert result["status"] == "failed", result
                expected = (
                    "was killed" if request_id in answered or "worker" in result["error"] else "stopped"
                )
                assert expected in result["error"], result
        killed = [each for each in ended.values() if "was killed" in each.get("error", "")]
        assert len(killed) <= most_failed, killed

    def _check_folders(self) -> None:
        """Check that the output folder holds the results and nothing else, and the data folder what made them."""
        paths = (Path(each["path"]) for each in self.done.values() if "path" in each)
        delivered = {str(path) for path in paths if path.parent == self.output_dir}
        there = {str(path) for path in self.output_dir.rglob("*")} if self.output_dir.exists() else set()
        assert there == delivered, there ^ delivered
        made = {f"jobs/{request_id}/output.wav" for request_id, each in self.done.items() if "path" in each}
        files = (path for path in self.data_dir.rglob("*") if path.is_file() and path.name not in _KEPT)
        left = {path.relative_to(self.data_dir).as_posix() for path in files}
        assert left == made, left ^ made
        assert workers_of(self.data_dir) == []


def _accepted(answer: Json) -> str:
    if answer.get("result", {}).get("isError"):  # whoever looked at the source was killed
        raise TimeoutError
    return str(structure_of(answer)["request_id"])
