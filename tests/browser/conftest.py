"""A bare host of MCP Apps in Debian's Chromium, with the real server behind it."""

from __future__ import annotations

import json
import shutil
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

import numpy as np
import pytest
import soundfile
from anyio.from_thread import start_blocking_portal
from mcp.client import Client
from tests.e2e.over_http import http_server
from tests.waiting import PATIENCE_SECONDS

from outpaint_mcp.server.player import URI

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from anyio.from_thread import BlockingPortal
    from playwright.sync_api import Browser, Frame, Page

HERE = Path(__file__).parent
CHROMIUM = shutil.which("chromium")
CSP = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data:; media-src 'self' data:; connect-src 'none'"
)
"""What the specification has hosts apply to a page that asks for nothing."""
_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
_FLAGS += ["--disable-background-networking", "--disable-component-update"]
PATIENCE_MS = PATIENCE_SECONDS * 1000
_LOOK_MS = 50
_RATE = 44_100


class Mcp:
    """A client of a real server over HTTP.

    Attributes:
        url: where the server is.
    """

    def __init__(self, portal: BlockingPortal, client: Client, url: str) -> None:
        self._portal = portal
        self._client = client
        self.url = url

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        """Call a tool; return its answer as a host passes it on."""
        answer = self._portal.call(self._client.call_tool, tool, arguments)
        shown: dict[str, Any] = answer.model_dump(mode="json", by_alias=True, exclude_none=True)
        return shown

    def read(self, uri: str) -> dict[str, Any]:
        """Read a resource; return the answer as a host passes it on."""
        answer = self._portal.call(self._client.read_resource, uri)
        shown: dict[str, Any] = answer.model_dump(mode="json", by_alias=True, exclude_none=True)
        return shown

    def extend(self, audio: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        """Extend a recording; return the last answer."""
        submission = self.call("submit_outpaint", audio=audio, tags="", **arguments)["structuredContent"]
        while True:
            answer = self.call("get_outpaint_result", request_id=submission["request_id"], wait_seconds=45)
            if answer["structuredContent"]["status"] not in {"in_queue", "in_progress"}:
                return answer


@dataclass(slots=True)
class Shown:
    """The player in its host.

    Attributes:
        page: the host's page.
        frame: the player.
        errors: what went wrong in either, by the browser's own words.
        requests: the URLs that the player loaded, itself among them.
    """

    page: Page
    frame: Frame
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def asked(self, method: str) -> list[dict[str, Any]]:
        """Return the parameters of all messages of this method that the player has sent."""
        sent: list[dict[str, Any]] = self.page.evaluate("asked")
        return [each.get("params", {}) for each in sent if each.get("method") == method]

    def text(self, selector: str) -> str:
        """Return what stands there."""
        return str(self.frame.locator(selector).inner_text())

    def until(self, expression: str) -> None:
        """Wait until an expression is true in the player's page; its policy forbids to wait there."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self.frame.evaluate(expression):
            assert time.monotonic() < deadline, expression
            self.page.wait_for_timeout(_LOOK_MS)

    def play_for(self, seconds: float) -> None:
        """Let it play, by the clock of the sound."""
        self.until("soundClock() !== null")
        since: float = self.frame.evaluate("soundClock()")
        self.until(f"soundClock() > {since + seconds}")


class Show(Protocol):
    """Shows the player: to a result, in a host that can do this and that."""

    def __call__(
        self,
        result: dict[str, Any] | None,
        *,
        can: dict[str, Any] = ...,
        theme: str = ...,
        width: int = ...,
        reads: Callable[[str, dict[str, Any]], None] = ...,
    ) -> AbstractContextManager[Shown]: ...


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, one for all tests."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=_FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="session")
def mcp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mcp]:
    """A server with a song of 24 seconds, and its client."""
    folder = tmp_path_factory.mktemp("player")
    music = folder / "Music"
    music.mkdir()
    _write_song(music / "Evening walk.wav")
    environment = {
        "OUTPAINT_INPUT_DIRS": str(music),
        "OUTPAINT_OUTPUT_DIR": str(folder / "Longer"),
        "OUTPAINT_DATA_DIR": str(folder / "data"),
    }
    with (
        http_server(environment) as server,
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(Client(server.url)) as client,
    ):
        yield Mcp(portal, client, server.url)


def _write_song(path: Path) -> None:
    rng = np.random.default_rng(1)
    t = np.arange(24 * _RATE) / _RATE
    chord = sum(np.sin(2 * np.pi * hz * t) for hz in (220.0, 277.2, 329.6)) * 0.1 * (0.6 + 0.4 * np.sin(t))
    drum = rng.normal(0, 0.15, len(t)) * np.exp(-30 * (t % 0.5))
    soundfile.write(path, np.stack([chord + drum, chord + 0.8 * drum], axis=1), _RATE)


@pytest.fixture(scope="session")
def result(mcp: Mcp) -> dict[str, Any]:
    """Three takes with 10 seconds before and 12 after: the local provider makes them alike, value by value."""
    return mcp.extend("Evening walk.wav", extend_before_duration=10, extend_after_duration=12, takes=3)


@pytest.fixture
def show(browser: Browser, mcp: Mcp) -> Show:
    """See `Show`."""

    @contextmanager
    def opened(
        result: dict[str, Any] | None,
        *,
        can: dict[str, Any] | None = None,
        theme: str = "light",
        width: int = 720,
        reads: Callable[[str, dict[str, Any]], None] = lambda _uri, _read: None,
    ) -> Iterator[Shown]:
        def answer(message: str) -> str:
            asked = json.loads(message)
            match asked["method"], asked["params"]:
                case "tools/call", {"name": name, "arguments": arguments}:
                    return json.dumps(mcp.call(name, **arguments))
                case "resources/read", {"uri": uri}:
                    read = mcp.read(uri)
                    content = json.loads(read["contents"][0]["text"])
                    reads(uri, content)
                    read["contents"][0]["text"] = json.dumps(content)
                    return json.dumps(read)
            return "{}"

        settings = {
            "page": "http://page.test/",
            "can": {"serverResources": {}, "serverTools": {}, "openLinks": {}} if can is None else can,
            "context": {"theme": theme},
            "input": {},
            "result": result,
        }
        html = mcp.read(URI)["contents"][0]["text"]
        context = browser.new_context(viewport={"width": width, "height": 600})
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.add_init_script(path=HERE / "ears.js")
        page.expose_function("answerOfTest", answer)
        page.route("http://host.test/", lambda route: route.fulfill(path=HERE / "host.html"))
        page.route(
            "http://page.test/**",
            lambda route: route.fulfill(
                body=html, content_type="text/html", headers={"Content-Security-Policy": CSP}
            ),
        )
        shown = Shown(page, page.main_frame)
        page.on("pageerror", lambda error: shown.errors.append(str(error)))
        page.on("console", lambda said: shown.errors.append(said.text) if said.type == "error" else None)
        page.on("request", lambda request: shown.requests.append(request.url))
        page.goto(f"http://host.test/#{quote(json.dumps(settings))}")
        page.locator("iframe").content_frame.locator("#player").wait_for()
        (shown.frame,) = (frame for frame in page.frames if frame is not page.main_frame)
        if result is not None:
            shown.until("$('stage').hidden === false || $('state').textContent !== 'Getting the result…'")
        yield shown
        assert shown.errors == []
        context.close()

    return opened
