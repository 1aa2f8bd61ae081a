"""A bucket over real sockets: an S3 server on the loopback; for the other clouds, what is signed offline."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import traceback
from contextlib import contextmanager
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.fakes.bucket import ACCESS_KEY_ID, SECRET_ACCESS_KEY, LoopbackBucket

from outpaint_mcp.config.environment import parse_upload
from outpaint_mcp.errors import ConfigError, SourceNotHosted
from outpaint_mcp.providers.remote.bucket import Bucket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Make = Callable[[bytes], Path]

pytestmark = pytest.mark.anyio

AUDIO = b"fLaC" + bytes(range(256)) * 40
SIGNATURE = "5f1c0ffee5f1c0ffee"
REFUSAL = (
    f"<Error><Code>SignatureDoesNotMatch</Code><AWSAccessKeyId>{ACCESS_KEY_ID}</AWSAccessKeyId>"
    f"<SignatureProvided>{SIGNATURE}</SignatureProvided></Error>"
).encode()
NEVER_SHOWN = (ACCESS_KEY_ID, SECRET_ACCESS_KEY, SIGNATURE, "X-Amz-", "X-Goog-", "sig=", "PRIVATE")


@pytest.fixture(scope="module")
def loopback() -> Iterator[LoopbackBucket]:
    with LoopbackBucket() as there:
        yield there


@pytest.fixture(autouse=True)
def no_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the machine that the tests run on."""
    for name in os.environ:
        if name.startswith(("AWS_", "GOOGLE_", "AZURE_")):
            monkeypatch.delenv(name)


@pytest.fixture
def bucket(loopback: LoopbackBucket, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    use(loopback.environment, monkeypatch)
    return Bucket(loopback.url)


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Writes a file of these bytes."""

    def write(content: bytes) -> Path:
        path = tmp_path / f"{len(content)} Bytes & mehr.flac"
        path.write_bytes(content)
        return path

    return write


@pytest.fixture
def song(make: Make) -> Path:
    return make(AUDIO)


def use(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


async def get(link: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(link)


async def refusal(bucket: Bucket, path: Path, name: str = "a.flac") -> str:
    """What `put` says, after a look at everything that a traceback of it would show."""
    async with asyncio.timeout(10):
        with pytest.raises(SourceNotHosted) as caught:
            await bucket.put(path, name, media_type="audio/flac")
    shown = "".join(traceback.format_exception(caught.value))
    assert not [secret for secret in NEVER_SHOWN if secret in shown]
    return str(caught.value)


@contextmanager
def host_that_answers(status: int, body: bytes) -> Iterator[str]:
    """The address of a host with one answer to everything."""

    class Answer(BaseHTTPRequestHandler):
        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline()
            if self.raw_requestline and self.parse_request():
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Not to stderr."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


async def test_the_link_gives_the_file_to_anyone_as_often_as_asked(
    bucket: Bucket, loopback: LoopbackBucket, song: Path
) -> None:
    link = await bucket.put(song, "req_1.flac", media_type="audio/flac")
    for _ in range(3):
        answer = await get(link)
        assert (answer.status_code, answer.content) == (200, AUDIO)
        assert answer.headers["content-type"] == "audio/flac"
    query = parse_qs(urlsplit(link).query)
    assert query["X-Amz-Expires"] == ["86400"]
    assert query["X-Amz-SignedHeaders"] == ["host"]
    assert SECRET_ACCESS_KEY not in link
    assert "outpaint/sources/req_1.flac" in loopback.names()


async def test_an_object_that_is_removed_is_gone_and_one_that_is_gone_is_fine(
    bucket: Bucket, loopback: LoopbackBucket, song: Path, caplog: pytest.LogCaptureFixture
) -> None:
    link = await bucket.put(song, "brief.flac", media_type="audio/flac")
    await bucket.remove("brief.flac")
    await bucket.remove("brief.flac")
    assert (await get(link)).status_code == 404
    assert "outpaint/sources/brief.flac" not in loopback.names()
    assert not caplog.records


async def test_one_of_the_same_name_is_replaced(bucket: Bucket, song: Path, make: Make) -> None:
    await bucket.put(make(b"other"), "twice.flac", media_type="audio/flac")
    assert (await get(await bucket.put(song, "twice.flac", media_type="audio/flac"))).content == AUDIO


@pytest.mark.parametrize(
    ("prefix", "key"),
    [("", "a.flac"), ("/", "a.flac"), ("/p", "p/a.flac"), ("/p/", "p/a.flac"), ("//p//q=1/", "p/q=1/a.flac")],
)
@pytest.mark.usefixtures("bucket")
async def test_a_prefix_may_have_slashes_around_it(
    loopback: LoopbackBucket, song: Path, prefix: str, key: str
) -> None:
    others = set(loopback.names())
    bucket = Bucket(loopback.url.removesuffix("/outpaint/sources") + prefix)
    link = await bucket.put(song, "a.flac", media_type="audio/flac")
    assert set(loopback.names()) - others == {key}
    assert (await get(link)).content == AUDIO
    await bucket.remove("a.flac")
    assert set(loopback.names()) == others


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
async def test_a_large_file_goes_in_parts_and_never_into_memory(
    loopback: LoopbackBucket, song: Path, make: Make
) -> None:
    content = os.urandom(1024) * 1024 * 40
    script = """
import asyncio, pathlib, re, sys
from outpaint_mcp.providers.remote.bucket import Bucket
def peak_kilobytes():
    return int(re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1])
async def main():
    bucket = Bucket(sys.argv[1])
    await bucket.put(pathlib.Path(sys.argv[2]), "small.wav", media_type="audio/wav")
    before = peak_kilobytes()
    link = await bucket.put(pathlib.Path(sys.argv[3]), "large.wav", media_type="audio/wav")
    print(peak_kilobytes() - before, link)
asyncio.run(main())
"""
    command = [sys.executable, "-c", script, loopback.url, str(song), str(make(content))]
    done = await asyncio.to_thread(
        subprocess.run,
        command,
        env=os.environ | loopback.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    grown_kilobytes, link = done.stdout.split()
    assert int(grown_kilobytes) < 25 * 1024
    answer = await get(link)
    assert answer.content == content
    assert answer.headers["content-type"] == "audio/wav"
    assert answer.headers["etag"].endswith('-8"')  # how many parts it came in


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", "a b", "a?b", "ä.flac", "a\n"])
async def test_a_name_that_would_have_to_be_quoted_is_a_mistake(
    bucket: Bucket, song: Path, name: str
) -> None:
    with pytest.raises(ValueError, match="no name for an object"):
        await bucket.put(song, name, media_type="audio/flac")
    with pytest.raises(ValueError, match="no name for an object"):
        await bucket.remove(name)


@pytest.mark.usefixtures("bucket")
async def test_a_bucket_that_is_not_there_is_told(song: Path) -> None:
    said = await refusal(Bucket("s3://no-such-bucket/p"), song)
    assert '"s3://no-such-bucket" is not there (404 Not Found, NoSuchBucket)' in said
    assert "OUTPAINT_UPLOAD" in said
    assert "AWS_ENDPOINT_URL" in said


@pytest.mark.usefixtures("bucket")
async def test_a_key_that_nobody_knows_is_told(loopback: LoopbackBucket, song: Path) -> None:
    loopback.check_keys(known=False)
    try:
        said = await refusal(Bucket(loopback.url), song)
    finally:
        loopback.check_keys(known=True)
    assert "refused (403 Forbidden, InvalidAccessKeyId)" in said
    assert "AWS_SECRET_ACCESS_KEY" in said


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (403, REFUSAL, "refused (403 Forbidden, SignatureDoesNotMatch): check AWS_ACCESS_KEY_ID"),
        (401, b"", "refused (401 Unauthorized): check AWS_ACCESS_KEY_ID"),
        (
            400,
            b"<Code>InvalidRequest</Code>",
            "could not do it (400 Bad Request, InvalidRequest): check AWS_END",
        ),
        (503, b"<Code>SlowDown</Code>", "could not do it (503 Service Unavailable, SlowDown): check AWS_END"),
    ],
)
async def test_a_refusal_is_told_without_what_it_says_of_the_key(  # noqa: PLR0913  three to compare
    bucket: Bucket,
    song: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    status: int,
    body: bytes,
    expected: str,
) -> None:
    with host_that_answers(status, body) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", address)
        assert expected in await refusal(bucket, song)
        await bucket.remove("a.flac")
    (record,) = [each for each in caplog.records if each.name.startswith("outpaint_mcp")]
    assert record.levelno == logging.WARNING
    assert expected in record.getMessage()
    assert "a.flac stays in" in record.getMessage()
    assert not [secret for secret in NEVER_SHOWN if secret in caplog.text]


async def test_an_endpoint_that_is_down_is_told(
    bucket: Bucket, song: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{port}")
    said = await refusal(bucket, song)
    assert said.startswith("127.0.0.1 does not answer")
    assert "AWS_ENDPOINT_URL" in said
    await bucket.remove("a.flac")
    assert "a.flac stays in" in caplog.text


@pytest.mark.parametrize("size", [10, 6 * 1024**2], ids=["whole", "in parts"])
@pytest.mark.usefixtures("bucket")
async def test_an_endpoint_that_never_answers_is_given_up_after_one_request(
    loopback: LoopbackBucket, make: Make, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    song = make(bytes(size))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{silent.getsockname()[1]}")
        said = await refusal(Bucket(loopback.url, connect_seconds=0.5, part_seconds=0.5), song)
    assert "127.0.0.1 does not answer" in said


async def test_an_upload_that_is_cancelled_ends_at_once(
    bucket: Bucket, song: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{silent.getsockname()[1]}")
        upload = asyncio.create_task(bucket.put(song, "a.flac", media_type="audio/flac"))
        connection, _ = await asyncio.to_thread(silent.accept)
        upload.cancel()
        async with asyncio.timeout(10):
            with pytest.raises(asyncio.CancelledError):
                await upload
        connection.close()


@pytest.mark.usefixtures("bucket")
async def test_plain_http_is_only_spoken_with_the_loopback(
    loopback: LoopbackBucket, song: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://storage.invalid:9000")
    said = await refusal(Bucket(loopback.url), song)
    assert "plain http at storage.invalid" in said
    assert "AWS_ALLOW_HTTP=true" in said
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    assert "storage.invalid does not answer" in await refusal(Bucket(loopback.url, part_seconds=3), song)


async def test_without_a_key_nothing_can_be_signed(song: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with host_that_answers(404, b"") as address:
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", address)  # instead of the machine's own role
        said = await refusal(Bucket("s3://music/p"), song)
    assert said.startswith('No link to "s3://music" can be signed: set AWS_ACCESS_KEY_ID')


@pytest.mark.parametrize("endpoint", ["", "${user_config.endpoint}", "storage.example"])
async def test_an_endpoint_that_is_no_address_is_told(
    bucket: Bucket, song: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    assert "check AWS_ENDPOINT_URL" in await refusal(bucket, song)


async def test_a_file_that_cannot_be_read_is_told(bucket: Bucket, tmp_path: Path) -> None:
    for path in (tmp_path / "gone.wav", tmp_path):
        assert "cannot be read on this machine" in await refusal(bucket, path)


async def test_without_obstore_the_extra_is_named(
    bucket: Bucket, song: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    words = 'run pip install ".[upload]" in the checkout of outpaint-mcp'
    assert words in await refusal(bucket, song)
    await bucket.remove("a.flac")
    assert words in caplog.text


def test_obstore_is_not_loaded_before_its_first_use() -> None:
    script = (
        "import sys; from outpaint_mcp.config.environment import parse_upload\n"
        "from outpaint_mcp.providers.remote.bucket import Bucket\n"
        "parse_upload('gs://b/p'); Bucket('s3://b/p'); sys.exit('obstore' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.smoke
async def test_at_amazon_the_link_is_https_and_has_the_bucket_in_its_path(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY}
    use(keys | {"AWS_DEFAULT_REGION": "eu-central-1"}, monkeypatch)
    _, link = await Bucket("s3://my.music/p")._signed("a.flac")
    assert link.startswith("https://s3.eu-central-1.amazonaws.com/my.music/p/a.flac?")


async def test_at_google_a_service_account_signs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {
        "type": "service_account",
        "private_key_id": "1",
        "private_key": key.decode(),
        "client_email": "music@example.iam.gserviceaccount.com",
        "client_id": "1",
    }
    path = tmp_path / "account.json"
    path.write_text(json.dumps(account), encoding="utf-8")
    for variable in ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SERVICE_ACCOUNT"):
        with monkeypatch.context() as patch:
            patch.setenv(variable, str(path))
            _, link = await Bucket("gs://music/p/")._signed("a.flac")
        address = urlsplit(link)
        assert (address.scheme, address.hostname) == ("https", "storage.googleapis.com")
        assert address.path == "/music/p/a.flac"
        query = parse_qs(address.query)
        assert query["X-Goog-Expires"] == ["86400"]
        assert query["X-Goog-SignedHeaders"] == ["host"]
        assert len(query["X-Goog-Signature"][0]) == 512


async def test_at_google_a_key_file_that_is_missing_is_told(
    song: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", "/nowhere/account.json")
    said = await refusal(Bucket("gs://music/p"), song)
    assert said.startswith('No link to "gs://music" can be signed')
    assert "key file of a service account" in said


@pytest.mark.smoke
async def test_at_azure_an_account_key_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    key = base64.b64encode(bytes(64)).decode()
    use({"AZURE_STORAGE_ACCOUNT_NAME": "studio", "AZURE_STORAGE_ACCOUNT_KEY": key}, monkeypatch)
    _, link = await Bucket("az://music/p")._signed("a.flac")
    address = urlsplit(link)
    assert (address.scheme, address.hostname) == ("https", "studio.blob.core.windows.net")
    assert address.path == "/music/p/a.flac"
    query = parse_qs(address.query)
    lives = datetime.fromisoformat(query["se"][0]) - datetime.fromisoformat(query["st"][0])
    assert lives == timedelta(hours=24)
    assert query["sp"] == ["r"]
    assert query["sr"] == ["b"]


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"AZURE_STORAGE_ACCOUNT_NAME": "studio", "AZURE_STORAGE_SAS_TOKEN": f"sv=2023&sig={SIGNATURE}"},
        {"AZURE_STORAGE_ACCOUNT_NAME": "studio", "AZURE_STORAGE_ACCOUNT_KEY": f"no base64: {SIGNATURE}"},
    ],
    ids=["nothing", "sas", "bad key"],
)
async def test_at_azure_anything_but_a_key_is_told(
    song: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    use(environment, monkeypatch)
    said = await refusal(Bucket("az://music/p"), song)
    assert "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY; a SAS token cannot sign" in said


@pytest.mark.parametrize(
    "url", ["s3://b", "s3://b/", "s3://my.music/a/b=c/", "gs://under_score/p", "az://c/p"]
)
def test_a_bucket_and_a_prefix_are_taken(url: str) -> None:
    parse_upload(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "bucket/p",
        "s3:bucket",
        "s3://",
        "s3:///p",
        "file:///tmp",
        "https://s3.amazonaws.com/b",
        f"s3://{ACCESS_KEY_ID}:{SECRET_ACCESS_KEY}@bucket/p",
        f"{ACCESS_KEY_ID}:{SECRET_ACCESS_KEY}@bucket",
        "s3://localhost:9000/b",
        f"s3://bucket/p?sig={SIGNATURE}",
        "s3://bucket/p#top",
        "s3://bucket/../other",
        "s3://bucket/./p",
        "s3://bucket/a b",
        "s3://bucket/p\n",
        "${user_config.upload}",
    ],
)
def test_anything_else_is_refused_at_start_up_without_being_shown(url: str) -> None:
    for take in (parse_upload, Bucket):
        with pytest.raises(ConfigError, match="OUTPAINT_UPLOAD has to be s3://BUCKET/PREFIX") as caught:
            take(url)
        assert not [secret for secret in NEVER_SHOWN if secret in str(caught.value)]
