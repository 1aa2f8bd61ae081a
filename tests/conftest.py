"""What tests of every room share: folders of their own, short recordings, an open desk, clients of both eras."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

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
from tests.leaks import check_files, check_words

from outpaint_mcp.config import Settings
from outpaint_mcp.server.app import build_server
from outpaint_mcp.service.lifespan import open_service
from outpaint_mcp.storage.database import Database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from outpaint_mcp.service.service import OutpaintService


class MakeSong(Protocol):
    """Writes a short recording into the input folder, by name."""

    def __call__(
        self, name: str = ..., *, seconds: float = ..., sample_rate: int = ..., channels: int = ...
    ) -> Path: ...


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-snapshots", action="store_true", help="write tests/snapshots anew instead of comparing"
    )


@pytest.fixture(autouse=True)
def _no_secret_is_left_anywhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """After every test: the token is in no log, and in no file that is not audio; signatures neither."""
    caplog.set_level(logging.DEBUG, logger="outpaint_mcp")
    yield
    for phase in ("setup", "call", "teardown"):
        for record in caplog.get_records(phase):
            check_words(logging.Formatter().format(record))
    check_files(tmp_path)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """One folder to read from, one to write to, one for the journal; only the first exists."""
    music = tmp_path / "Music"
    music.mkdir()
    longer = tmp_path / "Longer"
    return Settings(input_dirs=(music, longer), output_dir=longer, data_dir=tmp_path / "data")


@pytest.fixture
def environment(settings: Settings) -> dict[str, str]:
    """The same settings as environment variables, for subprocesses of our own."""
    return {
        "OUTPAINT_INPUT_DIRS": str(settings.input_dirs[0]),
        "OUTPAINT_OUTPUT_DIR": str(settings.output_dir),
        "OUTPAINT_DATA_DIR": str(settings.data_dir),
    }


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
def database(settings: Settings) -> Iterator[Database]:
    opened = Database(settings.data_dir / "outpaint.sqlite3")
    yield opened
    opened.close()


@pytest.fixture
async def service(settings: Settings) -> AsyncIterator[OutpaintService]:
    """An open desk with the real local provider."""
    async with open_service(settings) as opened:
        yield opened


@pytest.fixture(params=["legacy", "auto"])
def era(request: pytest.FixtureRequest) -> str:
    """Both protocol eras: the old handshake, and whatever is the newest."""
    return str(request.param)


@pytest.fixture
async def client(settings: Settings, era: str) -> AsyncIterator[Client]:
    """A client with the server in the same process, once in each era."""
    async with Client(build_server(settings), mode=era) as connected:
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
