"""A journal that is deleted, moved or replaced under a running server: nothing is sent, and what was is in the log."""

from __future__ import annotations

import shutil
import sqlite3
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from tests.waiting import until

from outpaint_mcp.errors import StorageFailed
from outpaint_mcp.models import Status

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.hosting import House

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "win32", reason="there, what is open cannot be taken away"),
]


def move_the_folder(data_dir: Path) -> None:
    data_dir.rename(data_dir.with_name("away"))


def delete_the_folder(data_dir: Path) -> None:
    """Moved first: the server writes in it meanwhile, and a folder that fills again cannot be removed."""
    shutil.rmtree(data_dir.rename(data_dir.with_name("deleted")))


def delete_the_files(data_dir: Path) -> None:
    for each in data_dir.glob("outpaint.sqlite3*"):
        each.unlink()


def restore_a_copy(data_dir: Path) -> None:
    copy = data_dir / "copy"
    with (
        closing(sqlite3.connect(data_dir / "outpaint.sqlite3")) as source,
        closing(sqlite3.connect(copy)) as other,
    ):
        source.backup(other)
    copy.replace(data_dir / "outpaint.sqlite3")


RUINS = (move_the_folder, delete_the_folder, delete_the_files, restore_a_copy)


@pytest.mark.parametrize("ruin", RUINS)
async def test_a_new_request_is_refused_and_nothing_is_sent(
    house: House, song: Path, ruin: Callable[[Path], None]
) -> None:
    ruin(house.settings.data_dir)
    with pytest.raises(StorageFailed, match="Nothing is started or sent") as failure:
        await house.submit(song)
    assert "restart this server" in str(failure.value)
    assert house.fake.count("submit") == 0


@pytest.mark.parametrize("ruin", RUINS)
async def test_what_was_not_sent_yet_is_not_sent(
    house: House, song: Path, ruin: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    house.fake.on("model", lambda _: ruin(house.settings.data_dir))
    with pytest.raises((StorageFailed, TimeoutError)):
        await submit_within_a_moment(house, song)
    await until(lambda: "cannot be written until this is fixed" in caplog.text)
    assert house.fake.count("submit") == 0


async def submit_within_a_moment(house: House, song: Path) -> None:
    house.service._submitter._accept_seconds = 0.5
    submission = await house.submit(song)
    assert submission.request_id
    assert "has not accepted it yet" in submission.message
    raise TimeoutError


@pytest.mark.parametrize("ruin", RUINS)
async def test_what_was_accepted_meanwhile_is_told_with_its_id_and_is_in_the_log(
    house: House, song: Path, ruin: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    house.fake.on("submit_accepted", lambda _: ruin(house.settings.data_dir))
    house.service._submitter._accept_seconds = 0.5
    submission = await house.submit(song)
    assert submission.request_id.startswith("op_")
    assert "has not accepted it yet" in submission.message
    await until(lambda: bool(house.jobs()))  # half a second may not have been enough for that
    (job,) = house.jobs()
    known = f"{submission.request_id} (the service's request {job.request_id}) cannot be written until this is fixed"
    await until(lambda: known in caplog.text)
    assert "deleted, moved or replaced" in caplog.text
    if ruin is move_the_folder:
        house.settings.data_dir.with_name("away").rename(house.settings.data_dir)
        assert (await house.result(submission.request_id)).status is Status.COMPLETED
    assert house.fake.count("submit") == 1
