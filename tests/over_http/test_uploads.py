"""Files that are sent: whole or not at all, under a safe name, within what is the caller's, and nobody else's."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from tests.over_http.callers import ALICE, BOB, SHARED, asking, bearer, call, calling, files_of, refused
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx
    from tests.conftest import MakeSong
    from tests.over_http.conftest import Door, Serve, Wire

    from outpaint_mcp.config import Settings

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
FORM = "multipart/form-data; boundary=line"


def uploads(settings: Settings) -> dict[str, bytes]:
    """What lies in Alice's folder, hidden files included."""
    folder = settings.reach_of(ALICE).upload_dir
    return (
        {each.name: each.read_bytes() for each in folder.iterdir() if each.is_file()}
        if folder.exists()
        else {}
    )


def part(name: str, content: bytes = b"sound") -> bytes:
    head = f'--line\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    return head.encode() + content + b"\r\n--line--\r\n"


async def send(door: Door, name: str, content: Any = b"sound", **options: Any) -> httpx.Response:  # noqa: ANN401 - as httpx takes them
    async with calling(door, ALICE) as http:
        return await http.post("/files", params={"name": name}, content=content, **options)


async def begin(door: Door, *lines: str, size: int, body: bytes = b"", name: str = "song.wav") -> Wire:
    """Begin to send a file of which more is to come."""
    wire = await door.connect()
    key = bearer(ALICE)["Authorization"]
    head = [
        f"POST /files?name={name} HTTP/1.1",
        f"Host: {wire.host}",
        f"Authorization: {key}",
        f"Content-Length: {size}",
        *lines,
    ]
    await wire.send("\r\n".join([*head, "", ""]).encode() + body)
    return wire


async def test_it_is_written_as_it_comes_and_named_by_whoever_sends_it(
    serve: Serve, settings: Settings
) -> None:
    large = bytes(range(256)) * 4096 * 3
    async with serve(http=SHARED) as door, calling(door, ALICE) as http:
        by_query = await http.post("/files?name=one.wav", content=large)
        header = {"Content-Disposition": "attachment; filename*=UTF-8''zw%C3%B6lf.flac"}
        by_header = await http.post("/files", content=b"sound", headers=header)
        by_form = await http.post("/files", files={"other": (None, b"x"), "file": ("three.mp3", large)})
        in_pieces = await http.post("/files?name=four.ogg", content=pieces())
    answers = [by_query, by_header, by_form, in_pieces]
    assert [answer.status_code for answer in answers] == [201] * 4
    assert [answer.json()["audio"] for answer in answers] == [
        "one.wav",
        "zwölf.flac",
        "three.mp3",
        "four.ogg",
    ]
    assert uploads(settings) == {
        "one.wav": large,
        "zwölf.flac": b"sound",
        "three.mp3": large,
        "four.ogg": b"abcabcabc",
    }
    assert all(each.stat().st_mode & 0o077 == 0 for each in settings.reach_of(ALICE).upload_dir.iterdir())


async def pieces() -> AsyncIterator[bytes]:
    for _ in range(3):
        yield b"abc"


async def test_nothing_is_overwritten(serve: Serve, settings: Settings) -> None:
    async with serve(http=SHARED) as door:
        names = [(await send(door, "song.wav", content)).json()["audio"] for content in (b"1", b"2", b"3")]
    assert names == ["song.wav", "song (2).wav", "song (3).wav"]
    assert uploads(settings) == {"song.wav": b"1", "song (2).wav": b"2", "song (3).wav": b"3"}


TRAVERSALS = [
    "../../../escaped.wav",
    "/etc/escaped.wav",
    "..\\..\\escaped.wav",
    "C:\\Windows\\escaped.wav",
    "\\\\host\\share\\escaped.wav",
    "a/../../escaped.wav",
    "~/escaped.wav",
    "~root.wav",
    "file:///etc/x.wav",
    "....//....//x.wav",
    "..wav",
    "x\0.wav",
    "x\r\nSet-Cookie: a=b.wav",
    "CON.wav",
    "x.wav/.",
    ".hidden.wav",
    ".upload-1.part.wav",
    "%2e%2e%2fx.wav",
    "x" * 5000 + ".wav",
    "\u202egpj.wav",
    "a:b|c?.wav",
]


@pytest.mark.parametrize("by", ["query", "header", "form"])
async def test_no_name_leads_out_of_the_folder_or_hides_in_it(
    serve: Serve, settings: Settings, by: str
) -> None:
    async with serve(http=SHARED) as door, calling(door, ALICE) as http:
        answers = {}
        for name in TRAVERSALS:
            plain = name.replace("\0", "").replace("\r\n", " ").encode()[:1500].decode(errors="ignore")
            if by == "query":
                answers[name] = await http.post("/files", params={"name": name}, content=b"sound")
            elif by == "header":
                value = b'attachment; filename="' + plain.replace("\\", "\\\\").encode() + b'"'
                answers[name] = await http.post(
                    "/files", content=b"sound", headers={b"Content-Disposition": value}
                )
            else:
                answers[name] = await http.post("/files", content=part(plain), headers={"Content-Type": FORM})
    assert {answer.status_code for answer in answers.values()} <= {201, 400, 415}
    accepted = [answer.json()["audio"] for answer in answers.values() if answer.status_code == 201]
    assert len(accepted) > len(TRAVERSALS) // 2
    folder = settings.reach_of(ALICE).upload_dir
    assert {each.name for each in folder.iterdir()} == set(accepted)
    assert not [name for name in accepted if name.startswith((".", "~")) or not name.isprintable()]
    outside = {path for path in settings.data_dir.parent.rglob("*escaped*") if path.parent != folder}
    assert outside == set()


@pytest.mark.parametrize("name", ["", "  ", "song", "song.exe", "page.html", ".wav", "song.wav.part", "…"])
async def test_what_is_no_audio_by_its_name_is_refused_before_it_is_read(
    serve: Serve, settings: Settings, name: str
) -> None:
    async with serve(http=SHARED) as door:
        wire = await begin(door, size=1_000_000, name=name.replace(" ", "%20").replace("…", "%E2%80%A6"))
        assert await wire.status() in {400, 415}
    assert uploads(settings) == {}


async def test_one_that_is_too_large_is_refused_and_leaves_nothing(serve: Serve, settings: Settings) -> None:
    small = dataclasses.replace(settings, max_upload_bytes=MIB)
    async with serve(http=SHARED, settings=small) as door:
        wire = await begin(door, size=2 * MIB)
        assert await wire.status() == 413
        announced = await send(door, "song.wav", b"x" * (MIB + 1))
        streamed = await send(door, "song.wav", zeros(3 * MIB))
        form = await send(door, "", part("song.wav", b"x" * 2 * MIB), headers={"Content-Type": FORM})
        fits = await send(door, "fits.wav", b"x" * MIB)
    assert [each.status_code for each in (announced, streamed, form, fits)] == [413, 413, 413, 201]
    assert "1 MiB" in announced.json()["error"]
    assert [*uploads(small)] == ["fits.wav"]


async def zeros(count: int) -> AsyncIterator[bytes]:
    for _ in range(0, count, 65_536):
        yield bytes(65_536)


async def test_each_caller_has_a_quota_and_may_make_room(serve: Serve, settings: Settings) -> None:
    small = dataclasses.replace(settings, upload_quota_bytes=MIB)
    async with serve(http=SHARED, settings=small) as door, calling(door, ALICE) as http:
        first = await send(door, "first.wav", b"x" * (MIB - 100))
        full = await send(door, "second.wav", b"x" * 200)
        streamed = await send(door, "second.wav", zeros(65_536))
        async with calling(door, BOB) as other:
            others = await other.post("/files?name=bobs.wav", content=b"x" * 200)
            not_theirs = await other.delete("/files?name=first.wav")
        deleted = await http.delete("/files?name=first.wav")
        again = await send(door, "second.wav", b"x" * 200)
        gone = await http.delete("/files?name=first.wav")
    assert [first.status_code, full.status_code, streamed.status_code] == [201, 413, 413]
    assert "no room" in full.json()["error"]
    assert (others.status_code, not_theirs.status_code) == (201, 404)
    assert [deleted.status_code, again.status_code, gone.status_code] == [200, 201, 404]
    assert [*uploads(small)] == ["second.wav"]


async def test_one_that_comes_too_slowly_is_given_up_and_leaves_nothing(
    serve: Serve, settings: Settings
) -> None:
    async with serve(http=SHARED, body_seconds=0.3, body_bytes_per_second=1_000_000) as door:
        silent = await begin(door, size=1_000_000, body=b"x" * 1000)
        await until(lambda: len(uploads(settings)) == 1)
        assert await silent.status() == 408
        slow = await begin(door, size=1_000_000)
        await slow.drip(b"x")
        await until(lambda: not uploads(settings))
    assert uploads(settings) == {}


async def test_one_that_comes_steadily_gets_the_time_it_takes(serve: Serve, settings: Settings) -> None:
    async with serve(http=SHARED, body_seconds=0.3, body_bytes_per_second=1) as door:
        steady = await begin(door, size=11, body=b"x" * 10)  # earns ten seconds
        silent = await begin(door, size=11)
        assert await silent.status() == 408
        await steady.send(b"y")
        assert await steady.status() == 201
    assert uploads(settings) == {"song.wav": b"x" * 10 + b"y"}


async def test_one_that_is_broken_off_leaves_nothing(serve: Serve, settings: Settings) -> None:
    async with serve(http=SHARED) as door:
        for _ in range(3):
            wire = await begin(door, size=10_000_000, body=b"x" * 3_000_000)
            await until(lambda: len(uploads(settings)) == 1)
            wire.writer.transport.abort()
            await until(lambda: not uploads(settings))
        assert (await send(door, "song.wav")).status_code == 201
    assert uploads(settings) == {"song.wav": b"sound"}


async def test_one_that_is_under_way_when_the_server_stops_leaves_nothing(
    serve: Serve, settings: Settings
) -> None:
    async with serve(http=SHARED) as door:
        await begin(door, size=10_000_000, body=b"x" * 3_000_000)
        await until(lambda: len(uploads(settings)) == 1)
    assert uploads(settings) == {}


BROKEN_FORMS = [
    (FORM, b""),
    (FORM, b"--line--\r\n"),
    (FORM, b"no form at all" * 100),
    (FORM, part("song.wav")[:-12]),
    (FORM, b'--line\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n--line--\r\n'),
    (FORM, b"--line\r\n" + b"X: " + b"y" * 100_000 + b"\r\n\r\nx\r\n--line--\r\n"),
    (FORM, b"--line\r\n" + b"X: y\r\n" * 1000 + b"\r\nx\r\n--line--\r\n"),
    ("multipart/form-data", part("song.wav")),
    ("multipart/form-data; boundary=", part("song.wav")),
    ("multipart/form-data; boundary=" + "b" * 5000, part("song.wav")),
    ("multipart/form-data; boundary=other", part("song.wav")),
    (FORM, part("song.wav", b"")),
]


@pytest.mark.parametrize("number", range(len(BROKEN_FORMS)))
async def test_a_broken_form_is_refused_in_words_and_leaves_nothing(
    serve: Serve, settings: Settings, number: int
) -> None:
    kind, body = BROKEN_FORMS[number]
    async with serve(http=SHARED) as door, calling(door, ALICE) as http:
        answer = await http.post("/files", content=body, headers={"Content-Type": kind})
    assert answer.status_code in {400, 408, 415}
    assert answer.json()["error"]
    assert uploads(settings) == {}


async def test_an_empty_file_is_refused(serve: Serve, settings: Settings) -> None:
    async with serve(http=SHARED) as door:
        assert (await send(door, "song.wav", b"")).status_code == 415
    assert uploads(settings) == {}


async def test_only_so_many_at_once(serve: Serve, settings: Settings) -> None:
    async with serve(http=SHARED) as door:
        for count in range(1, 5):
            await begin(door, size=10_000_000, body=b"x" * 2_000_000)
            await until(partial(has_begun, settings, count))
        fifth = await send(door, "song.wav")
        async with calling(door, BOB) as other:
            others = await other.post("/files?name=song.wav", content=b"sound")
        for wire in door.wires:
            wire.writer.transport.abort()
        await until(lambda: not uploads(settings))
        later = await send(door, "song.wav")
    assert (fifth.status_code, fifth.headers["retry-after"]) == (503, "5")
    assert (others.status_code, later.status_code) == (201, 201)


async def test_strangers_send_nothing(serve: Serve, settings: Settings) -> None:
    async with serve(http=SHARED) as door, calling(door, None) as http:
        sent = await http.post("/files?name=song.wav", content=b"sound")
        deleted = await http.delete("/files?name=song.wav")
        request = await http.delete("/requests/op_00000000000000000000")
    assert [each.status_code for each in (sent, deleted, request)] == [401] * 3
    assert not (settings.data_dir / "callers").exists()


async def test_a_page_cannot_send_files_to_a_server_without_a_key(serve: Serve, settings: Settings) -> None:
    everybody = dataclasses.replace(SHARED, keys=None)
    async with serve(http=everybody) as door, calling(door, None) as http:
        files = {"file": ("song.wav", b"sound")}
        by_page = await http.post("/files", files=files, headers={"Origin": "https://evil.example"})
        by_name = await http.post("/files", files=files, headers={"Host": "evil.example"})
        assert not settings.output_dir.exists()
        by_program = await http.post("/files", files=files)
    assert [by_page.status_code, by_name.status_code, by_program.status_code] == [403, 421, 201]
    assert [each.name for each in settings.output_dir.iterdir()] == ["song.wav"]


async def test_nobody_sees_what_others_have_sent(
    serve: Serve, make_song: MakeSong, settings: Settings
) -> None:
    path = make_song("private.wav")
    song = path.read_bytes()
    path.unlink()
    async with serve(http=SHARED) as door:
        assert (await send(door, "private.wav", song)).status_code == 201
        async with asking(door, ALICE) as alice, asking(door, BOB) as bob:
            own = await call(alice, "list_audio")
            others = await call(bob, "list_audio")
            place = settings.reach_of(ALICE).upload_dir / "private.wav"
            unknown = await refused(bob, "analyze_audio", audio="unknown.wav")
            for name in ("private.wav", "private", str(place), f"../{place.parts[-3]}/uploads/private.wav"):
                said = await refused(bob, "analyze_audio", audio=name)
                assert "is not on this server" in said
                assert unlinked(said.replace(name, "unknown.wav")) == unlinked(unknown)
    assert [each["name"] for each in own["files"]] == ["private.wav"]
    assert others["files"] == []
    assert "private.wav" not in files_of(settings, BOB)


def unlinked(words: str) -> str:
    """A refusal without its link, which is another each time."""
    return " ".join(each for each in words.split() if "/drop/" not in each and "/files/" not in each)


def has_begun(settings: Settings, count: int) -> bool:
    """Whether so many files are arriving."""
    return len(uploads(settings)) == count


@pytest.mark.parametrize("is_before", [True, False])
async def test_a_form_that_goes_on_besides_its_file_is_refused(
    serve: Serve, settings: Settings, *, is_before: bool
) -> None:
    field = b'--line\r\nContent-Disposition: form-data; name="x"\r\n\r\n' + b"x" * 100_000 + b"\r\n"
    file = part("song.wav").removesuffix(b"--line--\r\n")
    body = (field + file if is_before else file + field) + b"--line--\r\n"
    async with serve(http=SHARED) as door, calling(door, ALICE) as http:
        answer = await http.post("/files", content=body, headers={"Content-Type": FORM})
    assert (answer.status_code, "besides its file" in answer.text) == (400, True)
    assert uploads(settings) == {}


async def test_each_caller_may_send_so_many_files(
    serve: Serve, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outpaint_mcp.service.uploads._MOST_FILES", 2)
    async with serve(http=SHARED) as door, calling(door, ALICE) as http, calling(door, BOB) as bob:
        codes = [(await send(door, f"{number}.wav")).status_code for number in range(3)]
        assert codes == [201, 201, 413]
        assert (await bob.post("/files?name=song.wav", content=b"sound")).status_code == 201
        assert (await http.delete("/files?name=0.wav")).status_code == 200
        assert (await send(door, "3.wav")).status_code == 201
    assert uploads(settings).keys() == {"1.wav", "3.wav"}
