"""One SQLite file, several threads, several processes, and what a bad disk does to it."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import sys
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock

from outpaint_mcp.errors import OutpaintError, ServerStopping, StorageFailed
from outpaint_mcp.storage.database import Database
from outpaint_mcp.storage.failures import storage_errors
from outpaint_mcp.storage.schema import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "outpaint.sqlite3"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    opened = Database(path)
    with opened.write("schema") as connection:
        connection.execute("CREATE TABLE notes (text TEXT NOT NULL)")
    yield opened
    opened.close()


def add(database: Database, text: str) -> None:
    with database.write("notes") as connection:
        connection.execute("INSERT INTO notes VALUES (?)", (text,))


def notes(database: Database) -> list[str]:
    with database.read() as connection:
        return [row["text"] for row in connection.execute("SELECT text FROM notes ORDER BY rowid")]


def run_in_threads(*works: threading.Thread) -> None:
    for work in works:
        work.start()
    for work in works:
        work.join()


def test_a_missing_folder_is_created_for_its_owner_alone(path: Path) -> None:
    Database(path).close()
    assert path.parent.stat().st_mode & 0o077 == 0


def test_a_file_in_a_folder_that_others_may_read_is_its_owners_alone(path: Path) -> None:
    path.parent.mkdir(mode=0o755)
    opened = Database(path)
    add_table(opened)
    for each in path.parent.glob("*.sqlite3*"):
        assert each.stat().st_mode & 0o077 == 0, each
    opened.close()


def add_table(database: Database) -> None:
    with database.write("schema") as connection:
        connection.execute("CREATE TABLE notes (text TEXT NOT NULL)")


def test_what_was_written_is_there_when_the_file_is_opened_again(database: Database, path: Path) -> None:
    add(database, "there")
    database.close()
    again = Database(path)
    assert notes(again) == ["there"]
    again.close()


def test_a_block_that_fails_has_written_nothing(database: Database) -> None:
    def write_and_break() -> None:
        with database.write("notes") as connection:
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
        with database.write("notes") as connection:
            connection.execute("INSERT INTO notes VALUES ('gone')")
            connection.execute("INSERT INTO notes VALUES (NULL)")

    with pytest.raises(StorageFailed, match="OUTPAINT_DATA_DIR") as failure:
        write_and_break()
    assert str(path.parent) in str(failure.value)
    assert failure.value.path == str(path.parent)
    assert notes(database) == []


def test_nobody_sees_a_block_before_its_end(database: Database, path: Path) -> None:
    other = Database(path)
    with database.write("notes") as connection:
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
    begun, closing_begins = threading.Event(), threading.Event()
    found: list[list[str]] = []

    def linger() -> None:
        with database.read() as connection:
            rows = connection.execute("SELECT text FROM notes")
            begun.set()
            closing_begins.wait()
            found.append([row["text"] for row in rows])  # a crash of the whole process, were it closed by now

    def close() -> None:
        begun.wait()
        closing_begins.set()
        database.close()

    add(database, "read to the end")
    run_in_threads(threading.Thread(target=linger), threading.Thread(target=close))
    assert found == [["read to the end"]]


def test_a_database_that_was_closed_says_that_the_server_stops_and_not_that_the_disk_is_at_fault(
    database: Database,
) -> None:
    database.close()
    for use in (lambda: add(database, "late"), lambda: notes(database)):
        with pytest.raises(ServerStopping, match="stopping") as failure:
            use()
        assert not isinstance(failure.value, StorageFailed)
        assert "space" not in str(failure.value)


def test_closing_twice_is_no_mistake(database: Database) -> None:
    database.close()
    database.close()


@pytest.mark.parametrize("version", [VERSION + 1, 999, -1])
def test_a_file_of_another_version_is_left_alone(path: Path, version: int) -> None:
    Database(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = path.read_bytes()
    with pytest.raises(StorageFailed, match="Upgrade this one") as failure:
        Database(path)
    assert failure.value.path == str(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("version", range(1, VERSION))
def test_a_file_of_an_unreleased_version_is_set_aside_once(path: Path, version: int) -> None:
    def write_old_file() -> None:
        path.unlink(missing_ok=True)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE notes (text TEXT NOT NULL)")
            connection.execute(f"PRAGMA user_version = {version}")

    path.parent.mkdir()
    write_old_file()
    old = path.read_bytes()
    Database(path).close()
    kept = path.with_name(f"outpaint-unreleased-{version}.sqlite3")
    assert kept.read_bytes() == old
    Database(path).close()

    write_old_file()
    with pytest.raises(StorageFailed, match="move one of them away") as failure:
        Database(path)
    assert "space" not in str(failure.value)
    assert failure.value.path == str(path)
    assert kept.read_bytes() == old
    assert path.read_bytes() == old


RUINS = {
    "text": b"not a database, but long enough to have been one" * 99,
    "zeroed": bytes(8192),
    "emptied": b"",
    "a few bytes": b"SQLite",
}


@pytest.mark.parametrize("content", RUINS.values(), ids=RUINS)
def test_a_file_that_is_no_database_any_more_is_called_damaged_copied_once_and_left_alone(
    path: Path, content: bytes
) -> None:
    Database(path).close()
    path.write_bytes(content)
    log = path.with_name(path.name + "-wal")
    log.write_bytes(b"what was written last")
    for _ in range(2):
        with pytest.raises(StorageFailed, match="is damaged") as failure:
            Database(path)
        assert failure.value.path == str(path)
        (copy,) = path.parent.glob("outpaint-damaged-*.sqlite3")
        assert str(copy) in str(failure.value)
        assert "Put a backup in its place" in str(failure.value)
        assert "space" not in str(failure.value)
        assert "permissions" not in str(failure.value)
        assert copy.read_bytes() == path.read_bytes() == content
        assert copy.with_name(copy.name + "-wal").read_bytes() == log.read_bytes() == b"what was written last"
        assert copy.stat().st_mode & 0o077 == 0
    path.unlink()
    Database(path).close()  # moved away: this is how one begins anew
    assert copy.read_bytes() == content


def test_a_file_that_is_damaged_further_on_is_copied_and_used_no_more(database: Database, path: Path) -> None:
    for _ in range(40):
        add(database, "x" * 4000)
    database.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    ruin = path.read_bytes()
    words = _refusal_of(lambda: Database(path))
    assert "is damaged" in words
    (copy,) = path.parent.glob("outpaint-damaged-*.sqlite3")
    assert copy.read_bytes() == ruin
    assert str(copy) in words


def test_what_turns_out_to_be_damaged_while_it_is_open_is_not_written_to_any_more(
    database: Database, path: Path
) -> None:
    other = Database(path)
    with pytest.raises(StorageFailed, match="is damaged"), database.write("notes"):
        raise _corrupt()
    for use in (lambda: notes(database), lambda: add(database, "late")):
        assert "is damaged" in _refusal_of(use)
    assert notes(other) == []
    other.close()


def _corrupt() -> sqlite3.DatabaseError:
    """Return the error that SQLite itself raises."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE t (x)")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_schema SET rootpage = 99")
        connection.execute("PRAGMA writable_schema = RESET")
        with pytest.raises(sqlite3.DatabaseError) as raised:
            connection.execute("SELECT * FROM t").fetchall()
    return raised.value


def _refusal_of(use: Callable[[], object]) -> str:
    with pytest.raises(StorageFailed) as failure:
        use()
    return str(failure.value)


def _delete_the_folder(path: Path) -> None:
    shutil.rmtree(path.parent)


def _delete_the_files(path: Path) -> None:
    for each in path.parent.glob(f"{path.name}*"):
        each.unlink()


def _delete_the_log(path: Path) -> None:
    path.with_name(path.name + "-wal").unlink()


def _rename_the_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_name("away"))


def _replace_it_by_a_copy(path: Path) -> None:
    copy = path.with_name("copy")
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    copy.replace(path)


def _replace_the_folder_by_a_copy(path: Path) -> None:
    _rename_the_folder(path)
    shutil.copytree(path.parent.with_name("away"), path.parent)


def _replace_it_by_a_link_to_a_copy(path: Path) -> None:
    copy = path.with_name("copy")
    shutil.copyfile(path, copy)
    path.unlink()
    path.symlink_to(copy)


def _empty_it(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate()


@pytest.mark.skipif(sys.platform == "win32", reason="there, what is open cannot be taken away")
@pytest.mark.parametrize(
    ("ruin", "words"),
    [
        (_delete_the_folder, "deleted, moved or replaced"),
        (_delete_the_files, "deleted, moved or replaced"),
        (_delete_the_log, "deleted, moved or replaced"),
        (_rename_the_folder, "deleted, moved or replaced"),
        (_replace_it_by_a_copy, "deleted, moved or replaced"),
        (_replace_the_folder_by_a_copy, "deleted, moved or replaced"),
        (_replace_it_by_a_link_to_a_copy, "deleted, moved or replaced"),
        (_empty_it, "is damaged: it was emptied"),
    ],
)
def test_a_file_that_is_taken_away_while_it_is_open_is_neither_written_nor_read_any_more(
    database: Database, path: Path, ruin: Callable[[Path], None], words: str
) -> None:
    add(database, "before")
    ruin(path)
    there = path.exists()
    failures: list[str] = []

    def use_in_another_thread() -> None:
        failures.append(_refusal_of(lambda: add(database, "from a new connection")))

    failures += [_refusal_of(lambda: add(database, "late")), _refusal_of(lambda: notes(database))]
    run_in_threads(threading.Thread(target=use_in_another_thread))
    assert len(failures) == 3
    assert all(words in each and "Nothing is started or sent" in each for each in failures), failures
    assert all("restart this server" in each for each in failures)
    assert path.exists() == there  # no new one is begun in its place


@pytest.mark.skipif(sys.platform == "win32", reason="there, what is open cannot be taken away")
def test_a_folder_that_is_put_back_is_used_as_before(database: Database, path: Path) -> None:
    _rename_the_folder(path)
    assert "Put it back" in _refusal_of(lambda: add(database, "late"))
    path.parent.with_name("away").rename(path.parent)
    add(database, "after")
    assert notes(database) == ["after"]


@pytest.mark.skipif(sys.platform == "win32", reason="there, what is open cannot be taken away")
def test_what_is_written_while_the_file_is_taken_away_is_not_called_written(
    database: Database, path: Path
) -> None:
    def write_while_it_is_moved() -> None:
        with database.write("notes") as connection:
            connection.execute("INSERT INTO notes VALUES ('half')")
            _rename_the_folder(path)

    assert "moved" in _refusal_of(write_while_it_is_moved)


def test_the_log_of_a_file_that_is_gone_is_not_read_into_a_new_one(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.mkdir()
    log = path.with_name(path.name + "-wal")
    log.write_bytes(b"of another file")
    Database(path).close()
    (left,) = path.parent.glob("*-left-*")
    assert left.read_bytes() == b"of another file"
    assert str(left) in caplog.text


def test_a_new_file_that_was_never_finished_is_begun_anew(path: Path) -> None:
    path.parent.mkdir()
    path.with_name(path.name + ".new").write_bytes(b"half")
    opened = Database(path)
    add_table(opened)
    opened.close()
    assert sorted(each.name for each in path.parent.iterdir()) == ["outpaint.lock", "outpaint.sqlite3"]


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
    with pytest.raises(StorageFailed, match=r"full.*Free some space"):
        add(database, "x" * 1_000_000)
    assert notes(database) == ["before"]
    with database.read() as connection:
        connection.execute("PRAGMA max_page_count = 1000000")
    add(database, "after")
    assert notes(database) == ["before", "after"]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up on a lock soon rather than after ten seconds."""
    monkeypatch.setattr("outpaint_mcp.storage.database._BUSY_TIMEOUT_SECONDS", 0.1)
    monkeypatch.setattr("outpaint_mcp.storage.database._IMPATIENT_SECONDS", 0.01)


def _while_another_writes(path: Path) -> OutpaintError:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        database = Database(path)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageFailed) as failure:
            add(database, "too late")
        other.execute("ROLLBACK")
        database.close()
    return failure.value


def _while_another_opens_it(path: Path) -> OutpaintError:
    with FileLock(path.with_suffix(".lock")), pytest.raises(StorageFailed) as failure:
        Database(path)
    return failure.value


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("block", [_while_another_writes, _while_another_opens_it])
def test_a_lock_that_another_process_holds_is_not_taken_for_a_full_disk(
    database: Database, path: Path, block: Callable[[Path], OutpaintError]
) -> None:
    database.close()
    text = str(block(path))
    assert "Another process is using it" in text
    assert "Try again in a moment" in text
    assert "space" not in text
    assert "permissions" not in text


@pytest.mark.usefixtures("impatient")
def test_a_file_that_stays_locked_is_waited_for_once_and_not_by_one_after_the_other(
    database: Database, path: Path
) -> None:
    def patience_seconds() -> float:
        with database.read() as connection:
            return float(connection.execute("PRAGMA busy_timeout").fetchone()[0]) / 1000

    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        first = patience_seconds()
        assert "Another process is using it" in _refusal_of(lambda: add(database, "too late"))
        assert patience_seconds() < first / 4
        assert "Another process is using it" in _refusal_of(lambda: add(database, "too late"))
        other.execute("ROLLBACK")
    add(database, "after")
    assert patience_seconds() == first


READ_ONLY, CLOSED, FAILING = "are read-only", "Fix its permissions", "disk fails, or was disconnected"


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (errno.ENOSPC, "Free some space"),
        (errno.EDQUOT, "Free some space"),
        (errno.EROFS, READ_ONLY),
        (errno.EACCES, CLOSED),
        (errno.EIO, FAILING),
    ],
)
def test_what_the_system_says_of_the_folder_is_told_with_what_helps(
    tmp_path: Path, code: int, advice: str
) -> None:
    with pytest.raises(StorageFailed) as failure, storage_errors(tmp_path):
        raise OSError(code, os.strerror(code))
    assert [
        each for each in ("Free some space", READ_ONLY, CLOSED, FAILING) if each in str(failure.value)
    ] == [advice]
    assert os.strerror(code) in str(failure.value)


def test_a_file_that_can_only_be_read_is_called_so(database: Database) -> None:
    with database.read() as connection:
        connection.execute("PRAGMA query_only = ON")
    words = _refusal_of(lambda: add(database, "in vain"))
    assert READ_ONLY in words
    assert "space" not in words
    assert notes(database) == []


def test_references_between_rows_hold(database: Database) -> None:
    with pytest.raises(StorageFailed, match="FOREIGN KEY"), database.write("queue") as connection:
        connection.execute(
            "INSERT INTO jobs (request_id, provider, status, source, inputs, account)"
            " VALUES ('op_1', 'local', 'in_queue', '', '', '')"
        )


def on_disk(path: Path) -> bytes:
    return b"".join(each.read_bytes() for each in path.parent.glob(f"{path.name}*"))


def test_what_is_deleted_leaves_the_disk_where_that_is_asked_for(database: Database, path: Path) -> None:
    add(database, "a secret" * 9)
    assert b"a secret" in on_disk(path)
    with database.write("notes", erases=True) as connection:
        connection.execute("DELETE FROM notes")
    assert b"a secret" not in on_disk(path)


def test_somebody_who_reads_holds_nobody_up_and_the_next_one_erases_what_was_left(
    database: Database, path: Path
) -> None:
    add(database, "a secret" * 9)
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM notes").fetchone() == (1,)
        with database.write("notes", erases=True) as connection:
            connection.execute("DELETE FROM notes")
        assert notes(database) == []
    with database.write("notes", erases=True):
        pass
    assert b"a secret" not in on_disk(path)
    add(database, "next")  # and waits for a lock as before
    assert notes(database) == ["next"]
