"""Signs of life: which servers are alive, and which are not."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from outpaint_mcp.errors import StorageFailed
from outpaint_mcp.jobs.liveness import Presence, scratch_of

if TYPE_CHECKING:
    from pathlib import Path


def test_a_server_is_alive_until_it_closes(tmp_path: Path) -> None:
    one, other = Presence(tmp_path / "servers"), Presence(tmp_path / "servers")
    everyone = [one.server_id, other.server_id, "4711-gone"]
    assert one.dead_among(everyone) == {"4711-gone"}
    other.close()
    assert one.dead_among(everyone) == {"4711-gone", other.server_id}
    assert one.dead_among([]) == set()
    one.close()
    assert list((tmp_path / "servers").glob("*.lock")) == []


def test_a_sign_of_life_may_be_given_in_one_thread_and_ended_in_another(tmp_path: Path) -> None:
    begun: list[Presence] = []
    thread = threading.Thread(target=lambda: begun.append(Presence(tmp_path / "servers")))
    thread.start()
    thread.join()
    (one,), other = begun, Presence(tmp_path / "servers")
    assert other.dead_among([one.server_id]) == set()
    one.close()
    assert other.dead_among([one.server_id]) == {one.server_id}
    other.close()


def test_the_signs_of_life_of_dead_servers_are_removed_by_the_next_one(tmp_path: Path) -> None:
    servers = tmp_path / "servers"
    servers.mkdir()
    (servers / "4711-gone.lock").touch()
    with_life = Presence(servers)
    assert [path.stem for path in servers.glob("*.lock")] == [with_life.server_id]
    with_life.close()


def test_a_folder_that_cannot_hold_signs_of_life_is_reported(tmp_path: Path) -> None:
    (tmp_path / "servers").write_text("in the way")
    with pytest.raises(StorageFailed, match="OUTPAINT_DATA_DIR"):
        Presence(tmp_path / "servers")


def test_what_dead_ones_left_goes_and_what_the_living_use_stays(tmp_path: Path) -> None:
    folder = tmp_path / "scratch"
    one, other = Presence(tmp_path / "servers"), Presence(tmp_path / "servers")
    for name in ("1-dead", one.server_id):
        (folder / name).mkdir(parents=True)
        (folder / name / "source").touch()
    assert scratch_of(other, folder) == folder / other.server_id
    assert [path.name for path in folder.iterdir()] == [one.server_id]
    one.close()
    scratch_of(other, folder)
    assert list(folder.iterdir()) == []
    other.close()
