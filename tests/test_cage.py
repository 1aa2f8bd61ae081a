"""A decoder that was taken over gets at nothing but the files of its own order."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.e2e.processes import until, workers_of
from tests.workers import measure

from outpaint_mcp.errors import SourceNotAllowed, SourceUnreachable, UnsupportedAudio
from outpaint_mcp.workers import cage, inputs
from outpaint_mcp.workers.forking import CAN_FORK, start_nursery
from outpaint_mcp.workers.looks import Analyze, ProbeMany
from outpaint_mcp.workers.pool import WorkerPool
from outpaint_mcp.workers.process import worker_environment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from tests.conftest import MakeSong

    from outpaint_mcp.config import Settings

pytestmark = pytest.mark.anyio
# ruff: noqa: ASYNC240 - small files of its own
needs_cage = pytest.mark.skipif(bool(cage.lacking()), reason=f"this system lacks {', '.join(cage.lacking())}")
ways = pytest.mark.parametrize(
    "forks", [pytest.param(True, marks=pytest.mark.skipif(not CAN_FORK, reason="no fork")), False]
)
# What a system may keep from one's own programs without us.
_OFTEN_REFUSED = {"memory of the server", "tracing the server"}


@pytest.fixture
def reach(tmp_path: Path, song: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """All that a person has, and a decoder that is after it in the place of the real one."""
    home = tmp_path / "home"
    names = {
        "key": ".ssh/id_rsa",
        "token": "token.json",
        "bashrc": ".bashrc",
        "victim": "a.wav",
        "other": "b.wav",
    }
    files = {name: home / path for name, path in (names | {"journal": "data/outpaint.sqlite3"}).items()}
    for path in (*files.values(), home / "no program"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("nothing that runs")
        path.chmod(0o700)
    (tmp_path / "job").mkdir()
    monkeypatch.setenv("OTHER_PROGRAMS_KEY", "sk-1")
    with closing(socket.create_server(("127.0.0.1", 0))) as web, socket.socket(socket.AF_UNIX) as local:
        os.chdir(tmp_path)  # a socket's path has to be short
        local.bind("socket")
        local.listen()
        found = {
            **{name: str(path) for name, path in files.items()},
            "home": str(home),
            "output": str(home),
            "own": str(tmp_path / "job"),
            "no_program": str(home / "no program"),
            "server": os.getpid(),
            "port": web.getsockname()[1],
            "socket": os.path.relpath(tmp_path / "socket"),
        }
        attack = Path(__file__).with_name("cage_attack.py").read_text()
        future, rest = attack.split("from __future__ import annotations\n")
        (tmp_path / "decoder").mkdir()
        (tmp_path / "decoder" / "soundfile.py").write_text(
            f"{future}from __future__ import annotations\nREACH = {found!r}\n{rest}"
        )
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "decoder"), *sys.path]))
        assert song.exists()
        yield found


@pytest.fixture(autouse=True)
def _here() -> Iterator[None]:
    here = Path.cwd()
    yield
    os.chdir(here)


@asynccontextmanager
async def opened_pool(*, forks: bool = False, folders: Sequence[Path] = ()) -> AsyncIterator[WorkerPool]:
    """Open a pool that is closed whatever becomes of the test."""
    opened = WorkerPool(start_nursery=start_nursery if forks else None, folders=folders)
    try:
        yield opened
    finally:
        await opened.close()


@needs_cage
@ways
async def test_a_decoder_that_was_taken_over_gets_at_its_input_and_its_folder_alone(
    reach: dict[str, Any], song: Path, *, forks: bool
) -> None:
    async with opened_pool(forks=forks) as pool:
        with pytest.raises(UnsupportedAudio) as caught:
            await pool.run(Analyze(path=song, folder=Path(reach["own"]), max_seconds=60))
    assert json.loads(str(caught.value)) == [["its input", "its folder"], []]
    assert Path(reach["journal"]).read_text() == "nothing that runs"


def test_outside_of_the_cage_it_gets_at_everything(reach: dict[str, Any], tmp_path: Path) -> None:
    """So that the test above can fail."""
    done = subprocess.run(
        [sys.executable, tmp_path / "decoder" / "soundfile.py"],
        check=True,
        capture_output=True,
        start_new_session=True,
    )
    attempts = subprocess.run(
        [sys.executable, "-c", "import soundfile; print(*soundfile._attempts(), sep='|')"],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path / "decoder"), *sys.path])},
    ).stdout.strip()
    assert set(attempts.split("|")) - set(json.loads(done.stdout)) <= _OFTEN_REFUSED
    assert Path(reach["victim"]).stat().st_size == 1


@needs_cage
@ways
@pytest.mark.usefixtures("marked")  # for its workers
async def test_the_cage_holds_every_thread_of_a_worker(
    endless: Path, settings: Settings, *, forks: bool
) -> None:
    def look() -> list[dict[str, str]] | None:
        for worker in workers_of(settings.data_dir):
            tasks = [each / "status" for each in Path(f"/proc/{worker}/task").iterdir()]
            if len(tasks) > 1:
                lines = (path.read_text().splitlines() for path in tasks)
                return [dict(line.split(":\t", 1) for line in each if ":\t" in line) for each in lines]
        return None

    async with opened_pool(forks=forks) as pool:
        running = asyncio.create_task(pool.run(measure(endless)))
        try:
            for status in await asyncio.to_thread(until, look) or []:
                assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "1")
        finally:
            running.cancel()
            await asyncio.wait({running})


async def test_a_file_that_became_a_link_after_it_was_checked_is_not_read(song: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.wav"
    song.rename(secret)
    song.symlink_to(secret)
    async with opened_pool() as pool:
        with pytest.raises(SourceNotAllowed, match=r"song\.wav was moved behind a link"):
            await pool.run(measure(song))
        folder = tmp_path / "Elsewhere"
        song.unlink()
        song.parent.rename(folder)
        song.parent.symlink_to(folder)
        secret.rename(folder / "song.wav")
        with pytest.raises(SourceNotAllowed, match=r"song\.wav was moved behind a link"):
            await pool.run(measure(song))
    async with opened_pool(folders=(song.parent,)) as linked:  # resolved at start: the person's own link
        assert (await linked.run(measure(song))).seconds == 3.0


async def test_a_pipe_in_the_place_of_a_file_holds_nobody_up(song: Path) -> None:
    song.unlink()
    os.mkfifo(song)
    async with opened_pool() as pool:
        with pytest.raises(SourceUnreachable, match=r"song\.wav cannot be read: it is not a regular file"):
            await pool.run(measure(song))


@ways
async def test_errors_call_a_file_what_the_person_calls_it(tmp_path: Path, *, forks: bool) -> None:
    path = tmp_path / "Für Élise (live).wav"
    path.write_text("no sound")
    async with opened_pool(forks=forks) as pool:
        with pytest.raises(UnsupportedAudio, match=r"^Für Élise \(live\)\.wav is a text file, not audio"):
            await pool.run(measure(path))


@ways
async def test_of_many_files_those_that_can_be_opened_are_read(
    make_song: MakeSong, tmp_path: Path, *, forks: bool
) -> None:
    songs = [make_song(f"{each}.wav", seconds=each + 1) for each in range(23)]
    songs.insert(7, tmp_path / "gone.wav")
    async with opened_pool(forks=forks) as pool:
        found = await pool.run(ProbeMany(paths=tuple(songs), within_seconds=60))
    assert found.seconds == (*map(float, range(1, 8)), None, *map(float, range(8, 24)))


def test_what_a_worker_is_told_of_the_servers_environment_is_on_a_list(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in (
        "RUNCOMFY_API_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "GITHUB_TOKEN",
        "HTTPS_PROXY",
        "SSH_AUTH_SOCK",
        "X",
    ):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    passed_on = worker_environment()
    assert "secret" not in passed_on.values()
    assert passed_on["LC_ALL"] == "C.UTF-8"
    assert passed_on["PATH"] == os.environ["PATH"]


@pytest.mark.skipif(sys.platform != "linux", reason="prctl")
def test_a_shielded_process_shows_its_memory_to_nobody_and_leaves_no_core() -> None:
    program = (
        "import ctypes, resource; from outpaint_mcp.workers.cage import shield_process; shield_process();"
        "print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), *resource.getrlimit(resource.RLIMIT_CORE))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    dumpable, soft, hard = map(int, done.stdout.split())
    assert dumpable == 0
    assert max(soft, hard) <= 1


async def test_what_the_system_lacks_for_the_cage_is_logged_once(
    song: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cage, "lacking", lambda: ["Landlock"])
    async with opened_pool() as pool:
        for _ in range(2):
            await pool.run(measure(song))
    assert caplog.text.count("not fully confined: this system lacks Landlock.") == 1


@pytest.mark.parametrize(("version", "seccomp"), [(0, True), (2, True), (7, False), (0, False)])
def test_what_the_system_lacks_is_known_by_name(
    monkeypatch: pytest.MonkeyPatch, version: int, *, seccomp: bool
) -> None:
    monkeypatch.setattr(cage, "_IS_LINUX", True)
    monkeypatch.setattr(cage, "_landlock_version", lambda: version)
    monkeypatch.setattr(cage, "_has_seccomp", lambda: seccomp)
    lacking = " ".join(cage.lacking())
    assert ("Landlock" in lacking) == (version < 3)
    assert ("seccomp" in lacking) == (not seccomp)


def test_no_order_reads_more_files_than_can_be_handed_over() -> None:
    from outpaint_mcp.workers.probing import _FILES_PER_ORDER  # noqa: PLC0415

    assert _FILES_PER_ORDER < inputs.MAX_INPUTS
