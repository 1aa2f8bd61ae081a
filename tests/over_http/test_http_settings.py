"""What the server is started with over HTTP: strangers reach it only where it knows who calls."""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from outpaint_mcp.errors import ConfigError
from outpaint_mcp.server.http.api_keys import PREFIX, VARIABLE, ApiKeys
from outpaint_mcp.server.http.settings import LOOPBACK_HOSTS, LOOPBACK_ORIGINS, HttpSettings

if TYPE_CHECKING:
    from pathlib import Path

KEY = PREFIX + "k" * 43
HASH = hashlib.sha256(KEY.encode()).hexdigest()
KEYS = {VARIABLE: f"alice={HASH}"}
ISSUER = {"OUTPAINT_OAUTH_ISSUER": "https://issuer.example"}
PUBLIC = {"OUTPAINT_PUBLIC_URL": "https://outpaint.example.org/"}
NAMES: dict[str, Any] = {"hosts": ["outpaint.example.org"], "origins": ["https://outpaint.example.org"]}


def read(env: dict[str, str], **options: Any) -> HttpSettings:  # noqa: ANN401 - as `from_env` takes them
    return HttpSettings.from_env(env, **options)


def test_alone_on_this_machine_nothing_is_needed() -> None:
    for host in ("127.0.0.1", "localhost", "::1"):
        settings = read({}, host=host)
        assert (settings.hosts, settings.origins) == (LOOPBACK_HOSTS, LOOPBACK_ORIGINS)
        assert not settings.knows_callers


def test_keys_are_asked_for_on_loopback_where_they_are_set() -> None:
    assert read(KEYS).knows_callers
    assert read(ISSUER).knows_callers


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "127.0.0.2", "outpaint.example.org", ""])
@pytest.mark.parametrize(
    "env", [KEYS, ISSUER | PUBLIC, KEYS | ISSUER | PUBLIC], ids=["keys", "OAuth", "both"]
)
def test_others_are_let_in_by_name_and_where_they_are_known(host: str, env: dict[str, str]) -> None:
    settings = read(env, host=host, **NAMES)
    assert settings.knows_callers
    assert settings.hosts == ("outpaint.example.org",)
    assert settings.origins == ("https://outpaint.example.org",)


WITHOUT: list[tuple[dict[str, str], dict[str, Any], list[str]]] = [
    ({}, {}, ["--allow-host", "--allow-origin", VARIABLE, "OUTPAINT_OAUTH_ISSUER", "loopback"]),
    (KEYS, {}, ["--allow-host", "--allow-origin"]),
    (KEYS, {"hosts": NAMES["hosts"]}, ["--allow-origin"]),
    (KEYS, {"origins": NAMES["origins"]}, ["--allow-host"]),
    ({}, NAMES, [VARIABLE]),
    (ISSUER, NAMES, ["OUTPAINT_PUBLIC_URL"]),
    ({}, NAMES | {"no_key": True}, [VARIABLE]),
    (KEYS, NAMES | {"no_key": True}, ["--no-key"]),
]


@pytest.mark.parametrize(("env", "options", "words"), WITHOUT)
@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.2"])
def test_otherwise_it_does_not_start_and_says_what_is_missing(
    host: str, env: dict[str, str], options: dict[str, Any], words: list[str]
) -> None:
    # A loopback address that has another name is reached by others, too: through a proxy.
    for each in (host, "127.0.0.1") if options else (host,):
        with pytest.raises(ConfigError) as refused:
            read(env, host=each, **options)
        assert [word for word in words if word not in str(refused.value)] == []


@pytest.mark.parametrize("env", [KEYS, ISSUER])
def test_no_key_contradicts_keys(env: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="--no-key"):
        read(env, no_key=True)


@pytest.mark.parametrize(
    ("env", "name"),
    [
        ({"OUTPAINT_OAUTH_ISSUER": "issuer.example"}, "OUTPAINT_OAUTH_ISSUER"),
        ({"OUTPAINT_OAUTH_ISSUER": "http://issuer.example"}, "plain http"),
        ({"OUTPAINT_OAUTH_ISSUER": "https://user:secret@issuer.example"}, "OUTPAINT_OAUTH_ISSUER"),
        ({"OUTPAINT_OAUTH_ISSUER": "https://issuer.example?x=secret"}, "OUTPAINT_OAUTH_ISSUER"),
        ({"OUTPAINT_OAUTH_ISSUER": "https://issuer.example:port"}, "OUTPAINT_OAUTH_ISSUER"),
        (ISSUER | {"OUTPAINT_OAUTH_JWKS_URL": "http://issuer.example/keys"}, "plain http"),
        (ISSUER | {"OUTPAINT_OAUTH_SCOPES": 'music "read"'}, "OUTPAINT_OAUTH_SCOPES"),
        ({"OUTPAINT_OAUTH_AUDIENCE": "x"}, "OUTPAINT_OAUTH_ISSUER"),
        ({"OUTPAINT_OAUTH_JWKS_URL": "https://issuer.example/keys"}, "OUTPAINT_OAUTH_ISSUER"),
        ({"OUTPAINT_PUBLIC_URL": "outpaint.example.org"}, "OUTPAINT_PUBLIC_URL"),
        ({"OUTPAINT_PUBLIC_URL": 'https://host/"'}, "OUTPAINT_PUBLIC_URL"),
        ({"OUTPAINT_PUBLIC_URL": "ftp://host/"}, "OUTPAINT_PUBLIC_URL"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_and_not_repeated(env: dict[str, str], name: str) -> None:
    with pytest.raises(ConfigError, match=name) as refused:
        read(env)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "name", ["*", "https://x.example", "x.example/mcp", "a b", "x.example:", "-x", "x:*"]
)
def test_a_host_is_a_name(name: str) -> None:
    with pytest.raises(ConfigError, match="--allow-host"):
        read(KEYS, hosts=[name], origins=NAMES["origins"])


@pytest.mark.parametrize(
    "name", ["*", "null", "x.example", "https://x.example/", "https://*.x.example", "file://"]
)
def test_an_origin_is_one(name: str) -> None:
    with pytest.raises(ConfigError, match="--allow-origin"):
        read(KEYS, hosts=NAMES["hosts"], origins=[name])


def test_settings_are_read_as_they_are_meant() -> None:
    settings = read(
        KEYS
        | PUBLIC
        | ISSUER
        | {"OUTPAINT_OAUTH_AUDIENCE": "api://outpaint", "OUTPAINT_OAUTH_SCOPES": " music  read "},
        hosts=["Outpaint.example.org", "192.0.2.7:8000", "[2001:db8::7]"],
        origins=["https://Outpaint.example.org", "http://192.0.2.7:*"],
    )
    assert settings.hosts == ("outpaint.example.org", "192.0.2.7:8000", "[2001:db8::7]")
    assert settings.origins == ("https://outpaint.example.org", "http://192.0.2.7:*")
    assert settings.mcp_url == "https://outpaint.example.org/mcp"
    assert settings.oauth is not None
    assert settings.oauth.issuer == "https://issuer.example"
    assert (settings.oauth.audience, settings.oauth.scopes) == ("api://outpaint", ("music", "read"))


def test_the_secret_is_not_shown_by_accident() -> None:
    assert KEY not in repr(HttpSettings(secret=KEY))


@pytest.mark.parametrize(
    "text",
    [
        f"alice={KEY}",
        "alice",
        f"={HASH}",
        f"Alice={HASH}",
        f"a b={HASH}",
        f"../x={HASH}",
        f"{'a' * 65}={HASH}",
        f"alice={HASH[:-1]}",
        f"alice={HASH}0",
        f"alice={HASH};expires=2027-02-30",
        f"alice={HASH};expires=soon",
        f"alice={HASH};EXPIRES=2027-01-01",
        f"bob={HASH},alice={KEY}",
    ],
)
def test_an_entry_that_is_none_is_refused_without_what_is_in_it(text: str) -> None:
    with pytest.raises(ConfigError, match=VARIABLE) as refused:
        ApiKeys(text)
    assert "k" * 43 not in str(refused.value)
    assert HASH[:-1] not in str(refused.value)


def test_a_key_is_good_to_the_end_of_its_last_day() -> None:
    today = datetime.now(UTC).date()  # midnight may pass in between
    days = {offset: f"alice={HASH};expires={today + timedelta(days=offset)}" for offset in (-1, 1, 365)}
    found = {offset: ApiKeys(text).find(KEY.encode()) for offset, text in days.items()}
    assert {offset: each is not None and each.has_expired for offset, each in found.items()} == {
        -1: True,
        1: False,
        365: False,
    }


def test_a_name_may_have_two_keys_for_as_long_as_one_replaces_the_other() -> None:
    other = hashlib.sha256(b"other").hexdigest().upper()
    keys = ApiKeys(f"alice={HASH}, alice={other}, ")
    assert [each.name for each in (keys.find(KEY.encode()), keys.find(b"other")) if each] == ["alice"] * 2
    assert keys.find(b"") is keys.find(HASH.encode()) is None


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(f"# whose keys\n\nalice={HASH}\n")
    path.chmod(0o600)
    return path


def test_a_file_has_a_line_for_each_and_is_read_again_when_it_changes(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keys = ApiKeys(f"@{file}")

    def name() -> str | None:
        found = keys.find(KEY.encode())
        return None if found is None else found.name

    assert name() == "alice"
    file.write_text(f"bob={HASH}\n")
    assert name() == "bob"
    file.write_text(f"nonsense {KEY}\ncarol={HASH}\n")
    assert name() == "carol"
    file.unlink()
    assert name() is None
    assert not keys
    file.write_text(f"alice={HASH}\n")
    file.chmod(0o600)
    assert name() == "alice"
    assert KEY not in caplog.text
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]


@pytest.mark.skipif(os.name == "nt", reason="modes of files are POSIX")
def test_a_file_that_others_can_write_lets_nobody_in(file: Path) -> None:
    keys = ApiKeys(f"@{file}")
    file.chmod(0o666)
    file.write_text(f"mallory={HASH}\n")
    assert keys.find(KEY.encode()) is None
    with pytest.raises(ConfigError, match="chmod 600"):
        ApiKeys(f"@{file}")


@pytest.mark.parametrize("what", ["missing", "a folder", "relative", "not text"])
def test_a_file_that_cannot_be_read_stops_the_start(what: str, file: Path, tmp_path: Path) -> None:
    file.write_bytes(b"\xff\xfe")
    text = {
        "missing": f"@{tmp_path / 'none'}",
        "a folder": f"@{tmp_path}",
        "relative": "@keys",
        "not text": f"@{file}",
    }[what]
    with pytest.raises(ConfigError, match=VARIABLE):
        ApiKeys(text)


def test_without_any_key_nobody_could_call(file: Path) -> None:
    file.write_text("# none yet\n")
    with pytest.raises(ConfigError, match="keys add"):
        read({VARIABLE: f"@{file}"})
    assert read({VARIABLE: f"@{file}"} | ISSUER).knows_callers


@pytest.mark.parametrize(
    ("hosts", "address", "public", "expected"),
    [
        ([], "127.0.0.1", {}, "http://127.0.0.1:8000/mcp"),
        ([], "::1", {}, "http://[::1]:8000/mcp"),
        (["outpaint.local"], "0.0.0.0", {}, "http://outpaint.local:8000/mcp"),
        (["192.0.2.7:80", "x"], "0.0.0.0", {}, "http://192.0.2.7:80/mcp"),
        (["[2001:db8::7]"], "::", {}, "http://[2001:db8::7]:8000/mcp"),
        (["outpaint.local"], "0.0.0.0", PUBLIC, "https://outpaint.example.org/mcp"),
    ],
)
def test_callers_are_given_a_url_that_leads_there(
    hosts: list[str], address: str, public: dict[str, str], expected: str
) -> None:
    settings = read(KEYS | public, hosts=hosts, origins=NAMES["origins"] if hosts else ())
    assert settings.named_after(address, 8000).mcp_url == expected
