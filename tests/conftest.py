"""What tests of every room share: folders, short recordings, stores, an open service, clients of both eras."""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tests import machine  # noqa: F401 - settles what all others find
from tests.warm import around

from outpaint_mcp.workers.process import SINGLE_THREADED

# The first is read when numpy is loaded. Whoever runs the tests may have a token: none may reach the real service.
os.environ |= SINGLE_THREADED | dict.fromkeys(
    ("RUNCOMFY_API_TOKEN", "RUNCOMFY_TOKEN", "RUNCOMFY_API_KEY", "RUNCOMFY_MODEL_API_BASE"), ""
)
os.environ["RUNCOMFY_CONFIG_DIR"] = os.devnull

import numpy as np
import pytest
import soundfile
from mcp.client import Client
from tests.house import House
from tests.leaks import check_files, check_words
from tests.stores import STORES
from tests.waiting import Clock
from tests.workers import pipes_as_well

from outpaint_mcp.config import Settings
from outpaint_mcp.server.app import build_server
from outpaint_mcp.server.wording import TOOLS
from outpaint_mcp.service.lifespan import open_service
from outpaint_mcp.storage.database import Database
from outpaint_mcp.storage.store import FILE_NAME
from outpaint_mcp.workers import inputs

# What tests import from each other explains itself, too, whichever of them is collected first.
pytest.register_assert_rewrite("tests.conversations", "tests.e2e")

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator, Iterator

    from tests.stores import Stores

    from outpaint_mcp.service.service import OutpaintService
    from outpaint_mcp.storage.store import Store


class MakeSong(Protocol):
    """Writes a short recording into the input folder, by name."""

    def __call__(
        self, name: str = ..., *, seconds: float = ..., sample_rate: int = ..., channels: int = ...
    ) -> Path: ...


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-snapshots", action="store_true", help="write tests/snapshots anew instead of comparing"
    )
    parser.addoption(
        "--house", action="store_true", help="check lint, format, types and import contracts as well"
    )


def pytest_configure(config: pytest.Config) -> None:
    # Tests that are started in the background ignore Ctrl-C or a closed terminal, as would all that they start.
    for each, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(each) is signal.SIG_IGN:
            signal.signal(each, handler)
    is_worker = hasattr(config, "workerinput")
    if config.getoption("--house") and not is_worker:
        config.pluginmanager.register(House(config))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What thousands of tests consist of is never garbage: no collection has to go through it again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(autouse=True)
def _no_secret_is_left_anywhere(
    request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> Iterator[None]:
    """After every test: the token is in no log, and in no file that is not audio; signatures neither."""
    folder: Path | None = None
    if "tmp_path" in request.fixturenames:  # many tests write nothing
        folder = request.getfixturevalue("tmp_path")
    caplog.set_level(logging.DEBUG, logger="outpaint_mcp")
    yield
    for phase in ("setup", "call", "teardown"):
        for record in caplog.get_records(phase):
            check_words(logging.Formatter().format(record))
    if folder:
        check_files(folder)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """One folder to read from, one to write to, one for the journal; only the first exists."""
    music = tmp_path / "Music"
    music.mkdir()
    longer = tmp_path / "Longer"
    return Settings(
        input_dirs=(music, longer), shared_dirs=(music,), output_dir=longer, data_dir=tmp_path / "data"
    )


@pytest.fixture
def environment(settings: Settings) -> dict[str, str]:
    """The same settings as environment variables, for subprocesses of our own."""
    return {
        "OUTPAINT_INPUT_DIRS": str(settings.input_dirs[0]),
        "OUTPAINT_OUTPUT_DIR": str(settings.output_dir),
        "OUTPAINT_DATA_DIR": str(settings.data_dir),
    }


@pytest.fixture
def marked(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the workers of this process the mark by which ours are told from others, as `workers_of` does."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def endless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that nobody ever gets to read, and that is handed to workers all the same: opening it waits."""
    path = tmp_path / "endless.wav"
    os.mkfifo(path)
    monkeypatch.setattr(inputs, "open_regular", pipes_as_well)
    return path


@pytest.fixture
def make_song(settings: Settings) -> MakeSong:
    """Writes a beat at 120 bpm with a chord below it: 16-bit PCM, FLAC or MP3 by the name's suffix."""

    def make(
        name: str = "song.wav", *, seconds: float = 3.0, sample_rate: int = 16_000, channels: int = 2
    ) -> Path:
        rng = np.random.default_rng(1)
        t = np.arange(round(seconds * sample_rate)) / sample_rate
        chord = sum(np.sin(2 * np.pi * hz * t) for hz in (220.0, 277.2, 329.6)) * 0.1
        drum = rng.normal(0, 0.4, len(t)) * np.exp(-30 * (t % 0.5))
        samples = np.stack([chord + drum * (1 - 0.2 * side) for side in range(channels)], axis=1)
        path = settings.input_dirs[0] / name
        soundfile.write(path, samples, sample_rate)
        return path

    return make


@pytest.fixture
def song(make_song: MakeSong) -> Path:
    """Three seconds of stereo at 16 kHz: long enough for a beat, short enough to be extended in a moment."""
    return make_song()


@pytest.fixture
def clock() -> Clock:
    """The wall clock of the stores."""
    return Clock()


@pytest.fixture(params=[*STORES])
def stores(request: pytest.FixtureRequest, settings: Settings, clock: Clock) -> Iterator[Stores]:
    """Each kind of store in turn."""
    opened = STORES[request.param](settings.data_dir, clock)
    yield opened
    opened.close()


@pytest.fixture
def store(stores: Stores) -> Store:
    """The journal, the queue and the ledger in the data folder."""
    return stores.open()


@pytest.fixture
def elsewhere(store: Store, stores: Stores) -> Store:  # noqa: ARG001 - opened first
    """The same store as another server has it open."""
    return stores.open()


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    """The database in the data folder, for parts of the store."""
    opened = Database(settings.data_dir / FILE_NAME)
    yield opened
    opened.close()


@pytest.fixture
async def service(settings: Settings) -> AsyncIterator[OutpaintService]:
    """The service, with the real local provider."""
    async with open_service(settings, vocabulary=TOOLS, surroundings=around()) as opened:
        yield opened


@pytest.fixture(params=["legacy", "auto"])
def era(request: pytest.FixtureRequest) -> str:
    """Both protocol eras: the old handshake, and whatever is the newest."""
    return str(request.param)


@pytest.fixture
async def client(settings: Settings, era: str) -> AsyncIterator[Client]:
    """A client with the server in the same process, once in each era."""
    async with Client(build_server(settings, surroundings=around()), mode=era) as connected:
        yield connected


@pytest.fixture
def check_snapshot(request: pytest.FixtureRequest) -> Callable[[str, Any], None]:
    """Compares JSON with tests/snapshots/NAME.json, or writes it with --update-snapshots."""

    def check(name: str, value: Any) -> None:  # noqa: ANN401 - JSON
        path = Path(__file__).parent / "snapshots" / f"{name}.json"
        if request.config.getoption("--update-snapshots"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        assert json.loads(path.read_text(encoding="utf-8")) == value

    return check
