"""Probes: whether the process lives and whether it can work, for anybody who knows the server's name, and no more."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from tests.e2e.over_http import INITIALIZE

from outpaint_mcp.server.http import signs_of_life
from outpaint_mcp.storage.store import FILE_NAME

if TYPE_CHECKING:
    from tests.over_http.conftest import Door, Serve

    from outpaint_mcp.config import Settings

pytestmark = pytest.mark.anyio

PROBES = ["/healthz", "/readyz"]
NOBODY = {"Authorization": ""}


@pytest.fixture(autouse=True)
def _looks_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signs_of_life, "_LOOK_SECONDS", 0.0)


async def probe(door: Door, path: str) -> tuple[int, str]:
    answer = await door.http.get(path, headers=NOBODY)
    return answer.status_code, answer.text


@pytest.mark.parametrize("path", PROBES)
async def test_a_server_that_works_says_so_without_a_key(serve: Serve, path: str) -> None:
    async with serve() as door:
        assert await probe(door, path) == (200, "ok\n")
        head = await door.http.head(path, headers=NOBODY)
        assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "3")
        assert head.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", PROBES)
async def test_no_other_method_other_host_or_foreign_page_is_answered(serve: Serve, path: str) -> None:
    async with serve() as door:
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            answer = await door.http.request(method, path, headers=NOBODY)
            assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
        assert (await door.http.get(path, headers={"Host": "evil.example"})).status_code == 421
        assert (await door.http.get(path, headers={"Origin": "https://evil.example"})).status_code == 403
        assert (await door.http.get(f"{path}/more", headers=NOBODY)).status_code == 404


async def test_one_whose_database_cannot_be_written_is_not_ready_and_tells_nobody_why(
    serve: Serve, settings: Settings
) -> None:
    async with serve() as door:
        assert await probe(door, "/readyz") == (200, "ok\n")
        path = settings.data_dir / FILE_NAME
        path.rename(path.with_suffix(".away"))
        assert await probe(door, "/readyz") == (503, "not ready\n")
        assert await probe(door, "/healthz") == (200, "ok\n")
        path.with_suffix(".away").rename(path)
        assert await probe(door, "/readyz") == (200, "ok\n")


async def test_one_whose_data_folder_is_none_is_not_ready(serve: Serve, settings: Settings) -> None:
    settings.data_dir.parent.mkdir(parents=True, exist_ok=True)
    settings.data_dir.write_text("in the way")
    async with serve() as door:
        assert (await probe(door, "/readyz"))[0] == 503
        assert (await probe(door, "/healthz"))[0] == 200


async def test_a_database_that_somebody_locks_is_not_waited_for(
    serve: Serve, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve() as door:
        assert (await probe(door, "/readyz"))[0] == 200
        monkeypatch.setattr(signs_of_life, "_PATIENCE_SECONDS", 0.1)
        with closing(sqlite3.connect(settings.data_dir / FILE_NAME, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert (await probe(door, "/readyz"))[0] == 503
            other.execute("ROLLBACK")


async def test_one_that_is_stopping_is_not_ready_and_takes_no_calls(serve: Serve) -> None:
    async with serve() as door:
        assert await probe(door, "/readyz") == (200, "ok\n")
        door.service.stop_waiting()
        assert await probe(door, "/readyz") == (503, "not ready\n")
        assert await probe(door, "/healthz") == (200, "ok\n")
        answer = await door.http.post("/mcp", json=INITIALIZE)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert "stopping" in answer.json()["error"]["message"]
