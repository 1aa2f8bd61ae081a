"""What end-to-end tests share: real server processes that are gone when the test is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.e2e.rpc import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def start_server(environment: dict[str, str]) -> Iterator[Callable[..., Server]]:
    """Starts servers on the test's folders; takes what `Server` takes, and more variables as `env`."""
    started: list[Server] = []

    def start(*, env: dict[str, str] | None = None, **options: Any) -> Server:  # noqa: ANN401 - passed on
        server = Server(environment | (env or {}), **options)
        started.append(server)
        return server

    yield start
    for server in started:
        server.kill()


@pytest.fixture(scope="session")
def _shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("shared")
    environment = {
        "OUTPAINT_INPUT_DIRS": str(tmp_path_factory.getbasetemp()),  # every test's own folder is in it
        "OUTPAINT_OUTPUT_DIR": str(folder / "Longer"),
        "OUTPAINT_DATA_DIR": str(folder / "data"),
    }
    with Server(environment) as server:
        yield server
        assert server.end() == 0


@pytest.fixture
def server(_shared: Server) -> Iterator[Server]:
    """A server that other tests use before and after: starting one is most of what a short test costs."""
    _shared.notifications.clear()
    yield _shared
    assert _shared.noise == []
