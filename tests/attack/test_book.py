"""The attack's own means: what does not hold is counted, and what is mended is whole again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.attack.bombs import encoded
from tests.attack.book import Book
from tests.attack.recordings import mend_pages
from tests.attack.target import Outcome

_SECURITY = (Path(__file__).parents[2] / "SECURITY.md").read_text("utf-8")


def test_what_does_not_hold_is_counted_and_shown() -> None:
    shown: list[str] = []
    book = Book(shown.append)
    with book.row("area", "something") as row:
        row.check(held=True, what="fine")
        row.check(held=False, what="the server fell over")
        row.at_most(3, 2, "MiB", "server")
    assert (row.tried, row.held, book.failures) == (3, 1, 2)
    assert "the server fell over" in shown[0]
    assert "| area | something; server at most 2 MiB | 3 | 1 |" in book.markdown()


def test_an_attack_that_ends_early_has_not_held_and_the_next_one_begins() -> None:
    book = Book(lambda _: None)
    with book.row("area", "first") as row:
        row.check(held=1 / int("0"), what="never counted")
    with book.row("area", "second") as row:
        row.check(held=True, what="fine")
    assert [each.held for each in book.rows] == [0, 1]
    assert book.failures == 1


def test_ogg_checksums_that_were_broken_are_those_of_the_encoder_again() -> None:
    good = encoded("OGG")
    broken = bytearray(good)
    for page in re.finditer(b"OggS", good):
        broken[page.start() + 22 : page.start() + 26] = b"evil"
    mend_pages(broken)
    assert bytes(broken) == good


@pytest.mark.parametrize(
    ("words", "is_bug"),
    [
        ("Error executing tool analyze_audio", True),
        ("Error executing tool analyze_audio: ", True),
        ("The worker process crashed (SIGSEGV). Nothing else is affected.", True),
        ("'x.wav' is not in the allowed folders.", False),
    ],
)
def test_an_error_without_words_of_its_own_is_a_bug(words: str, *, is_bug: bool) -> None:
    answer = {"result": {"isError": True, "content": [{"type": "text", "text": words}]}}
    assert Outcome.of(answer).is_bug is is_bug


def test_all_that_the_table_has_was_held() -> None:
    rows = re.findall(r"^\|.*\| ([\d,]+) \| ([\d,]+) \|$", _SECURITY, re.MULTILINE)
    assert len(rows) > 20
    assert [row for row in rows if row[0] != row[1]] == []
