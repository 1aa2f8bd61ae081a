"""The key in the data folder: nobody else can read it, and it stays the same for as long as that is so."""

from __future__ import annotations

import os
import socket
import stat
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from outpaint_mcp.cli.serving import listen
from outpaint_mcp.errors import ConfigError, StorageFailed
from outpaint_mcp.server.http.key import FILE_NAME, LINKS_FILE_NAME, load_key
from outpaint_mcp.server.http.settings import HttpSettings

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.name == "nt", reason="modes of files are POSIX")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_it_is_made_for_its_owner_only_whatever_the_umask(folder: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        key, is_new = load_key(folder)
    finally:
        os.umask(before)
    assert is_new
    assert len(key) == 43
    assert mode(folder) == 0o700
    assert mode(folder / FILE_NAME) == 0o600
    assert (folder / FILE_NAME).read_text() == f"{key}\n"


def test_it_survives_a_restart(folder: Path) -> None:
    key, _ = load_key(folder)
    assert load_key(folder) == (key, False)


def test_two_folders_have_two_keys(tmp_path: Path) -> None:
    assert load_key(tmp_path / "one") != load_key(tmp_path / "two")


def test_servers_that_start_at_once_have_one_key(folder: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        results = [each.result() for each in [threads.submit(load_key, folder) for _ in range(8)]]
    assert len({key for key, _ in results}) == 1
    assert sorted(is_new for _, is_new in results) == [False] * 7 + [True]


def test_a_folder_that_others_can_look_into_is_closed_to_them(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o755)
    load_key(folder)
    assert mode(folder) == 0o700


@pytest.mark.parametrize("others", [0o644, 0o640, 0o602, 0o660])
def test_a_key_that_others_may_have_read_or_written_is_replaced(folder: Path, others: int) -> None:
    key, _ = load_key(folder)
    (folder / FILE_NAME).chmod(others)
    fresh, is_new = load_key(folder)
    assert is_new
    assert fresh != key
    assert mode(folder / FILE_NAME) == 0o600


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root can give a file away")
def test_a_key_that_somebody_else_put_there_is_replaced(folder: Path) -> None:
    key, _ = load_key(folder)
    os.chown(folder / FILE_NAME, 65534, 65534)
    assert load_key(folder)[0] != key


@pytest.mark.parametrize("content", [b"", b"short\n", b"k" * 44, b"\xff" * 43, b"k" * 42 + b"/", b"k" * 500])
def test_what_is_no_key_is_replaced(folder: Path, content: bytes) -> None:
    folder.mkdir(mode=0o700)
    path = folder / FILE_NAME
    path.write_bytes(content)
    path.chmod(0o600)
    key, is_new = load_key(folder)
    assert is_new
    assert len(key) == 43
    assert load_key(folder) == (key, False)


def test_a_link_in_its_place_is_not_followed(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("k" * 43)
    target.chmod(0o600)
    folder.mkdir(mode=0o700)
    (folder / FILE_NAME).symlink_to(target)
    key, is_new = load_key(folder)
    assert is_new
    assert key != "k" * 43
    assert target.read_text() == "k" * 43
    assert not (folder / FILE_NAME).is_symlink()


def test_a_fifo_in_its_place_holds_nobody_up(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    os.mkfifo(folder / FILE_NAME, 0o600)
    assert load_key(folder)[1]


def test_where_none_can_be_written_nothing_is_left_and_the_folder_is_named(folder: Path) -> None:
    (folder / FILE_NAME).mkdir(parents=True)
    with pytest.raises(StorageFailed, match="data folder"):
        load_key(folder)
    assert {path.name for path in folder.iterdir()} <= {FILE_NAME, f"{FILE_NAME}.lock"}


def test_a_port_that_is_taken_may_have_cost_the_key() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ConfigError, match="delete http-key"):
        listen("127.0.0.1", taken.getsockname()[1])


def test_links_have_a_key_of_their_own(folder: Path) -> None:
    key, is_new = load_key(folder, LINKS_FILE_NAME)
    assert is_new
    assert mode(folder / LINKS_FILE_NAME) == 0o600
    assert load_key(folder, LINKS_FILE_NAME) == (key, False)
    assert load_key(folder)[0] != key


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("ab" * 32, b"\xab" * 32),
        ("q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s=", b"\xab" * 32),
        ("-_-_" * 11, b"\xfb\xff\xbf" * 11),
        ("a plain sentence of more than 32 letters", b"a plain sentence of more than 32 letters"),
        ("k" * 40, b"k" * 40),
    ],
)
def test_the_key_of_links_can_be_given_in_any_form(text: str, key: bytes) -> None:
    assert HttpSettings.from_env({"OUTPAINT_SECRET_KEY": text}).link_key == key
    assert text not in repr(HttpSettings.from_env({"OUTPAINT_SECRET_KEY": text}))


@pytest.mark.parametrize("text", ["tiny", "ab" * 15, "k" * 31])
def test_a_key_of_links_that_could_be_guessed_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ConfigError, match="OUTPAINT_SECRET_KEY is shorter than 32 bytes") as caught:
        HttpSettings.from_env({"OUTPAINT_SECRET_KEY": text})
    assert text not in str(caught.value)


def test_without_one_given_the_server_makes_it() -> None:
    assert HttpSettings.from_env({}).link_key is None
