"""Links: each opens one thing, for as long as it says, and nothing that is not exactly ours opens anything."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TYPE_CHECKING

import pytest

from outpaint_mcp.principals import Principal
from outpaint_mcp.service.file_links import RESULT_HOURS, UPLOAD_HOURS, FileLinks, Purpose

if TYPE_CHECKING:
    from tests.waiting import Clock

ALICE = Principal(client="alice")
KEY = b"k" * 32
REQUEST = "op_0123456789abcdef0123"


@pytest.fixture
def links(clock: Clock) -> FileLinks:
    return FileLinks(KEY, "https://example.org/outpaint", now=clock)


def token(url: str) -> str:
    return url.rpartition("/")[2]


def test_a_link_says_what_it_was_made_for(links: FileLinks) -> None:
    url = links.result(ALICE, REQUEST, "whole, mp3, 192 kbps", "Mein Stück.mp3")
    assert url.startswith("https://example.org/outpaint/files/")
    claim = links.read(token(url), Purpose.RESULT)
    assert claim is not None
    assert (claim.owner, claim.about, claim.form) == (ALICE.owner, REQUEST, "whole, mp3, 192 kbps")
    assert claim.name == "Mein Stück.mp3"
    assert claim.principal.owner == ALICE.owner
    assert claim.principal.is_remote
    assert claim.principal.digest == ALICE.digest


def test_it_is_good_for_nothing_else(links: FileLinks) -> None:
    made = {
        Purpose.RESULT: links.result(ALICE, REQUEST, "whole, source"),
        Purpose.UPLOAD: links.upload(ALICE),
        Purpose.DELETION: links.deletion(ALICE, REQUEST),
    }
    opened = {
        (is_for, used_for)
        for is_for in made
        for used_for in Purpose
        if links.read(token(made[is_for]), used_for)
    }
    assert opened == {(each, each) for each in Purpose}


@pytest.mark.parametrize(
    ("purpose", "hours"),
    [(Purpose.RESULT, RESULT_HOURS), (Purpose.UPLOAD, UPLOAD_HOURS), (Purpose.DELETION, RESULT_HOURS)],
)
def test_it_ends(links: FileLinks, clock: Clock, purpose: Purpose, hours: int) -> None:
    url = {
        Purpose.RESULT: lambda: links.result(ALICE, REQUEST, "whole, source"),
        Purpose.UPLOAD: lambda: links.upload(ALICE),
        Purpose.DELETION: lambda: links.deletion(ALICE, REQUEST),
    }[purpose]()
    clock.now += hours * 3600 - 2
    assert links.read(token(url), purpose)
    clock.now += 4
    assert links.read(token(url), purpose) is None


def test_no_upload_link_is_another(links: FileLinks) -> None:
    claims = [links.read(token(links.upload(ALICE)), Purpose.UPLOAD) for _ in range(20)]
    assert len({claim.about for claim in claims if claim}) == 20


def test_another_key_opens_nothing(links: FileLinks, clock: Clock) -> None:
    url = FileLinks(b"other" * 8, "https://example.org", now=clock).result(ALICE, REQUEST, "whole, source")
    assert links.read(token(url), Purpose.RESULT) is None


def changed(text: str) -> dict[str, str]:
    """Return what somebody may make of a token."""
    content, _, signature = text.partition(".")
    claim = json.loads(urlsafe_b64decode(content + "=="))

    def again(index: int, value: object) -> str:
        other = [*claim[:index], value, *claim[index + 1 :]]
        return urlsafe_b64encode(json.dumps(other, separators=(",", ":")).encode()).decode().rstrip("=")

    return {
        "another owner": f"{again(1, 'mallory-0')}.{signature}",
        "another request": f"{again(2, 'op_ffffffffffffffffffff')}.{signature}",
        "another form": f"{again(3, 'before, source')}.{signature}",
        "a later end": f"{again(5, claim[5] + 1)}.{signature}",
        "padding": f"{content}=.{signature}",
        "padding behind": f"{content}.{signature}=",
        "no signature": f"{content}.",
        "no dot": content,
        "half a signature": f"{content}.{signature[:20]}",
        "a bit": f"{content}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}",
        "nothing": "",
        "a dot": ".",
        "no ASCII": "ü.é",
        "half a character": "\ud800.\udfff",
        "no base64": f"!!!.{signature}",
        "traversal": f"../{content}.{signature}",
        "a null": f"{content}\0.{signature}",
    }


def test_what_was_changed_opens_nothing(links: FileLinks) -> None:
    good = token(links.result(ALICE, REQUEST, "whole, source"))
    assert links.read(good, Purpose.RESULT)
    opened = [how for how, text in changed(good).items() if links.read(text, Purpose.RESULT)]
    assert opened == []
