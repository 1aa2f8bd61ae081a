"""What is attacked: the installed program on folders of its own, and how it looks from outside."""

from __future__ import annotations

import json
import math
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np
import soundfile
from tests.e2e.processes import watching
from tests.e2e.rpc import Json, Server

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Sequence

    from tests.attack.book import Book

_T = TypeVar("_T")

INSIDE_SECONDS, OUTSIDE_SECONDS = 2.0, 7.0
"""How long the recordings in the allowed folder are, and those that must not be read."""

_WORDLESS = re.compile(r"Error executing tool \w+:?")
_LOOK_SECONDS = 0.05
_ANSWER_SECONDS = 60.0


class Lines(Server):
    """A server, and every line that it writes."""

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - passed on
        self.lines: queue.Queue[Json] = queue.Queue()
        super().__init__(*arguments, **options)

    def _take_in(self, line: str) -> None:
        with suppress(ValueError):
            message = json.loads(line)
            if isinstance(message, dict) and "method" not in message:
                self.lines.put(message)
                if not isinstance(message.get("id"), int):
                    return
        super()._take_in(line)

    def put(self, raw: bytes) -> None:
        """Write a line, whatever it is."""
        assert self.process.stdin is not None
        self.process.stdin.write(raw + b"\n")
        self.process.stdin.flush()

    def answer_to(self, raw: bytes, *, seconds: float) -> Json | None:
        """Write a line, and return the next answer; None if there is none in time."""
        while not self.lines.empty():
            self.lines.get()
        self.put(raw)
        with suppress(queue.Empty):
            return self.lines.get(timeout=seconds)
        return None

    def is_alive(self) -> bool:
        """Whether it still answers."""
        with suppress(Exception):
            return "result" in self.send("ping").wait(_ANSWER_SECONDS)
        return False

    def serves(self, song: Path) -> bool:
        """Whether it still does its work: what answers with refusals alone holds nothing."""
        outcome = self.outcome("analyze_audio", {"audio": str(song)})
        return bool(outcome.data.get("duration_seconds") == INSIDE_SECONDS)

    def outcome(
        self, tool: str, arguments: Json | None = None, *, seconds: float = _ANSWER_SECONDS
    ) -> Outcome:
        """Call a tool, and return what came of it, error or not."""
        return Outcome.of(self.start_tool(tool, arguments or {}).wait(seconds))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a tool call came to.

    Attributes:
        words: all text of it.
        data: the structured answer; empty for an error.
    """

    is_error: bool
    words: str
    data: Json

    @classmethod
    def of(cls, answer: Json) -> Self:
        """Read a JSON-RPC answer."""
        if "error" in answer:
            return cls(is_error=True, words=str(answer["error"].get("message", "")), data={})
        result = answer["result"]
        words = "".join(block.get("text", "") for block in result.get("content", []))
        is_error = bool(result.get("isError"))
        return cls(is_error, words, {} if is_error else result.get("structuredContent") or {})

    @property
    def is_refusal(self) -> bool:
        """Whether it is an error with words that are not those of a bug."""
        return self.is_error and len(self.words) > 20 and not self.is_bug

    @property
    def is_bug(self) -> bool:
        """Whether it speaks of a crash, a hang or a bug, or says nothing."""
        broken = ("Traceback", "Internal error", "worker process crashed", "Nothing was heard of the worker")
        is_empty = self.is_error and not _WORDLESS.sub("", self.words).strip()
        return is_empty or any(each in self.words for each in broken)


class Target:
    """Folders for one attack: music, what lies outside of it, and the program's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.music, self.longer, self.data = folder / "Music", folder / "Longer", folder / "data"
        self.outside, self.scratch = folder / "outside", folder / "tmp"
        for each in (self.music, self.outside, self.scratch):
            each.mkdir(parents=True)
        self.song = write_song(self.music / "song.wav", INSIDE_SECONDS)
        self.secret = write_song(self.outside / "secret.wav", OUTSIDE_SECONDS)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def environment(self, **more: str) -> dict[str, str]:
        """Return the variables that a server is started with."""
        return {
            "OUTPAINT_INPUT_DIRS": str(self.music),
            "OUTPAINT_OUTPUT_DIR": str(self.longer),
            "OUTPAINT_DATA_DIR": str(self.data),
            "TMPDIR": str(self.scratch),
        } | more

    def start(self, *, options: Json | None = None, **more: str) -> Lines:
        """Start a stdio server; more variables by name."""
        return self._stack.enter_context(Lines(self.environment(**more), **(options or {})))

    def command(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run the command line to its end."""
        return subprocess.run(
            [sys.executable, "-m", "outpaint_mcp", *arguments],
            env=clean_environment() | self.environment(**more),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def leftovers(self) -> list[str]:
        """Return what lies in the temporary folder, and working files below the data folder."""
        working = [path for path in self.data.rglob("*") if path.is_file() and path.name == "source"]
        return [str(each) for each in (*self.scratch.iterdir(), *working)]


def clean_environment() -> dict[str, str]:
    """Return this process's variables without those of the product: whoever attacks may have a token."""
    ours = ("OUTPAINT_", "RUNCOMFY_")
    own = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return own | {"RUNCOMFY_CONFIG_DIR": os.devnull}


@dataclass(slots=True)
class Attack:
    """One area's means.

    Attributes:
        share: how much of what is counted by seed is tried; 1 for all.
    """

    book: Book
    folder: Path
    rng: random.Random
    share: float

    def count(self, whole: int) -> int:
        """Return how many tries of this many a run makes."""
        return max(2, math.ceil(whole * self.share))

    def some(self, every: Sequence[_T]) -> Sequence[_T]:
        """Return those of a list that a run tries: all of it, or a share drawn by seed."""
        return every if self.share >= 1 else self.rng.sample(every, self.count(len(every)))

    @contextmanager
    def target(self) -> Iterator[Target]:
        """Give fresh folders."""
        with Target(self.folder / f"target-{self.rng.getrandbits(48):012x}") as opened:
            yield opened


def write_song(path: Path, seconds: float, *, rate: int = 16_000, hz: float = 220.0, **how: str) -> Path:
    """Write a beat above a tone."""
    rng = np.random.default_rng(1)
    t = np.arange(round(seconds * rate)) / rate
    beat = rng.normal(0, 0.3, len(t)) * np.exp(-30 * (t % 0.5))
    samples = np.stack([0.3 * np.sin(2 * np.pi * hz * t) + beat] * 2, axis=1)
    soundfile.write(path, samples.clip(-0.99, 0.99), rate, **how)
    return path


def memory_mib(pid: int) -> float:
    """Return the most memory that a process has had, in MiB; 0 where nobody knows."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return 0.0


def children_of(pid: int) -> list[int]:
    """Return a process's descendants."""
    parents: dict[int, list[int]] = {}
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            with suppress(OSError, IndexError):
                parent = int((each / "stat").read_text().rpartition(")")[2].split()[1])
                parents.setdefault(parent, []).append(int(each.name))
    found, left = [], [pid]
    while left:
        below = parents.get(left.pop(), [])
        found += below
        left += below
    return found


@contextmanager
def measuring(pid: int) -> Iterator[list[float]]:
    """Watch a server's workers while the block lasts; the list has the most memory that one had, in MiB."""
    most = [0.0]

    def look() -> None:
        most[0] = max([most[0], *map(memory_mib, children_of(pid))])

    with watching(look):
        yield most


def wait_until(look: Any, *, seconds: float = 30.0) -> bool:  # noqa: ANN401 - whatever can be true
    """Whether something is seen in time."""
    deadline = time.monotonic() + seconds
    while not look():
        if time.monotonic() > deadline:
            return False
        threading.Event().wait(_LOOK_SECONDS)
    return True
