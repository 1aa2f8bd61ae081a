"""Results by their links: the whole or a range of it, byte for byte, and nothing by any other link."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.over_http.callers import ALICE, BOB, SHARED, bearer, calling, give
from tests.test_file_links import changed
from tests.waiting import Clock, until

from outpaint_mcp.principals import Principal
from outpaint_mcp.service.file_links import FileLinks, Purpose

if TYPE_CHECKING:
    import httpx
    from tests.over_http.conftest import Door, Serve

    from outpaint_mcp.config import Settings

pytestmark = pytest.mark.anyio

CONTENT = bytes(range(256)) * 4000
"""A megabyte, which goes in several pieces."""
SIZE = len(CONTENT)
FORM = "whole, source"


@pytest.fixture
def request_id(settings: Settings) -> str:
    return give(settings, ALICE, CONTENT)


def only_result(settings: Settings) -> Path:
    [path] = settings.reach_of(ALICE).output_dir.iterdir()
    return path


def is_open(path: Path) -> bool:
    """Whether this process has a file open."""
    opened = set()
    for each in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            opened.add(each.readlink())
    return path in opened


async def get(door: Door, url: str, method: str = "GET", **headers: str) -> httpx.Response:
    """Ask as somebody who has nothing but the link."""
    async with calling(door, None) as http:
        return await http.request(
            method, url, headers={each.replace("_", "-"): value for each, value in headers.items()}
        )


async def test_whoever_has_the_link_gets_the_file_and_may_come_again(serve: Serve, request_id: str) -> None:
    async with serve(http=SHARED) as door:
        url = door.links.result(ALICE, request_id, FORM)
        answers = [await get(door, url) for _ in range(2)]
        head = await get(door, url, "HEAD")
    assert [answer.status_code for answer in answers] == [200, 200]
    assert [answer.content == CONTENT for answer in answers] == [True, True]
    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["content-length"] == str(SIZE)
    assert head.headers["accept-ranges"] == "bytes"
    without_date = [{**answer.headers, "date": ""} for answer in (head, answers[0])]
    assert without_date[0] == without_date[1]


RANGES = {
    "bytes=0-0": (0, 1),
    "bytes=0-99": (0, 100),
    "bytes=100-": (100, SIZE),
    "bytes=-1": (SIZE - 1, SIZE),
    "bytes=-500000": (SIZE - 500_000, SIZE),
    f"bytes=-{SIZE * 2}": (0, SIZE),
    f"bytes=262143-{SIZE * 2}": (262_143, SIZE),
    f"bytes={SIZE - 1}-": (SIZE - 1, SIZE),
}


async def test_ranges_are_exact(serve: Serve, request_id: str) -> None:
    async with serve(http=SHARED) as door:
        url = door.links.result(ALICE, request_id, FORM)
        answers = {each: await get(door, url, Range=each) for each in RANGES}
    for wanted, (start, stop) in RANGES.items():
        answer = answers[wanted]
        is_whole = (start, stop) == (0, SIZE)
        assert answer.status_code == (200 if is_whole else 206), wanted
        assert answer.content == CONTENT[start:stop], wanted
        assert answer.headers["content-length"] == str(stop - start), wanted
        if not is_whole:
            assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{SIZE}", wanted


async def test_a_range_beyond_the_end_is_416_and_says_how_long_the_file_is(
    serve: Serve, request_id: str
) -> None:
    async with serve(http=SHARED) as door:
        url = door.links.result(ALICE, request_id, FORM)
        answers = [await get(door, url, Range=each) for each in (f"bytes={SIZE}-", "bytes=-0")]
    assert [answer.status_code for answer in answers] == [416, 416]
    assert {answer.headers["content-range"] for answer in answers} == {f"bytes */{SIZE}"}


@pytest.mark.parametrize(
    "odd", ["bytes=5-3", "bytes=-", "bytes=a-b", "lines=1-2", "bytes=0-1,5-9", "bytes=٣-"]
)
async def test_what_is_no_range_or_several_is_answered_with_everything(
    serve: Serve, request_id: str, odd: str
) -> None:
    async with serve(http=SHARED) as door, calling(door, None) as http:
        url = door.links.result(ALICE, request_id, FORM)
        answer = await http.get(url, headers={b"Range": odd.encode()})
    assert answer.status_code == 200
    assert answer.content == CONTENT


async def test_a_download_goes_on_only_if_the_file_is_the_same(serve: Serve, request_id: str) -> None:
    async with serve(http=SHARED) as door:
        url = door.links.result(ALICE, request_id, FORM)
        tag = (await get(door, url, "HEAD")).headers["etag"]
        goes_on = await get(door, url, Range="bytes=10-", If_Range=tag)
        begins_again = await get(door, url, Range="bytes=10-", If_Range='"another"')
        by_date = await get(door, url, Range="bytes=10-", If_Range="Mon, 30 Nov 2026 12:00:00 GMT")
        known = await get(door, url, If_None_Match=f'"x", {tag}')
    assert (goes_on.status_code, goes_on.content) == (206, CONTENT[10:])
    assert (begins_again.status_code, begins_again.content) == (200, CONTENT)
    assert by_date.status_code == 200
    assert (known.status_code, known.content) == (304, b"")


async def test_every_wrong_link_is_the_same_404(serve: Serve, request_id: str, clock: Clock) -> None:
    async with serve(http=SHARED) as door:
        good = door.links.result(ALICE, request_id, FORM)
        clock.now = 1_000.0
        expired = FileLinks(b"l" * 32, door.origin, now=clock).result(ALICE, request_id, FORM)
        urls = {
            "expired": expired,
            "another's": door.links.result(BOB, request_id, FORM),
            "the person's": door.links.result(Principal(), request_id, FORM),
            "another form": door.links.result(ALICE, request_id, "whole, mp3"),
            "no request": door.links.result(ALICE, "op_00000000000000000000", FORM),
            "traversal": door.links.result(ALICE, "../../x", FORM),
            "to send": door.links.upload(ALICE).replace("/drop/", "/files/"),
            "to delete": door.links.deletion(ALICE, request_id).replace("/delete/", "/files/"),
            "another key": FileLinks(b"x" * 32, door.origin).result(ALICE, request_id, FORM),
            "a traversal in the path": f"{door.origin}/files/..%2f..%2fetc%2fpasswd",
            "too long": f"{door.origin}/files/{'A' * 8000}",
            **{
                how: f"{door.origin}/files/{token}"
                for how, token in changed(good.rpartition("/")[2]).items()
                if token.isascii() and token.isprintable() and "/" not in token and token.strip(".")
            },
        }
        answers = {how: await get(door, url) for how, url in urls.items()}
        assert (await get(door, good)).status_code == 200
    assert len(urls) > 20
    assert {how: answer.status_code for how, answer in answers.items() if answer.status_code != 404} == {}
    in_files = [answer for how, answer in answers.items() if "traversal in the path" not in how]
    assert len({answer.content for answer in in_files}) == 1
    assert len({str(sorted({**each.headers, "date": ""}.items())) for each in in_files}) == 1


async def test_a_file_that_was_changed_or_replaced_is_not_sent(
    serve: Serve, settings: Settings, request_id: str, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(CONTENT)
    path = only_result(settings)
    async with serve(http=SHARED) as door:
        url = door.links.result(ALICE, request_id, FORM)
        assert (await get(door, url)).status_code == 200
        path.write_bytes(CONTENT + b"more")
        assert (await get(door, url)).status_code == 404
        path.unlink()
        path.symlink_to(secret)
        assert (await get(door, url)).status_code == 404
        path.unlink()
        os.mkfifo(path)
        assert (await get(door, url)).status_code == 404


async def test_a_page_of_any_origin_may_show_it_but_only_by_its_link(serve: Serve, request_id: str) -> None:
    async with serve(http=SHARED) as door:
        url = door.links.result(ALICE, request_id, FORM)
        shown = await get(door, url, Origin="null")
        sending = await get(
            door, f"{door.origin}/files", "POST", Origin="https://evil.example", **bearer(ALICE)
        )
        other_host = await get(door, url, Host="evil.example")
    assert shown.status_code == 200
    assert shown.headers["access-control-allow-origin"] == "*"
    assert "content-range" in shown.headers["access-control-expose-headers"]
    assert sending.status_code == 403
    assert "access-control-allow-origin" not in sending.headers
    assert other_host.status_code == 421


async def test_a_name_that_was_asked_for_is_the_name_of_the_download(serve: Serve, request_id: str) -> None:
    async with serve(http=SHARED) as door:
        url = door.links.result(ALICE, request_id, FORM, 'Größe "1".flac')
        disposition = (await get(door, url)).headers["content-disposition"]
    assert disposition == (
        "attachment; filename=\"Gr__e _1_.flac\"; filename*=UTF-8''Gr%C3%B6%C3%9Fe%20%221%22.flac"
    )


async def test_whoever_leaves_or_stops_reading_holds_nothing_up(
    serve: Serve, settings: Settings, request_id: str
) -> None:
    async with serve(http=SHARED, stall_seconds=0.3, send_buffer=4096) as door:
        path = door.links.result(ALICE, request_id, FORM).removeprefix(door.origin)
        for leaves in (True, False):
            wire = await door.connect(receive_buffer=4096)
            await wire.send(f"GET {path} HTTP/1.1\r\nHost: {wire.host}\r\n\r\n".encode())
            assert await wire.status() == 200
            assert is_open(only_result(settings))
            if leaves:
                wire.writer.transport.abort()
            await until(lambda: not door.server.server_state.connections)
        await until(lambda: not door.server.server_state.tasks)
        assert not is_open(only_result(settings))
        assert (await asyncio.wait_for(get(door, door.origin + path), 30)).status_code == 200


async def test_there_is_nothing_else_to_do_with_it(serve: Serve, request_id: str) -> None:
    async with serve(http=SHARED) as door:
        url = door.links.result(ALICE, request_id, FORM)
        answers = {method: await get(door, url, method) for method in ("POST", "DELETE", "OPTIONS", "PATCH")}
        put = await get(door, url, "PUT")
    assert {method: answer.status_code for method, answer in answers.items()} == dict.fromkeys(answers, 405)
    assert put.status_code == 404
    assert door.links.read(url.rpartition("/")[2], Purpose.RESULT)
