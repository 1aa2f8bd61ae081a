"""The player in the app view of the MCP Inspector, which `make interop` installs."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import httpx
import pytest
from tests.browser.conftest import HERE, PATIENCE_MS, Shown
from tests.e2e.processes import until
from tests.interop.clients import CLIENTS
from tests.interop.installing import CACHE, install
from tests.waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser
    from tests.browser.conftest import Mcp

pytestmark = pytest.mark.browser

TOKEN = "of-this-test"
PROGRAM = "node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js"


@pytest.fixture
def inspector(tmp_path: Path) -> Iterator[str]:
    """The Inspector's web interface, by its URL."""
    (client,) = (each for each in CLIENTS if each.folder == "inspector")
    if not (CACHE / client.folder / PROGRAM).exists():
        pytest.skip("the MCP Inspector is not installed; `make interop` does it")
    node, folder = install(client)[-2:]
    port, sandbox_port = free_ports(2)
    environment = {
        "HOME": str(tmp_path),
        "HOST": "127.0.0.1",
        "CLIENT_PORT": str(port),
        "MCP_SANDBOX_PORT": str(sandbox_port),
        "MCP_AUTO_OPEN_ENABLED": "false",
        "MCP_INSPECTOR_API_TOKEN": TOKEN,
        "MCP_INSPECTOR_SECRET_STORE": "memory",
        "MCP_STORAGE_DIR": str(tmp_path / "storage"),
    }
    address = f"http://127.0.0.1:{port}/"
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [node, f"{folder}/{PROGRAM}", "--web"],
            cwd=tmp_path,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        until(lambda: answers(process, address, tmp_path / "log"))
        yield address
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def answers(process: subprocess.Popen[bytes], address: str, log: Path) -> bool:
    """Whether it listens."""
    assert process.poll() is None, log.read_text("utf-8")
    try:
        return httpx.get(address).is_success
    except httpx.ConnectError:
        return False


@contextmanager
def opened(browser: Browser, inspector: str, mcp: Mcp, request_id: str) -> Iterator[Shown]:
    """Open the player as a person does who was sent a link to it."""
    arguments = base64.urlsafe_b64encode(json.dumps({"request_id": request_id}).encode()).decode()
    query = {
        "serverUrl": mcp.url,
        "transport": "http",
        "autoConnect": TOKEN,
        "openApp": "get_outpaint_result",
        "appArgs": arguments.rstrip("="),
    }
    page = browser.new_page(viewport={"width": 1400, "height": 950}, color_scheme="light")
    page.set_default_timeout(PATIENCE_MS)
    page.add_init_script(path=HERE / "ears.js")
    page.route("https://fonts.googleapis.com/**", lambda route: route.fulfill(content_type="text/css"))
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    page.goto(f"{inspector}?{urlencode(query)}")
    page.get_by_role("button", name="Open App").click()
    page.frame_locator("iframe").frame_locator("iframe").locator("#stage").wait_for()
    yield Shown(page, page.frames[-1], errors)
    assert errors == []
    page.close()


def test_it_plays_takes_the_keyboard_and_wears_the_inspectors_colours(
    browser: Browser, inspector: str, mcp: Mcp, result: dict[str, Any]
) -> None:
    with opened(browser, inspector, mcp, result["structuredContent"]["request_id"]) as shown:
        assert shown.frame.evaluate("$('player').offsetHeight <= innerHeight")
        shown.frame.get_by_role("button", name="Seam 0:10").click()
        shown.until("$('now').textContent > '0:07.6' && $('now').textContent < '0:20'")
        shown.frame.get_by_label("Take 2").click()
        shown.play_for(0.3)
        shown.page.keyboard.press("s")
        assert shown.frame.get_by_label("Source").is_checked()
        shown.frame.locator("#wave").focus()
        shown.page.keyboard.press("3")
        assert shown.frame.get_by_label("Take 3").is_checked()
        shown.page.keyboard.press("]")
        shown.until("$('now').textContent > '0:31.6'")
        loudest = "rendered(soundClock() - 0.1, soundClock(), 44100).then((heard) => Math.max(...heard))"
        assert shown.frame.evaluate(loudest) > 0.05
        shown.page.keyboard.press(" ")
        assert shown.frame.locator("#play").get_attribute("aria-label") == "Play"

        ground = "getComputedStyle(document.body).backgroundColor"
        assert shown.frame.evaluate(ground) == "rgb(255, 255, 255)"
        shown.page.get_by_role("button", name="Toggle color scheme").click()
        shown.until("getComputedStyle($('player')).colorScheme === 'dark'")
        assert shown.frame.evaluate(ground) != "rgb(255, 255, 255)"
