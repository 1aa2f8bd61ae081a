"""A remote caller's files from one end to the other: dropped, extended, downloaded, deleted; and whose they are."""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest
from tests.over_http.callers import ALICE, BOB, SHARED, asking, call, calling, files_of, give, refused
from tests.test_file_links import changed
from tests.waiting import until

from outpaint_mcp.principals import PERSON
from outpaint_mcp.service.file_links import FileLinks

if TYPE_CHECKING:
    import httpx
    from mcp.client import Client
    from tests.conftest import MakeSong
    from tests.over_http.conftest import Door, Serve
    from tests.waiting import Clock

    from outpaint_mcp.config import Settings

pytestmark = pytest.mark.anyio

DROP = re.compile(r"http://\S+/drop/[\w.-]+")
UNKNOWN = "op_00000000000000000000"


@pytest.fixture
def song(make_song: MakeSong) -> bytes:
    """A song that is on nobody's machine but the caller's own."""
    path = make_song("My Song.flac")
    content = path.read_bytes()
    path.unlink()
    return content


async def send(door: Door, url: str, content: bytes, name: str = "My Song.flac") -> httpx.Response:
    """Send a file by a link as the page does it."""
    async with calling(door, None) as http:
        return await http.put(url.replace("/drop/", "/files/"), params={"name": name}, content=content)


async def extended(client: Client, audio: str) -> tuple[str, dict[str, object]]:
    submission = await call(client, "submit_outpaint", audio=audio, tags="", extend_after_duration=2)
    request_id = str(submission["request_id"])
    return request_id, await call(client, "get_outpaint_result", request_id=request_id, wait_seconds=45)


async def test_a_caller_sends_a_track_extends_it_and_downloads_the_result(
    serve: Serve, song: bytes, settings: Settings
) -> None:
    async with serve(http=SHARED) as door, calling(door, ALICE) as http, asking(door, ALICE) as client:
        sent = await http.post("/files", params={"name": "My Song.flac"}, content=song)
        assert sent.status_code == 201
        assert (sent.json()["audio"], sent.json()["size_bytes"]) == ("My Song.flac", len(song))
        assert "30 days" in sent.json()["message"]
        listed = await call(client, "list_audio")
        request_id, result = await extended(client, "My Song.flac")
        again = await call(client, "list_outpaints")
        as_mp3 = await call(
            client, "get_outpaint_result", request_id=request_id, save_as="../Für Anna.mp3", wait_seconds=45
        )
        async with calling(door, None) as anybody:
            file, other = await anybody.get(str(result["url"])), await anybody.get(as_mp3["url"])
    assert [each["name"] for each in listed["files"]] == ["My Song.flac"]
    assert "path" not in result
    assert str(result["url"]).startswith(f"{door.origin}/files/")
    assert "24 hours" in str(result["message"])
    assert "30 days" in str(result["message"])
    assert [each["request_id"] for each in again["requests"]] == [request_id]
    assert str(settings.data_dir) not in f"{result}{again}{listed}{as_mp3}"
    assert {name: file.headers[name] for name in HEADERS} == HEADERS
    disposition = file.headers["content-disposition"]
    assert disposition.startswith("attachment; ")
    name = unquote(disposition.rpartition("''")[2])
    assert file.content == (settings.reach_of(ALICE).output_dir / name).read_bytes()
    assert other.headers["content-type"] == "audio/mpeg"
    assert other.headers["content-disposition"].endswith("filename*=UTF-8''F%C3%BCr%20Anna.mp3")


HEADERS = {
    "content-type": "audio/flac",
    "x-content-type-options": "nosniff",
    "cache-control": "private",
    "content-security-policy": "default-src 'none'; sandbox",
    "access-control-allow-origin": "*",
}


@pytest.mark.parametrize(
    "named",
    [
        "/Users/anna/Music/My Song.flac",
        r"C:\Users\anna\Music\My Song.flac",
        "file:///home/anna/My%20Song.flac",
        "sandbox:/mnt/data/My Song.flac",
        "~/My Song.flac",
        "My Song.flac",
    ],
)
async def test_a_path_of_the_callers_own_machine_is_answered_with_a_link_to_drop_it(
    serve: Serve, song: bytes, settings: Settings, named: str
) -> None:
    async with serve(http=SHARED) as door, asking(door, ALICE) as client:
        said = await refused(client, "analyze_audio", audio=named)
        assert "is not on this server" in said
        assert "curl -T FILE" in said
        assert str(settings.data_dir) not in said
        assert str(settings.input_dirs[0]) not in said
        url = DROP.findall(said)[0]
        assert (await send(door, url, song)).status_code == 201
        found = await call(client, "analyze_audio", audio=named if "%" not in named else "My Song.flac")
        listed = await call(client, "list_audio")
    assert found["title"] == "My Song"
    assert [each["name"] for each in listed["files"]] == ["My Song.flac"]
    assert files_of(settings, BOB) == set()


async def test_the_page_is_small_strict_and_says_until_when(serve: Serve) -> None:
    async with serve(http=SHARED) as door, calling(door, None) as http:
        page = await http.get(door.links.upload(ALICE))
        head = await http.head(door.links.upload(ALICE))
    assert (page.status_code, head.status_code) == (200, 200)
    assert head.content == b""
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["x-content-type-options"] == "nosniff"
    text = page.text
    assert "http" not in re.sub(r"<!--.*?-->", "", text), "it loads nothing from elsewhere"
    assert 'lang="en"' in text
    assert 'aria-live="polite"' in text
    assert "light-dark(" in text
    assert re.search(r"until 20\d\d-\d\d-\d\d \d\d:\d\d UTC", text)
    assert all(f"data-{hook}" in text for hook in ("zone", "file", "send", "progress", "status"))
    assert len(text) < 12_000


async def test_a_drop_link_is_used_once_even_after_a_restart(serve: Serve, settings: Settings) -> None:
    links = FileLinks(b"l" * 32, "")
    url = links.upload(ALICE)
    async with serve(http=SHARED) as door:
        assert (await send(door, door.origin + url, b"")).status_code == 415, "an attempt that failed is none"
        assert (await send(door, door.origin + url, b"sound", "first.wav")).status_code == 201
        second = await send(door, door.origin + url, b"sound", "second.wav")
    async with serve(http=SHARED) as door, calling(door, None) as http:
        third = await send(door, door.origin + url, b"sound", "third.wav")
        page = await http.get(url)
        posted = await http.post(url, files={"file": ("fourth.wav", b"sound")})
        wrong = await http.get("/drop/x")
    assert [each.status_code for each in (second, third, page, posted)] == [404] * 4
    assert second.json() == third.json()
    assert page.text == posted.text == wrong.text
    assert files_of(settings, ALICE) - {".spent"} == {"first.wav"}


async def test_it_works_without_scripts(serve: Serve, settings: Settings) -> None:
    async with serve(http=SHARED) as door, calling(door, None) as http:
        url = door.links.upload(ALICE)
        name = '<script>alert("1")</script>.wav'
        html = {"Accept": "text/html", "Origin": door.origin}
        none = await http.post(url, content=b"", headers=html)
        wrong = await http.post(url, files={"file": ("<b>.txt", b"sound")}, headers=html)
        sent = await http.post(url, files={"file": (name, b"sound")}, headers=html)
    assert (none.status_code, wrong.status_code, sent.status_code) == (400, 415, 201)
    assert "<b>" not in wrong.text
    assert "is there" in sent.text
    assert "<script>alert" not in sent.text
    assert len(files_of(settings, ALICE) - {".spent"}) == 1


async def test_no_wrong_link_opens_the_page_or_takes_a_file(
    serve: Serve, settings: Settings, clock: Clock
) -> None:
    clock.now = 1_000.0
    async with serve(http=SHARED) as door, calling(door, None) as http:
        good = door.links.upload(ALICE).rpartition("/")[2]
        tokens = {
            "expired": FileLinks(b"l" * 32, "", now=clock).upload(ALICE).rpartition("/")[2],
            "a result's": door.links.result(ALICE, UNKNOWN, "whole, source").rpartition("/")[2],
            "a deletion's": door.links.deletion(ALICE, UNKNOWN).rpartition("/")[2],
            **{
                how: token
                for how, token in changed(good).items()
                if token.isascii() and token.isprintable() and "/" not in token and token.strip(".")
            },
        }
        pages = [await http.get(f"/drop/{token}") for token in tokens.values()]
        forms = [
            await http.post(f"/drop/{token}", files={"file": ("x.wav", b"sound")})
            for token in tokens.values()
        ]
        files = [await http.put(f"/files/{token}?name=x.wav", content=b"sound") for token in tokens.values()]
        assert (await http.get(f"/drop/{good}")).status_code == 200
    assert {each.status_code for each in (*pages, *forms, *files)} == {404}
    assert len({each.content for each in (*pages, *forms)}) == 1
    assert len({each.content for each in files}) == 1
    assert files_of(settings, ALICE) == set()


async def test_what_somebody_drops_goes_to_whom_the_link_belongs(serve: Serve, settings: Settings) -> None:
    async with serve(http=SHARED) as door, calling(door, BOB) as http:
        url = door.links.upload(ALICE).replace("/drop/", "/files/")
        assert (await http.put(url, params={"name": "for alice.wav"}, content=b"sound")).status_code == 201
    assert files_of(settings, ALICE) - {".spent"} == {"for alice.wav"}
    assert files_of(settings, BOB) == set()


async def test_a_request_is_deleted_with_its_files_by_whoever_it_belongs_to(
    serve: Serve, settings: Settings, song: bytes
) -> None:
    async with serve(http=SHARED) as door, calling(door, ALICE) as http, asking(door, ALICE) as client:
        await http.post("/files", params={"name": "My Song.flac"}, content=song)
        request_id, result = await extended(client, "My Song.flac")
        async with calling(door, BOB) as other, asking(door, BOB) as bob:
            refusals = [await other.delete(f"/requests/{each}") for each in (request_id, UNKNOWN)]
            words = [
                await refused(bob, "get_outpaint_status", request_id=each) for each in (request_id, UNKNOWN)
            ]
        assert {each.status_code for each in refusals} == {404}
        assert refusals[0].text.replace(request_id, UNKNOWN) == refusals[1].text
        assert words[0].replace(request_id, UNKNOWN) == words[1]
        assert (await http.get(str(result["url"]))).status_code == 200
        assert len(files_of(settings, ALICE)) == 2
        deleted = await http.delete(f"/requests/{request_id}")
        assert deleted.status_code == 200
        again = await http.delete(f"/requests/{request_id}")
        assert (await http.get(str(result["url"]))).status_code == 404
        gone = await refused(client, "get_outpaint_status", request_id=request_id)
        listed = await call(client, "list_outpaints")
        audio = await call(client, "list_audio")
    assert again.status_code == 404
    assert "No request has the id" in gone
    assert (listed["requests"], audio["files"]) == ([], [])
    assert files_of(settings, ALICE) == set()
    assert [*(settings.data_dir / "jobs").iterdir()] == []
    database = b"".join(each.read_bytes() for each in settings.data_dir.glob("outpaint.sqlite3*"))
    assert b"My Song" not in database


async def test_the_player_has_a_link_of_its_own_to_delete_by(serve: Serve, settings: Settings) -> None:
    request_id = give(settings, ALICE, b"sound")
    async with serve(http=SHARED) as door, asking(door, ALICE) as client, calling(door, None) as http:
        answer = await client.call_tool("get_outpaint_result", {"request_id": request_id})
        assert answer.structured_content
        url = (answer.meta or {})["outpaint-mcp/deleteUrl"]
        assert url not in str(answer.structured_content)
        page = await http.get(url)
        assert page.status_code == 200
        assert request_id in page.text
        assert "data-delete" in page.text
        assert len(files_of(settings, ALICE)) == 1, "looking at the page deletes nothing"
        result = answer.structured_content["url"]
        by_result = await http.delete(result.replace("/files/", "/delete/"))
        done = await http.post(url, headers={"Origin": "null"})
        again = await http.post(url)
    assert by_result.status_code == 404
    assert done.status_code == 200
    assert "deleted" in done.text
    assert again.status_code == 404
    assert files_of(settings, ALICE) == set()


def long_ago() -> float:
    return 1_700_000_000.0


async def test_what_is_old_is_deleted_for_remote_callers_and_never_for_the_person(
    serve: Serve, settings: Settings
) -> None:
    give(settings, ALICE, b"old", now=long_ago)
    fresh = give(settings, ALICE, b"fresh")
    give(settings, PERSON, b"mine", now=long_ago)
    folder = settings.reach_of(ALICE).upload_dir
    folder.mkdir(parents=True)
    for name, seconds in (("old.wav", 40 * 86_400), ("fresh.wav", 60)):
        (folder / name).write_bytes(b"sound")
        sent_at = time.time() - seconds
        os.utime(folder / name, (sent_at, sent_at))
    async with serve(http=SHARED) as door, asking(door, ALICE) as client:
        await refused(client, "get_outpaint_status", request_id=UNKNOWN)  # the service is open now
        await until(lambda: len(files_of(settings, ALICE)) == 2)
        listed = await call(client, "list_outpaints")
    assert [each["request_id"] for each in listed["requests"]] == [fresh]
    assert "fresh.wav" in files_of(settings, ALICE)
    assert [each.read_bytes() for each in settings.output_dir.iterdir()] == [b"mine"]
