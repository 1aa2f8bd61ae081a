"""Access tokens: only those that the one issuer has signed for this server, and that are good now."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from tests.fakes.issuer import AUDIENCE, FakeIssuer, rsa_key
from tests.waiting import Clock

from outpaint_mcp.principals import PERSON, Principal
from outpaint_mcp.server.http import issuer_keys
from outpaint_mcp.server.http.access_tokens import AccessTokens, InvalidToken, MissingScopes
from outpaint_mcp.server.http.issuer_keys import IssuerKeys, IssuerUnavailable
from outpaint_mcp.server.http.settings import OAuth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.fakes.issuer import Mood

pytestmark = pytest.mark.anyio


@pytest.fixture
def issuer() -> Iterator[FakeIssuer]:
    with FakeIssuer() as running:
        yield running
    assert running.violations == []


def tokens_of(issuer: FakeIssuer, *scopes: str, **more: str) -> AccessTokens:
    return AccessTokens(OAuth(issuer=issuer.url, scopes=scopes, **more), AUDIENCE)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_a_good_one_says_who_calls(issuer: FakeIssuer, algorithm: str) -> None:
    caller = await tokens_of(issuer).identify(issuer.token(algorithm))
    assert caller == Principal(client="editor", issuer=issuer.url, subject="user-7")
    assert caller.is_remote


@pytest.mark.parametrize(
    ("claims", "client"),
    [({"client_id": None}, ""), ({"client_id": None, "azp": "portal"}, "portal"), ({"client_id": 7}, "")],
)
async def test_the_client_is_named_as_issuers_do(
    issuer: FakeIssuer, claims: dict[str, Any], client: str
) -> None:
    caller = await tokens_of(issuer).identify(issuer.token(**claims))
    assert (caller.client, caller.subject) == (client, "user-7")
    assert caller != PERSON


async def test_one_of_several_audiences_may_be_this_server(issuer: FakeIssuer) -> None:
    await tokens_of(issuer).identify(issuer.token(aud=["https://other.example", AUDIENCE]))


async def test_clocks_may_differ_a_little(issuer: FakeIssuer) -> None:
    now = int(time.time())
    tokens = tokens_of(issuer)
    await tokens.identify(issuer.token(exp=now - 5))
    await tokens.identify(issuer.token(nbf=now + 5, iat=now + 5))


BAD: dict[str, Callable[[FakeIssuer], str]] = {
    "not signed": FakeIssuer.unsigned,
    "signed with the public key": FakeIssuer.signed_with_the_public_key,
    "signed by somebody else": FakeIssuer.signed_by_somebody_else,
    "another audience": lambda issuer: issuer.token(aud="https://other.example/mcp"),
    "audience of the beginning": lambda issuer: issuer.token(aud=AUDIENCE + "/more"),
    "no audience": lambda issuer: issuer.token(aud=None),
    "another issuer": lambda issuer: issuer.token(iss="https://evil.example"),
    "no issuer": lambda issuer: issuer.token(iss=None),
    "expired": lambda issuer: issuer.token(exp=int(time.time()) - 120),
    "without an end": lambda issuer: issuer.token(exp=None),
    "an end that is none": lambda issuer: issuer.token(exp="never"),
    "not yet valid": lambda issuer: issuer.token(nbf=int(time.time()) + 120),
    "issued in the future": lambda issuer: issuer.token(iat=int(time.time()) + 120),
    "no subject": lambda issuer: issuer.token(sub=None),
    "an empty subject": lambda issuer: issuer.token(sub=""),
    "an endless subject": lambda issuer: issuer.token(sub="x" * 256),
    "an endless client": lambda issuer: issuer.token(client_id="x" * 256),
    "an unknown key": lambda issuer: issuer.token(key_id="rsa-1"),
    "no key's id among several": lambda issuer: issuer.token(key_id=None),
    "a key for encryption": lambda issuer: issuer.token(key_id="for-encryption"),
    "a key of another kind": lambda issuer: issuer.token(key_id="ec"),
    "an algorithm that we do not take": lambda issuer: issuer.token("RS384"),
    "another one": lambda issuer: issuer.token("PS256"),
    "no token": lambda _: "outpaint_abc",
    "empty": lambda _: "..",
    "a header without an end": lambda _: nested() + ".e30.x",
    "claims cut off": lambda issuer: issuer.token().rsplit(".", 1)[0] + ".",
}


def weakly_signed(issuer: FakeIssuer) -> str:
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        return jwt.encode(issuer.claims, rsa_key(1000, 1024), "RS256", headers={"kid": "weak"})


BAD["a weak key"] = weakly_signed


def nested() -> str:
    return jwt.utils.base64url_encode(b'{"alg":' * 2000).decode()


@pytest.mark.parametrize("what", BAD)
async def test_no_other_does(issuer: FakeIssuer, what: str, caplog: pytest.LogCaptureFixture) -> None:
    token = BAD[what](issuer)
    tokens = tokens_of(issuer)
    with pytest.raises(InvalidToken) as refused:
        await tokens.identify(token)
    words = caplog.text + str(refused.value)
    assert max(token.split("."), key=len) not in words or token == ".."
    assert "evil" not in words
    assert (await tokens.identify(issuer.token())).subject == "user-7"


@pytest.mark.parametrize(
    ("what", "words"),
    [("expired", "expired"), ("another audience", "another server"), ("another issuer", "another issuer")],
)
async def test_the_reason_is_said_where_that_helps(issuer: FakeIssuer, what: str, words: str) -> None:
    with pytest.raises(InvalidToken, match=words):
        await tokens_of(issuer).identify(BAD[what](issuer))


@pytest.mark.parametrize(
    ("claims", "is_enough"),
    [
        ({"scope": "music read"}, True),
        ({"scope": "read  music write"}, True),
        ({"scope": None, "scp": ["music", "read", 7]}, True),
        ({"scope": "music"}, False),
        ({"scope": "musicread"}, False),
        ({"scope": None}, False),
        ({"scope": {"music": True, "read": True}}, False),
    ],
)
async def test_all_scopes_are_needed(issuer: FakeIssuer, claims: dict[str, Any], is_enough: bool) -> None:  # noqa: FBT001 - a parameter
    tokens = tokens_of(issuer, "music", "read")
    if is_enough:
        await tokens.identify(issuer.token(**claims))
    else:
        with pytest.raises(MissingScopes):
            await tokens.identify(issuer.token(**claims))


@pytest.mark.parametrize(
    "place", ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"]
)
async def test_the_keys_are_found_by_the_metadata(issuer: FakeIssuer, place: str) -> None:
    issuer.metadata_at = place
    await tokens_of(issuer).identify(issuer.token())
    assert issuer.asked[-2:] == [place, "/keys"]


async def test_or_where_the_operator_says(issuer: FakeIssuer) -> None:
    await tokens_of(issuer, jwks_url=f"{issuer.url}/keys").identify(issuer.token())
    assert issuer.asked == ["/keys"]


async def test_an_algorithm_that_is_not_taken_asks_nobody(issuer: FakeIssuer) -> None:
    with pytest.raises(InvalidToken):
        await tokens_of(issuer).identify(issuer.unsigned())
    assert issuer.asked == []


MOODS: list[Mood] = ["failing", "endless", "no JSON", "no keys", "elsewhere", "silent"]


@pytest.mark.parametrize("mood", MOODS)
async def test_where_the_issuer_does_not_answer_nobody_is_called_a_liar(
    issuer: FakeIssuer, mood: Mood, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if mood == "silent":
        monkeypatch.setattr(issuer_keys, "_STEP_SECONDS", 0.2)
    issuer.mood = mood
    tokens = tokens_of(issuer)
    for _ in range(5):
        with pytest.raises(IssuerUnavailable):
            await tokens.identify(issuer.token())
    assert len(issuer.asked) <= 3, "it is asked once for all of them"
    assert "/moved" not in issuer.asked
    assert [record.levelno for record in caplog.records if record.name == issuer_keys.__name__] == [
        logging.WARNING
    ]
    assert issuer.token().split(".")[2] not in caplog.text


async def test_a_metadata_document_of_another_issuer_counts_for_nothing(issuer: FakeIssuer) -> None:
    issuer.metadata_at = "/.well-known/openid-configuration"
    other = AccessTokens(OAuth(issuer=f"{issuer.url}/"), AUDIENCE)
    with pytest.raises(IssuerUnavailable):
        await other.identify(issuer.token(iss=f"{issuer.url}/"))
    assert "/keys" not in issuer.asked


class Keys:
    """The keys of an issuer, and the time."""

    def __init__(self, issuer: FakeIssuer) -> None:
        self.clock = Clock()
        self._keys = IssuerKeys(OAuth(issuer=issuer.url), self.clock)

    async def has(self, key_id: str) -> bool:
        return await self._keys.find(key_id) is not None


async def test_keys_are_asked_for_again_after_some_minutes(issuer: FakeIssuer) -> None:
    keys = Keys(issuer)
    for _ in range(3):
        assert await keys.has("rsa-0")
        keys.clock.now += 99
    assert issuer.asked.count("/keys") == 1
    issuer.key_number = 1
    keys.clock.now += 99
    assert not await keys.has("rsa-0")
    assert issuer.asked.count("/keys") == 2


async def test_those_who_come_at_once_share_one_fetch(issuer: FakeIssuer) -> None:
    tokens = tokens_of(issuer)
    callers = await asyncio.gather(*(tokens.identify(issuer.token(sub=str(number))) for number in range(20)))
    assert [caller.subject for caller in callers] == [str(number) for number in range(20)]
    assert issuer.asked.count("/keys") == 1


async def test_a_new_key_is_found_but_made_up_ones_do_not_make_us_ask_all_the_time(
    issuer: FakeIssuer,
) -> None:
    keys = Keys(issuer)
    assert not any([await keys.has(f"made-up-{number}") for number in range(50)])
    assert issuer.asked.count("/keys") == 1
    issuer.key_number = 1
    keys.clock.now += 31
    assert await keys.has("rsa-1")
    assert issuer.asked.count("/keys") == 2


async def test_known_keys_outlast_an_outage_of_an_hour_and_no_more(issuer: FakeIssuer) -> None:
    keys = Keys(issuer)
    assert await keys.has("rsa-0")
    issuer.mood = "failing"
    keys.clock.now += 3000
    assert await keys.has("rsa-0")
    with pytest.raises(IssuerUnavailable):
        await keys.has("rsa-1")
    keys.clock.now += 700
    with pytest.raises(IssuerUnavailable):
        await keys.has("rsa-0")
    issuer.mood = "well"
    keys.clock.now += 31
    assert await keys.has("rsa-0")


def test_the_fakes_tokens_are_what_they_are_called() -> None:
    with FakeIssuer() as issuer:
        header = jwt.get_unverified_header(issuer.signed_with_the_public_key())
        assert (header["alg"], jwt.get_unverified_header(issuer.unsigned())["alg"]) == ("HS256", "none")
        assert json.loads(issuer._key_set())["keys"]
