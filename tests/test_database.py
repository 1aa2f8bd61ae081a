"""One SQLite file, several threads, several processes, and what a bad disk does to it."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from outpaint_mcp.errors import StorageFailed
from outpaint_mcp.results import ExportOptions
from outpaint_mcp.storage.database import _MIGRATIONS, Database
from outpaint_mcp.storage.journal import Journal
from outpaint_mcp.storage.records import Delivery

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "outpaint.sqlite3"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    opened = Database(path)
    with opened.write() as connection:
        connection.execute("CREATE TABLE notes (text TEXT NOT NULL)")
    yield opened
    opened.close()


def add(database: Database, text: str) -> None:
    with database.write() as connection:
        connection.execute("INSERT INTO notes VALUES (?)", (text,))


def notes(database: Database) -> list[str]:
    with database.read() as connection:
        return [row["text"] for row in connection.execute("SELECT text FROM notes ORDER BY rowid")]


def run_in_threads(*works: threading.Thread) -> None:
    for work in works:
        work.start()
    for work in works:
        work.join()


def test_a_missing_folder_is_made_for_its_owner_alone(path: Path) -> None:
    Database(path).close()
    assert path.parent.stat().st_mode & 0o077 == 0


def test_a_file_in_a_folder_that_others_may_read_is_its_owners_alone(path: Path) -> None:
    path.parent.mkdir(mode=0o755)
    opened = Database(path)
    with opened.write() as connection:
        connection.execute("CREATE TABLE notes (text TEXT NOT NULL)")
    for each in path.parent.glob("*.sqlite3*"):
        assert each.stat().st_mode & 0o077 == 0, each
    opened.close()


def test_what_was_written_is_there_when_the_file_is_opened_again(database: Database, path: Path) -> None:
    add(database, "kept")
    database.close()
    again = Database(path)
    assert notes(again) == ["kept"]
    again.close()


def test_a_block_that_fails_has_written_nothing(database: Database) -> None:
    def write_and_break() -> None:
        with database.write() as connection:
            connection.execute("INSERT INTO notes VALUES ('gone')")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_and_break()
    assert notes(database) == []
    add(database, "next")
    assert notes(database) == ["next"]


def test_a_statement_that_fails_says_that_the_data_folder_cannot_be_used(
    database: Database, path: Path
) -> None:
    def write_and_break() -> None:
        with database.write() as connection:
            connection.execute("INSERT INTO notes VALUES ('gone')")
            connection.execute("INSERT INTO notes VALUES (NULL)")

    with pytest.raises(StorageFailed, match="OUTPAINT_DATA_DIR") as failure:
        write_and_break()
    assert str(path.parent) in str(failure.value)
    assert notes(database) == []


def test_nobody_sees_a_block_before_its_end(database: Database, path: Path) -> None:
    other = Database(path)
    with database.write() as connection:
        connection.execute("INSERT INTO notes VALUES ('half')")
        assert notes(other) == []
    assert notes(other) == ["half"]
    other.close()


def test_two_threads_and_two_servers_write_without_losing_a_line(database: Database, path: Path) -> None:
    other = Database(path)

    def write(into: Database, name: str) -> threading.Thread:
        def lines() -> None:
            for line in range(20):
                add(into, f"{name} {line}")

        return threading.Thread(target=lines)

    run_in_threads(write(database, "a"), write(database, "b"), write(other, "c"), write(other, "d"))
    assert sorted(notes(database)) == sorted(f"{name} {line}" for name in "abcd" for line in range(20))
    other.close()


def test_many_may_open_a_new_file_at_once(path: Path) -> None:
    opened: list[Database] = []
    run_in_threads(*(threading.Thread(target=lambda: opened.append(Database(path))) for _ in range(6)))
    assert len(opened) == 6
    for each in opened:
        each.close()


def test_closing_waits_for_a_statement_that_still_runs_and_refuses_later_ones(database: Database) -> None:
    begun, closing = threading.Event(), threading.Event()
    seen: list[list[str]] = []

    def linger() -> None:
        with database.read() as connection:
            rows = connection.execute("SELECT text FROM notes")
            begun.set()
            closing.wait()
            seen.append([row["text"] for row in rows])  # a crash of the whole process, were it closed by now

    def close() -> None:
        begun.wait()
        closing.set()
        database.close()

    add(database, "read to the end")
    run_in_threads(threading.Thread(target=linger), threading.Thread(target=close))
    assert seen == [["read to the end"]]
    with pytest.raises(StorageFailed, match="stopping"):
        add(database, "late")


def test_closing_twice_is_no_mistake(database: Database) -> None:
    database.close()
    database.close()


def test_a_file_of_a_newer_version_is_left_alone(path: Path) -> None:
    Database(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 999")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StorageFailed, match="newer outpaint-mcp; upgrade"):
        Database(path)
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("not a database, but long enough to have been one" * 99)
    with pytest.raises(StorageFailed, match="OUTPAINT_DATA_DIR"):
        Database(path)


@pytest.mark.parametrize("place", ["a file/outpaint.sqlite3", "a file/below/outpaint.sqlite3", "a folder"])
def test_a_place_that_cannot_be_used_is_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "a file").touch()
    (tmp_path / "a folder").mkdir()
    with pytest.raises(StorageFailed, match="OUTPAINT_DATA_DIR"):
        Database(tmp_path / place)


def test_a_full_disk_loses_nothing_that_was_written_before(database: Database) -> None:
    add(database, "before")
    with database.read() as connection:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StorageFailed, match=r"full.*Make room"):
        add(database, "x" * 1_000_000)
    assert notes(database) == ["before"]
    with database.read() as connection:
        connection.execute("PRAGMA max_page_count = 1000000")
    add(database, "after")
    assert notes(database) == ["before", "after"]


def test_references_between_rows_are_kept(database: Database) -> None:
    with pytest.raises(StorageFailed, match="FOREIGN KEY"), database.write() as connection:
        connection.execute(
            "INSERT INTO requests (request_id, provider, status, audio, title, tags, lyrics, seed,"
            " extend_before_duration, extend_after_duration, parent_request_id, created_at, updated_at)"
            " VALUES ('op_1', 'local', 'in_queue', '', '', '', '', 0, 0, 1, 'op_0', 0, 0)"
        )


def test_a_file_of_the_version_before_is_brought_up_to_date_with_all_that_was_delivered(path: Path) -> None:
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    for script in _MIGRATIONS[:2]:
        connection.executescript(script)
    connection.execute("PRAGMA user_version = 2")
    row = {
        "provider": "local",
        "status": "completed",
        "audio": "a",
        "title": "t",
        "tags": "",
        "lyrics": "",
        "seed": -1,
        "extend_before_duration": 1.5,
        "extend_after_duration": 30,
        "created_at": 5,
        "updated_at": 6,
    }
    delivered = {
        "path": "/music/t.flac",
        "sha256": "ab",
        "size_bytes": 9,
        "duration_seconds": 40,
        "before_seconds": 1.5,
        "after_seconds": 30,
        "used_seed": 7,
        "note": "How.",
        "url": None,
        "delivered_at": 8,
    }
    for digit, of in (("1", {"note": "Price."}), ("2", {"path": "/music/p.flac"}), ("3", delivered)):
        values = row | of | {"request_id": "op_" + digit * 20}
        connection.execute(
            f"INSERT INTO requests ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})",
            list(values.values()),
        )
    connection.commit()
    connection.close()

    database = Database(path)
    journal = Journal(database)
    new, planned, old = (journal.get("op_" + digit * 20) for digit in "123")
    assert (new.deliveries, new.planned_paths, new.basis) == ({}, {}, "Price.")
    assert (planned.deliveries, planned.planned_paths) == ({}, {str(ExportOptions()): "/music/p.flac"})
    assert old.deliveries == {
        str(ExportOptions()): Delivery(
            path="/music/t.flac",
            sha256="ab",
            size_bytes=9,
            duration_seconds=40,
            before_seconds=1.5,
            after_seconds=30,
            seed=7,
            note="How.",
            delivered_at=8,
        )
    }
    assert (old.takes, old.take_of) == (1, None)
    database.close()


@pytest.mark.parametrize("table", ["jobs", "orders"])
def test_a_server_of_the_version_before_takes_no_work_that_it_would_get_wrong(
    path: Path, database: Database, table: str
) -> None:
    claim = f"UPDATE {table} SET server_id = 'old'"
    with closing(sqlite3.connect(path)) as old, pytest.raises(sqlite3.OperationalError, match="outdated"):
        old.execute(claim)
    with database.write() as connection:
        connection.execute(claim)
