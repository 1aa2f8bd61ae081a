"""The page by which a person hands a remote server the file that their assistant has only a name of."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

import httpx
import pytest
from tests.browser.conftest import PATIENCE_MS
from tests.e2e.over_http import INITIALIZE, http_server
from tests.waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser
    from tests.conftest import MakeSong

pytestmark = pytest.mark.browser

KEY = "a-key-of-nobody-else"
ELSEWHERE = "/home/ann/Music/walk.wav"


def submitted(url: str) -> str:
    """Submit a file by its path on the caller's machine; return the answer."""
    headers = {"Accept": "application/json, text/event-stream", "Authorization": f"Bearer {KEY}"}
    with httpx.Client(headers=headers, timeout=PATIENCE_SECONDS) as http:
        session = http.post(url, json=INITIALIZE).headers["Mcp-Session-Id"]
        call = {"name": "submit_outpaint", "arguments": {"audio": ELSEWHERE, "tags": "", "dry_run": True}}
        message = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call}
        return http.post(url, json=message, headers={"Mcp-Session-Id": session}).text


def test_a_file_that_is_dropped_is_found_by_its_name(
    browser: Browser, environment: dict[str, str], make_song: MakeSong, tmp_path: Path
) -> None:
    song = make_song().rename(tmp_path / "walk.wav")
    keys = {"OUTPAINT_API_KEYS": f"ann={hashlib.sha256(KEY.encode()).hexdigest()}"}
    with http_server(environment | keys) as server:
        link = re.search(r"http://[^\s\"\\]+/drop/[\w.-]+", submitted(server.address))
        assert link
        page = browser.new_page(viewport={"width": 320, "height": 600})
        page.set_default_timeout(PATIENCE_MS)
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(link[0])
        assert page.evaluate("document.documentElement.scrollWidth") == 320
        page.locator("input[type=file]").set_input_files(song)
        page.get_by_text("walk.wav is there. Go back to the chat and say so.").wait_for()
        page.reload()
        assert not page.locator("input[type=file]").is_visible()
        page.close()
        assert errors == []
        assert "expected_duration_seconds" in submitted(server.address)
