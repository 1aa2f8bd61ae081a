"""What must be left nowhere: RunComfy's token, our own links, and signatures of others outside of a result's `url`."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from tests.fakes.runcomfy import TOKEN

if TYPE_CHECKING:
    from pathlib import Path

_SIGNATURE = "X-Amz-Signature"
_OUR_LINK = re.compile(r"[\w-]{40,}\.[\w-]{43}\b")
_AUDIO_SUFFIXES = {".wav", ".flac", ".mp3", ".ogg", ".aiff", ".part", ".arrived"}
# A result's own link, in the journal and on its way there.
_MAY_BE_SIGNED = {("deliveries", "url"), ("jobs", "outcome"), ("jobs", "source")}


def check_words(words: str) -> None:
    """Hold a log line, an error or an answer against what it must not have.

    Raises:
        AssertionError: it has it.
    """
    assert TOKEN not in words, "a token got out"
    assert _SIGNATURE not in words, "a signed link got out"
    assert not _OUR_LINK.search(words), "a link of ours got out"


def check_files(folder: Path) -> None:
    """Hold every file in a folder that is no audio against what it must not have.

    Raises:
        AssertionError: one has it.
    """
    for path in folder.rglob("*"):
        if path.suffix.lower() in _AUDIO_SUFFIXES or not path.is_file() or path.is_symlink():
            continue
        with suppress(OSError):  # gone meanwhile, or not to be read
            assert TOKEN.encode() not in path.read_bytes(), f"a token in {path.name}"
        if path.suffix == ".sqlite3":
            _check_rows(path)


def _check_rows(path: Path) -> None:
    with suppress(sqlite3.DatabaseError), closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for row in connection.execute(f'SELECT * FROM "{table}"'):
                for column in row.keys():  # noqa: SIM118 - a row's own iterator gives values
                    assert not _OUR_LINK.search(str(row[column])), f"a link of ours in {table}.{column}"
                    signed = _SIGNATURE in str(row[column])
                    assert not signed or (table, column) in _MAY_BE_SIGNED, (
                        f"a signed link in {table}.{column}"
                    )
