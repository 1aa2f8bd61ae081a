"""Fetching over TLS from a host of our own on the loopback; DNS is the only thing that is ever stood in for."""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

import pytest
import trustme

from outpaint_mcp.errors import (
    InvalidRequest,
    OutpaintError,
    SourceBusy,
    SourceError,
    SourceNotAllowed,
    SourceTooLarge,
    SourceUnreachable,
    UnsupportedAudio,
)
from outpaint_mcp.sources import fetch, fetch_patiently, is_public_address, transfer

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address
    from pathlib import Path

pytestmark = pytest.mark.anyio

AUDIO = b"RIFF\x00\x00\x00\x00WAVE" + bytes(range(256)) * 2000
Fetched = Callable[..., Awaitable[bytes]]
Refusal = Callable[..., Awaitable[OutpaintError]]
Answer = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def trust(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture(scope="module")
def certificate(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("localhost", "127.0.0.1", "music.example", "rebound.example")


def answer(body: bytes = AUDIO, status: str = "200 OK", length: int | None = None, **headers: str) -> bytes:
    """A whole HTTP answer; `length` is what it says its body has."""
    lines = {"Content-Length": str(len(body) if length is None else length), "Content-Type": "audio/wav"}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    return "\r\n".join([f"HTTP/1.1 {status}", *map(": ".join, lines.items()), "", ""]).encode() + body


def redirect(location: str) -> bytes:
    return answer(b"", "302 Found", Location=location, Set_Cookie="session=1")


@dataclass
class Host:
    """What it answers, path by path, and what it was asked."""

    port: int = 0
    answers: dict[str, Answer] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)

    def url(self, target: str = "/a.wav", name: str = "localhost") -> str:
        return f"https://{name}:{self.port}{target}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.CancelledError, asyncio.IncompleteReadError):
            request = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.requests.append(request)
            path = request.split()[1].partition("?")[0]
            reply = self.answers[path]
            if isinstance(reply, bytes):
                writer.write(reply)
                await writer.drain()
            else:
                await reply(writer)
        writer.close()


@pytest.fixture
async def host(certificate: trustme.LeafCert) -> AsyncIterator[Host]:
    """Listens on 127.0.0.1 alone, with a certificate for a few names."""
    it = Host()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    context.sni_callback = lambda _socket, name, _context: it.names.append(name)
    server = await asyncio.start_server(it.serve, "127.0.0.1", 0, ssl=context)
    it.port = server.sockets[0].getsockname()[1]
    async with server:
        yield it


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    return tmp_path / "source.wav"


def loopback(address: IPv4Address | IPv6Address) -> bool:
    return address.is_loopback


def resolve_to(monkeypatch: pytest.MonkeyPatch, **names: list[str]) -> list[str]:
    """Stand in for DNS: names (with `_` for `.`) to addresses; returns the list of names asked for."""
    asked: list[str] = []

    def getaddrinfo(name: str, port: int, **_: object) -> list[tuple[object, ...]]:
        asked.append(name)
        addresses = names.get(name.replace(".", "_"))
        if addresses is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(0, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


@pytest.fixture
def fetched(trust: ssl.SSLContext, destination: Path) -> Fetched:
    """Fetch what can be had; the file's content, after a look that nothing else is left."""

    async def content(url: str, **options: object) -> bytes:
        await fetch(url, destination, **({"tls": trust, "is_public": loopback} | options))  # type: ignore[arg-type]
        (file,) = destination.parent.iterdir()
        return file.read_bytes()

    return content


@pytest.fixture
def refusal(trust: ssl.SSLContext, destination: Path) -> Refusal:
    """Fetch what cannot be had; the error, after the checks that hold for every one of them."""

    async def refused(url: str, to: Path = destination, **options: object) -> OutpaintError:
        with pytest.raises(OutpaintError) as caught:
            await fetch(url, to, **({"tls": trust, "is_public": loopback} | options))  # type: ignore[arg-type]
        message = str(caught.value)
        assert message.isprintable()
        assert message.endswith(".")
        assert "hunter2" not in message
        assert not list(destination.parent.iterdir()), "nothing is left behind"
        return caught.value

    return refused


@pytest.mark.smoke
async def test_a_file_arrives_whole_and_its_progress_is_told(host: Host, fetched: Fetched) -> None:
    host.answers["/a.wav"] = answer()
    told: list[tuple[int, int | None]] = []
    content = await fetched(host.url("/a.wav?sig=a%2Bb"), on_progress=lambda *step: told.append(step))
    assert content == AUDIO
    assert told == [(transfer.CHUNK_BYTES, len(AUDIO)), (len(AUDIO), len(AUDIO))]


async def test_an_older_file_is_replaced_when_the_new_one_is_there(host: Host, fetched: Fetched) -> None:
    host.answers |= {"/a.wav": answer(b"RIFF\x00 old"), "/b.wav": answer()}
    await fetched(host.url("/a.wav"))
    assert await fetched(host.url("/b.wav")) == AUDIO


async def test_the_request_names_the_host_and_says_nothing_about_the_user(
    host: Host, fetched: Fetched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    host.answers["/a.wav"] = redirect("/b.wav")
    host.answers["/b.wav"] = answer()
    await fetched(host.url("/a.wav?sig=a%2Bb"))
    first, second = host.requests
    assert first.startswith("GET /a.wav?sig=a%2Bb HTTP/1.1\r\n")
    headers = {
        line.partition(": ")[0].lower(): line.partition(": ")[2] for line in second.splitlines()[1:] if line
    }
    assert set(headers) == {"host", "accept", "accept-encoding", "user-agent", "connection"}
    assert headers["host"] == f"localhost:{host.port}"
    assert headers["accept-encoding"] == "identity"
    assert host.names == ["localhost", "localhost"]


async def test_an_address_in_the_link_is_verified_too(host: Host, fetched: Fetched) -> None:
    host.answers["/a.wav"] = answer()
    assert await fetched(host.url(name="127.0.0.1")) == AUDIO


async def test_private_addresses_are_refused_by_default(host: Host, refusal: Refusal) -> None:
    for name in ("localhost", "127.0.0.1", "[::1]"):
        error = await refusal(host.url("/a.wav?hunter2", name), is_public=is_public_address)
        assert type(error) is SourceNotAllowed
    assert host.requests == []
    assert host.names == []


async def test_one_private_address_among_public_ones_is_enough_to_refuse(
    host: Host, refusal: Refusal, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_to(monkeypatch, music_example=["127.0.0.1", "10.0.0.1"])
    assert type(await refusal(host.url(name="music.example"))) is SourceNotAllowed
    assert host.names == []


async def test_dns_is_asked_once_and_the_checked_address_is_the_one_connected_to(
    host: Host, fetched: Fetched, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.answers["/a.wav"] = answer()
    asked = resolve_to(monkeypatch, music_example=["127.0.0.1"])
    assert await fetched(host.url(name="Music.Example.")) == AUDIO
    assert asked == host.names == ["music.example"]


async def test_the_next_address_is_tried_where_one_takes_no_connection(
    host: Host, fetched: Fetched, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.answers["/a.wav"] = answer()
    resolve_to(monkeypatch, music_example=["::1", "127.0.0.1"])
    assert await fetched(host.url(name="music.example")) == AUDIO


async def test_an_unknown_host_is_said(refusal: Refusal, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch)
    error = await refusal("https://nowhere.example/a.wav?hunter2")
    assert type(error) is SourceUnreachable
    assert "nowhere.example cannot be found" in str(error)


async def test_no_connection_is_said(refusal: Refusal) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        error = await refusal(f"https://127.0.0.1:{unused.getsockname()[1]}/a.wav?hunter2")
    assert type(error) is SourceUnreachable
    assert "cannot connect" in str(error)


@pytest.mark.smoke
async def test_a_certificate_has_to_be_for_the_name_and_trusted(
    host: Host, refusal: Refusal, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_to(monkeypatch, other_example=["127.0.0.1"], music_example=["127.0.0.1"])
    for url, options in (
        (host.url(name="other.example"), {}),
        (host.url(name="music.example"), {"tls": ssl.create_default_context()}),
        (host.url(name="music.example"), {"tls": None}),
    ):
        error = await refusal(url, **options)
        assert type(error) is SourceUnreachable
        assert "certificate" in str(error)
    assert host.requests == []


@pytest.mark.smoke
async def test_redirects_are_followed_five_times(host: Host, fetched: Fetched) -> None:
    for step in range(5):
        host.answers[f"/{step}"] = redirect(
            f"{step + 1}" if step % 2 else host.url(f"/{step + 1}", "127.0.0.1")
        )
    host.answers["/5"] = answer()
    assert await fetched(host.url("/0")) == AUDIO
    assert len(host.requests) == 6


async def test_a_redirect_in_a_circle_ends(host: Host, refusal: Refusal) -> None:
    host.answers["/a.wav"] = redirect("?hunter2")
    error = await refusal(host.url())
    assert type(error) is SourceUnreachable
    assert "redirects more than 5 times" in str(error)
    assert len(host.requests) == 6


@pytest.mark.parametrize(
    ("location", "error"),
    [
        ("https://10.0.0.1/a.wav?hunter2", SourceNotAllowed),
        ("https://[::ffff:10.0.0.1]/a.wav", SourceNotAllowed),
        ("https://169.254.169.254/latest/meta-data/", SourceNotAllowed),
        ("//rebound.example/a.wav", SourceNotAllowed),
        ("http://localhost/a.wav?hunter2", SourceNotAllowed),
        ("https://user:hunter2@localhost/a.wav", SourceNotAllowed),
        ("file:///etc/passwd", SourceUnreachable),
        ("https://2130706433/a.wav", SourceUnreachable),
        ("https://localhost\\@10.0.0.1/", SourceUnreachable),
        ("https://[::1/", SourceUnreachable),
        ("https://localhost/\x85", SourceUnreachable),
    ],
)
async def test_every_redirect_is_checked_like_the_first_link(
    location: str, error: type[SourceError], host: Host, refusal: Refusal, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.answers["/a.wav"] = redirect(location)
    addresses = {name: [name.replace("_", ".")] for name in ("10_0_0_1", "169_254_169_254")}
    addresses["::ffff:10_0_0_1"] = addresses["::ffff:a00:1"] = ["::ffff:10.0.0.1"]
    resolve_to(monkeypatch, localhost=["127.0.0.1"], rebound_example=["10.0.0.1"], **addresses)
    assert isinstance(await refusal(host.url()), error)
    assert len(host.requests) == 1


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        ("401 Unauthorized", "pre-signed link"),
        ("403 Forbidden", "pre-signed link"),
        ("404 Not Found", "check the link"),
        ("410 Gone", "check the link"),
        ("429 Too Many Requests", "try again later"),
        ("500 Internal Server Error", "try again later"),
        ("503 Service Unavailable", "try again later"),
        ("204 No Content", "direct link"),
        ("206 Partial Content", "direct link"),
        ("302 Found", "direct link"),
        ("418 <b>hunter2</b>", "direct link"),
    ],
)
async def test_a_failure_is_told_with_its_status_and_what_to_do(
    status: str, advice: str, host: Host, refusal: Refusal
) -> None:
    host.answers["/a.wav"] = answer(b"" if status.startswith("204") else b"hunter2", status)
    error = await refusal(host.url("/a.wav?sig=hunter2"))
    assert type(error) is (SourceBusy if "again" in advice else SourceUnreachable)
    assert f"HTTP {status[:3]}" in str(error)
    assert advice in str(error)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"<!DOCTYPE html><html>", "text/html"),
        (b"<html>", "audio/mpeg"),
        (b"\xef\xbb\xbf\r\n  <!-- hello --><html>", "audio/mpeg"),
        ("\ufeff<html>".encode("utf-16-le"), "audio/mpeg"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "application/octet-stream"),
        (b"Please log in", "text/html; charset=utf-8"),
        (b'{"error": "expired"}', "application/json"),
    ],
)
async def test_a_page_in_place_of_the_file_is_recognised(
    body: bytes, content_type: str, host: Host, refusal: Refusal
) -> None:
    host.answers["/a.wav"] = answer(body, Content_Type=content_type)
    error = await refusal(host.url())
    assert type(error) is UnsupportedAudio
    assert "web page" in str(error)


@pytest.mark.parametrize(
    ("body", "content_type", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "text/plain; charset=utf-8", "a Git LFS pointer"),
        (b"#EXTM3U\nhttps://host/live.mp3\n", "audio/x-mpegurl", "a playlist"),
        (b"PK\3\4" + bytes(99), "application/octet-stream", "a ZIP archive"),
        (b"MThd\0\0\0\6" + bytes(99), "audio/midi", "a MIDI file"),
    ],
)
async def test_what_is_no_recording_is_called_what_it_is_before_all_of_it_is_downloaded(
    body: bytes, content_type: str, words: str, host: Host, refusal: Refusal
) -> None:
    host.answers["/a.wav"] = answer(body, Content_Type=content_type)
    error = await refusal(host.url("/a.wav?sig=hunter2"))
    assert type(error) is UnsupportedAudio
    assert f'/a.wav" is {words}' in str(error)


async def test_audio_that_is_labelled_as_text_is_taken(host: Host, fetched: Fetched) -> None:
    host.answers["/a.wav"] = answer(Content_Type="text/html")
    assert await fetched(host.url()) == AUDIO


async def test_an_empty_file_and_an_encoded_one_are_refused(host: Host, refusal: Refusal) -> None:
    host.answers["/empty"] = answer(b"")
    host.answers["/bomb"] = answer(b"\x1f\x8b" + bytes(100), Content_Encoding="gzip")
    for path, words in (("/empty", "empty"), ("/bomb", "compressed")):
        error = await refusal(host.url(path))
        assert type(error) is UnsupportedAudio
        assert words in str(error)


def chunked(body: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"%x\r\n%b\r\n" % (len(body), body) + end


async def test_the_size_is_bounded_whether_it_is_announced_or_not(
    host: Host, refusal: Refusal, fetched: Fetched
) -> None:
    unbounded = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
    host.answers |= {"/announced": answer(), "/chunked": chunked(AUDIO), "/unbounded": unbounded + AUDIO}
    for path in host.answers:
        error = await refusal(host.url(path), max_bytes=len(AUDIO) - 1)
        assert type(error) is SourceTooLarge
        assert f"{len(AUDIO) - 1:,} bytes" in str(error)
    for path in host.answers:
        assert await fetched(host.url(path), max_bytes=len(AUDIO)) == AUDIO


async def test_an_excess_that_is_announced_is_refused_before_it_is_sent(host: Host, refusal: Refusal) -> None:
    host.answers["/a.wav"] = hanging(answer(b"", length=10**15))
    assert type(await refusal(host.url())) is SourceTooLarge


@pytest.mark.parametrize(
    "reply",
    [
        answer(AUDIO, length=len(AUDIO) + 1),
        chunked(AUDIO, end=b""),
        chunked(AUDIO, end=b"zz\r\n"),
        answer(AUDIO, length=-1),
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n12",
        b"RIFF\x00\x00 this is no HTTP",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000,
        b"",
    ],
)
async def test_a_broken_answer_leaves_nothing(reply: bytes, host: Host, refusal: Refusal) -> None:
    host.answers["/a.wav"] = reply
    error = await refusal(host.url("/a.wav?hunter2"))
    assert type(error) is SourceBusy
    assert "broke off" in str(error)


async def test_no_more_is_taken_than_was_announced(host: Host, fetched: Fetched) -> None:
    host.answers["/a.wav"] = answer(AUDIO, length=100)
    assert await fetched(host.url()) == AUDIO[:100]


def hanging(head: bytes) -> Answer:
    """Send this much and nothing more, for as long as anybody listens."""

    async def reply(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        await writer.drain()
        await asyncio.Event().wait()

    return reply


@pytest.mark.parametrize("head", [b"", answer(b"RIFF", length=100)])
async def test_a_host_that_stops_sending_is_given_up(
    head: bytes, host: Host, refusal: Refusal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "STALL_SECONDS", 0.05)
    host.answers["/a.wav"] = hanging(head)
    error = await refusal(host.url("/a.wav?hunter2"))
    assert type(error) is SourceUnreachable
    assert "stopped sending" in str(error)


def dripping(head: bytes, drop: bytes) -> Answer:
    """Send this, and then the same again and again for as long as anybody listens."""

    async def reply(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(drop)
            await writer.drain()
            await asyncio.sleep(0.001)

    return reply


def ticking(seconds: float) -> Callable[[], float]:
    """A clock on which so much time passes between two looks."""
    return functools.partial(next, itertools.count(0.0, seconds))


async def test_a_host_that_sends_next_to_nothing_is_given_up_and_named_as_slow(
    host: Host, refusal: Refusal
) -> None:
    host.answers["/a.wav"] = dripping(answer(b"RIFF", length=10**6), b"x")
    error = await refusal(host.url("/a.wav?hunter2"), clock=ticking(5))
    assert type(error) is SourceUnreachable
    assert "the host localhost is too slow" in str(error)


async def test_a_slow_host_that_sends_enough_is_waited_for(host: Host, fetched: Fetched) -> None:
    async def reply(writer: asyncio.StreamWriter) -> None:
        writer.write(answer(b"", length=len(AUDIO)))
        for first in range(0, len(AUDIO), 8_000):
            writer.write(AUDIO[first : first + 8_000])
            await writer.drain()

    host.answers["/a.wav"] = reply
    assert await fetched(host.url(), clock=ticking(0.5)) == AUDIO


async def test_an_answer_that_never_begins_is_given_up(
    host: Host, refusal: Refusal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "ANSWER_SECONDS", 0.5)
    host.answers["/a.wav"] = dripping(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
    error = await refusal(host.url("/a.wav?hunter2"))
    assert type(error) is SourceUnreachable
    assert "the host localhost is too slow" in str(error)


async def test_the_time_is_bounded_in_all(host: Host, refusal: Refusal) -> None:
    host.answers["/a.wav"] = hanging(answer(b"RIFF", length=100))
    error = await refusal(host.url("/a.wav?hunter2"), timeout_seconds=0.1)
    assert type(error) is SourceUnreachable
    assert "longer than 0.1 s" in str(error)


async def test_a_cancelled_fetch_leaves_nothing(host: Host, trust: ssl.SSLContext, destination: Path) -> None:
    host.answers["/a.wav"] = hanging(answer(bytes(transfer.CHUNK_BYTES), length=10**6))
    begun = asyncio.Event()
    fetching = asyncio.create_task(
        fetch(host.url(), destination, tls=trust, is_public=loopback, on_progress=lambda *_: begun.set())
    )
    await begun.wait()
    assert [path.name for path in destination.parent.iterdir()] == [f"source.wav.{os.getpid()}.part"]
    fetching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fetching
    assert not list(destination.parent.iterdir())


async def test_a_file_that_cannot_be_written_is_said(host: Host, refusal: Refusal, destination: Path) -> None:
    host.answers["/a.wav"] = answer()
    for to in (destination / "gone" / "a.wav", destination.with_name("x" * 255)):
        error = await refusal(host.url("/a.wav?hunter2"), to)
        assert type(error) is SourceError
        assert "could not be written" in str(error)


async def test_the_link_itself_is_checked_before_anything_else(refusal: Refusal) -> None:
    assert type(await refusal("http://localhost/?hunter2")) is SourceNotAllowed
    assert type(await refusal("https://user:hunter2@localhost/")) is SourceNotAllowed
    assert type(await refusal("/music/a.wav")) is InvalidRequest


async def test_no_log_at_any_level_holds_a_query_or_a_header(
    host: Host, fetched: Fetched, caplog: pytest.LogCaptureFixture
) -> None:
    host.answers |= {"/a.wav": redirect("/b.wav?sig=hunter2"), "/b.wav": answer(X_Secret="hunter2")}
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("httpx.check").warning("heard")
        assert await fetched(host.url("/a.wav?sig=hunter2")) == AUDIO
    assert "heard" in caplog.text
    assert "hunter2" not in caplog.text


async def test_the_host_names_the_file(host: Host, trust: ssl.SSLContext, destination: Path) -> None:
    named = answer(Content_Disposition="attachment; filename=\"x.wav\"; filename*=UTF-8''%C3%BCbung.wav")
    host.answers |= {"/a": redirect("/b"), "/b": named, "/c": answer()}
    assert await fetch(host.url("/a"), destination, tls=trust, is_public=loopback) == "übung"
    assert await fetch(host.url("/c"), destination, tls=trust, is_public=loopback) is None


@dataclass
class Patience:
    """Fetches patiently, and writes down the pauses instead of making them."""

    host: Host
    trust: ssl.SSLContext
    destination: Path
    pauses: list[float] = field(default_factory=list)

    async def fetch(self, *replies: bytes) -> str | None:
        """Have the host give these answers in turn, the last for ever."""
        left = iter(replies)

        async def reply(writer: asyncio.StreamWriter) -> None:
            writer.write(next(left, replies[-1]))
            await writer.drain()

        async def sleep(seconds: float) -> None:
            self.pauses.append(seconds)

        self.host.answers["/a.wav"] = reply
        url = self.host.url("/a.wav?sig=hunter2")
        options = {"tls": self.trust, "is_public": loopback}
        return await fetch_patiently(fetch, url, self.destination, sleep=sleep, **options)


@pytest.fixture
def patience(host: Host, trust: ssl.SSLContext, destination: Path) -> Patience:
    return Patience(host, trust, destination)


@pytest.mark.parametrize(
    "status", ["429 Too Many Requests", "503 Service Unavailable", "500 Oops", "408 Late"]
)
async def test_a_host_that_is_busy_is_asked_again(status: str, patience: Patience) -> None:
    await patience.fetch(answer(b"", status), answer(b"", status), answer())
    assert patience.destination.read_bytes() == AUDIO
    assert patience.pauses == [1, 4]


async def test_a_transfer_that_broke_off_is_begun_again(patience: Patience) -> None:
    await patience.fetch(answer(AUDIO, length=len(AUDIO) + 1), answer())
    assert patience.destination.read_bytes() == AUDIO
    assert patience.pauses == [1]


async def test_a_busy_host_is_left_alone_for_as_long_as_it_asks(patience: Patience) -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=15.5), usegmt=True)
    busy = [answer(b"", "429 Slow", Retry_After=after) for after in ("7", later, "nonsense")]
    await patience.fetch(*busy, answer())
    first, second, third = patience.pauses
    assert (first, third) == (7, 15)
    assert 4 <= second <= 16


async def test_a_host_that_stays_busy_is_asked_four_times_and_then_told(patience: Patience) -> None:
    with pytest.raises(SourceBusy, match="HTTP 503: the host is busy or in trouble; try again later"):
        await patience.fetch(answer(b"", "503 Busy"))
    assert len(patience.host.requests) == 4
    assert patience.pauses == [1, 4, 15]
    assert not list(patience.destination.parent.iterdir())


@pytest.mark.parametrize("after", ["21", "3600", "9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT"])
async def test_a_host_that_wants_a_long_rest_is_not_asked_again(after: str, patience: Patience) -> None:
    with pytest.raises(SourceBusy, match="HTTP 429"):
        await patience.fetch(answer(b"", "429 Slow", Retry_After=after))
    assert patience.pauses == []


@pytest.mark.parametrize(
    "reply", [answer(b"", "404 Gone"), answer(b"", "403 No"), answer(b"<html>"), answer(b"")]
)
async def test_what_another_try_does_not_mend_is_not_tried_again(reply: bytes, patience: Patience) -> None:
    with pytest.raises(SourceError):
        await patience.fetch(reply)
    assert patience.pauses == []
    assert len(patience.host.requests) == 1


HANGING_LOOKUP = """
import asyncio, pathlib, socket, sys, threading
from outpaint_mcp.sources import fetch

socket.getaddrinfo = lambda *_args, **_options: threading.Event().wait()

async def give_up():
    try:
        async with asyncio.timeout(0.1):
            await fetch("https://music.example/a.wav", pathlib.Path(sys.argv[1]))
    except TimeoutError:
        print("gave up")

asyncio.run(give_up())
"""


def test_a_lookup_that_hangs_keeps_no_process_from_ending(destination: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HANGING_LOOKUP, destination],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "gave up\n", "")


async def test_the_loop_goes_on_while_a_disk_is_slow(
    host: Host, fetched: Fetched, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.answers["/a.wav"] = answer()
    loop, own_thread, blocking = asyncio.get_running_loop(), threading.get_ident(), set[int]()
    for name in ("add", "keep", "drop"):
        plain = getattr(transfer._Part, name)

        def slow(part: object, *chunk: bytes, plain: Callable[..., None] = plain) -> None:
            blocking.add(threading.get_ident())
            asyncio.run_coroutine_threadsafe(
                asyncio.sleep(0), loop
            ).result()  # the loop has to turn meanwhile
            plain(part, *chunk)

        monkeypatch.setattr(transfer._Part, name, slow)
    assert await fetched(host.url()) == AUDIO
    assert blocking
    assert own_thread not in blocking
