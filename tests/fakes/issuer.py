"""An authorization server on the loopback: its metadata, its keys, and the tokens that it gives, good and bad."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import parse_qs

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from tests.fakes.wire import Wire

if TYPE_CHECKING:
    from tests.fakes.wire import Exchange

AUDIENCE = "https://outpaint.example.org/mcp"

Mood = Literal["well", "failing", "silent", "endless", "no JSON", "no keys", "elsewhere"]


@cache
def rsa_key(number: int = 0, bits: int = 2048) -> rsa.RSAPrivateKey:
    """One of the keys that sign; each number is another."""
    assert number >= 0
    return rsa.generate_private_key(65537, bits)


@cache
def _ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@cache
def _ed_key() -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.generate()


class FakeIssuer:
    """The issuer, while its context is open.

    Attributes:
        mood: how it answers.
        metadata_at: where it has its metadata; elsewhere is nothing.
        key_number: the RSA key that signs and is published, as `rsa-NUMBER`.
        asked: the paths of all requests.
        granted: what clients asked for tokens with.
        violations: what a resource server must not send.
    """

    def __init__(self) -> None:
        self.mood: Mood = "well"
        self.metadata_at = "/.well-known/oauth-authorization-server"
        self.key_number = 0
        self.asked: list[str] = []
        self.granted: list[dict[str, str]] = []
        self.violations: list[str] = []
        self._wire = Wire(self._serve, port=0, on_malformed=self.violations.append)

    def __enter__(self) -> Self:
        self._wire.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._wire.stop()

    @property
    def url(self) -> str:
        """What `iss` is."""
        return f"http://127.0.0.1:{self._wire.port}"

    @property
    def claims(self) -> dict[str, Any]:
        """Those of a good token."""
        now = int(time.time())
        return {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "user-7",
            "client_id": "editor",
            "iat": now,
            "exp": now + 600,
            "scope": "music read",
        }

    def token(self, algorithm: str = "RS256", *, key_id: str | None = "", **changes: Any) -> str:  # noqa: ANN401 - claims
        """Give a token; claims that are changed to None are left out."""
        claims = {name: value for name, value in (self.claims | changes).items() if value is not None}
        number = self.key_number
        signers: dict[
            str, tuple[str, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey]
        ] = {
            "RS256": (f"rsa-{number}", rsa_key(number)),
            "RS384": (f"rsa-{number}", rsa_key(number)),
            "PS256": (f"rsa-{number}", rsa_key(number)),
            "ES256": ("ec", _ec_key()),
            "EdDSA": ("ed", _ed_key()),
        }
        own_id, key = signers[algorithm]
        headers = {"kid": own_id if key_id == "" else key_id} if key_id is not None else {}
        return jwt.encode(claims, key, algorithm, headers=headers)

    def unsigned(self) -> str:
        """A token with `alg` none."""
        return jwt.encode(self.claims, "", "none", headers={"kid": "rsa-0"})

    def signed_with_the_public_key(self) -> str:
        """A token whose HMAC has the public key for its-secret: what a careless check lets pass."""
        public = rsa_key(self.key_number).public_key()
        secret = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        parts = [{"alg": "HS256", "typ": "JWT", "kid": f"rsa-{self.key_number}"}, self.claims]
        signed = b".".join(_encoded(json.dumps(part).encode()) for part in parts)
        return (signed + b"." + _encoded(hmac.digest(secret, signed, hashlib.sha256))).decode()

    def signed_by_somebody_else(self) -> str:
        """A token under the issuer's name, signed with a key that is not its own."""
        return jwt.encode(self.claims, rsa_key(99), "RS256", headers={"kid": f"rsa-{self.key_number}"})

    async def _grant(self, exchange: Exchange) -> None:
        """Give a client a token for the resource that it names."""
        form = parse_qs((await exchange.body(10_000) or b"").decode())
        secret = base64.b64encode(b"editor:its-secret").decode()
        if exchange.headers.get("authorization") != f"Basic {secret}" or exchange.method != "POST":
            await exchange.answer(401, b'{"error": "invalid_client"}', "application/json")
            return
        self.granted.append({name: values[0] for name, values in form.items()})
        token = self.token(aud=form.get("resource", [""])[0], scope=form.get("scope", [""])[0])
        document = {"access_token": token, "token_type": "Bearer", "expires_in": 600}
        await exchange.answer(200, json.dumps(document).encode(), "application/json")

    async def _serve(self, exchange: Exchange) -> None:
        self.asked.append(exchange.target)
        if exchange.target == "/token":
            await self._grant(exchange)
            return
        if exchange.method != "GET" or {"authorization", "cookie"} & exchange.headers.keys():
            self.violations.append(f"{exchange.method} {sorted(exchange.headers)}")
        if self.mood == "silent":
            await exchange.hang()
        elif self.mood == "failing":
            await exchange.answer(500, b"{}", "application/json")
        elif self.mood == "elsewhere":
            await exchange.answer(302, b"", "text/plain", {"Location": f"{self.url}/moved"})
        elif self.mood == "endless":
            exchange.begin(200, 10**9, "application/json")
            while True:
                await exchange.send(b" " * 65_536)
        elif exchange.target == self.metadata_at:
            document = {
                "issuer": self.url,
                "jwks_uri": f"{self.url}/keys",
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "response_types_supported": ["code"],
            }
            await exchange.answer(200, json.dumps(document).encode(), "application/json")
        elif exchange.target == "/keys":
            await exchange.answer(200, self._key_set(), "application/json")
        else:
            await exchange.answer(404, b"", "text/plain")

    def _key_set(self) -> bytes:
        if self.mood == "no JSON":
            return b"<html>"
        weak = RSAAlgorithm.to_jwk(rsa_key(1000, 1024).public_key(), as_dict=True)
        published = [
            {"kty": "oct", "k": "c2VjcmV0", "kid": "oct", "alg": "HS256"},
            {"kty": "RSA", "n": "?", "e": "AQAB", "kid": "broken"},
            weak | {"kid": "weak"},
            "no key",
        ]
        if self.mood != "no keys":
            rsa_public = rsa_key(self.key_number).public_key()
            published += [
                RSAAlgorithm.to_jwk(rsa_public, as_dict=True) | {"kid": f"rsa-{self.key_number}"},
                RSAAlgorithm.to_jwk(rsa_public, as_dict=True) | {"kid": "for-encryption", "use": "enc"},
                ECAlgorithm.to_jwk(_ec_key().public_key(), as_dict=True) | {"kid": "ec"},
                OKPAlgorithm.to_jwk(_ed_key().public_key(), as_dict=True) | {"kid": "ed"},
            ]
        else:
            published.remove(published[2])
        return json.dumps({"keys": published}).encode()


def _encoded(part: bytes) -> bytes:
    return base64.urlsafe_b64encode(part).rstrip(b"=")
