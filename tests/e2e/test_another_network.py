"""A client on another network: it sends a track, has it extended, is cut off, comes back and downloads the result."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import soundfile
from tests.e2e.over_http import http_server, key_entries
from tests.e2e.rpc import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import MakeSong

KEY = "opk_" + 43 * "n"
# Of the networks that are for tests of devices (RFC 2544): nobody routes them.
SERVER, CLIENT, BITS = "198.18.213.1", "198.18.213.2", 30


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=PATIENCE_SECONDS)


def obstacle() -> str:
    """What keeps this machine from having another network; empty for nothing."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "only root can make a network namespace"
    if shutil.which("ip") is None:
        return "there is no `ip` (iproute2)"
    name = f"outpaint-{os.getpid()}"
    try:
        ip("netns", "add", name)
        ip("netns", "del", name)
    except (OSError, subprocess.SubprocessError) as exc:
        return f"no network namespace can be made here: {getattr(exc, 'stderr', None) or exc}"
    return ""


@dataclass(frozen=True, slots=True)
class Network:
    """Another network, and the one cable to it."""

    name: str
    cable: str

    def cut(self) -> None:
        """Pull the cable out."""
        ip("link", "set", self.cable, "down")

    def mend(self) -> None:
        """Put it in again."""
        ip("link", "set", self.cable, "up")

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start the client there."""
        return subprocess.Popen(
            ["ip", "netns", "exec", self.name, sys.executable, "-m", "tests.e2e.elsewhere", *words],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def network() -> Iterator[Network]:
    """A network with the client's address, whose cable ends at the server's."""
    if why_not := obstacle():
        pytest.skip(why_not)
    here, there = f"op{os.getpid()}a", f"op{os.getpid()}b"
    made = Network(f"outpaint-{os.getpid()}", here)
    ip("netns", "add", made.name)
    try:
        ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", made.name)
        ip("address", "add", f"{SERVER}/{BITS}", "dev", here)
        ip("-netns", made.name, "address", "add", f"{CLIENT}/{BITS}", "dev", there)
        ip("-netns", made.name, "link", "set", there, "up")
        made.mend()
        yield made
    finally:
        ip("netns", "del", made.name)  # and with it both ends of the cable


@contextmanager
def ended(client: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """A client that is gone at the end."""
    try:
        with client:
            try:
                yield client
            finally:
                client.kill()
    finally:
        client.wait(PATIENCE_SECONDS)


def free_port() -> int:
    with socket.socket() as reserved:
        reserved.bind((SERVER, 0))
        return int(reserved.getsockname()[1])


def test_a_client_that_is_cut_off_comes_back_and_downloads_its_result(
    network: Network, make_song: MakeSong, environment: dict[str, str], tmp_path: Path
) -> None:
    track = tmp_path / "Their Track.wav"
    make_song(seconds=20).rename(track)
    environment |= {"OUTPAINT_API_KEYS": key_entries(anna=KEY)}
    port = free_port()
    origin = f"http://{SERVER}:{port}"
    where = ("--host", SERVER, "--port", str(port), "--allow-host", SERVER, "--allow-origin", origin)
    with http_server(environment, *where) as server:
        with ended(network.start("send", origin, KEY, str(track))) as client:
            assert client.stdout is not None
            request_id = client.stdout.readline().strip()
            assert request_id, client.communicate(timeout=PATIENCE_SECONDS)
            network.cut()
            client.kill()  # while it waits: nothing that it says reaches the server any more
        network.mend()
        fetched = tmp_path / "fetched.wav"
        with ended(network.start("fetch", origin, KEY, str(fetched))) as client:
            words, errors = client.communicate(timeout=PATIENCE_SECONDS)
        assert (words.strip(), client.returncode) == (request_id, 0), errors
        assert server.process.poll() is None
    samples, rate = soundfile.read(fetched)
    assert (len(samples), rate) == (40 * 16_000, 16_000)
    source, _ = soundfile.read(track)
    assert (samples[: len(source) // 2] == source[: len(source) // 2]).all()
    assert KEY not in server.words_at_the_end
