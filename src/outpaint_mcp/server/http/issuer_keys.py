"""The keys that an authorization server signs its tokens with: fetched within bounds, and remembered."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
from jwt import PyJWK, PyJWTError
from pydantic_core import from_json

from outpaint_mcp.config.environment import is_loopback

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from outpaint_mcp.server.http.settings import OAuth

ALGORITHMS = ("RS256", "ES256", "EdDSA")

_FRESH_SECONDS = 300.0
# Beyond that a key that was withdrawn would be accepted for as long as its issuer does not answer.
_STALE_SECONDS = 3600.0
# Whoever makes up ids of keys must not have us ask for them all the time.
_COOLDOWN_SECONDS = 30.0
_WHOLE_SECONDS = 10.0
_STEP_SECONDS = 5.0
_MOST_BYTES = 256 * 1024
_MOST_KEYS = 100

_log = logging.getLogger(__name__)


class IssuerUnavailable(Exception):
    """The authorization server does not answer, or not with keys."""


class IssuerKeys:
    """The public keys of one issuer."""

    def __init__(self, oauth: OAuth, clock: Callable[[], float] = time.monotonic) -> None:
        """Fetch nothing yet.

        Args:
            oauth: whose keys.
            clock: seconds that only ever grow.
        """
        self._oauth = oauth
        self._clock = clock
        self._keys: dict[str, PyJWK] = {}
        self._fetched_at = self._tried_at = float("-inf")
        self._has_failed = True
        self._fetching = asyncio.Lock()
        self._jwks_url = oauth.jwks_url
        self._tls: ssl.SSLContext | None = None

    async def find(self, key_id: str | None) -> PyJWK | None:
        """Find the key that a token was signed with; None where the issuer has no such key.

        Args:
            key_id: the token's `kid`; None stands for the only key that there is.

        Raises:
            IssuerUnavailable: that cannot be found out at the moment.
        """
        found = self._look_up(key_id)
        age = self._clock() - self._fetched_at
        if found is not None and (
            age < _FRESH_SECONDS or (age < _STALE_SECONDS and (self._fetching.locked() or self._is_cooling))
        ):
            return found
        async with self._fetching:
            if not self._is_cooling:
                await self._refresh()
        is_stale = self._clock() - self._fetched_at >= _STALE_SECONDS
        found = self._look_up(key_id)
        if is_stale or (found is None and self._has_failed):
            raise IssuerUnavailable
        return found

    @property
    def _is_cooling(self) -> bool:
        return self._clock() - self._tried_at < _COOLDOWN_SECONDS

    def _look_up(self, key_id: str | None) -> PyJWK | None:
        if key_id is None:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(key_id)

    async def _refresh(self) -> None:
        self._has_failed = True
        try:
            async with asyncio.timeout(_WHOLE_SECONDS):
                self._keys = await self._fetch()
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as exc:
            self._jwks_url = self._oauth.jwks_url
            # No text of the other side's: it could write anything into our log.
            _log.warning(
                "The keys of %s cannot be fetched: %s %s",
                self._oauth.issuer,
                type(exc).__name__,
                exc if isinstance(exc, _UnusableError) else "",
            )
        else:
            self._has_failed = False
            self._fetched_at = self._clock()
        self._tried_at = self._clock()

    async def _fetch(self) -> dict[str, PyJWK]:
        if self._tls is None:
            self._tls = await asyncio.to_thread(httpx.create_ssl_context)  # reads all authorities
        async with httpx.AsyncClient(
            verify=self._tls,
            timeout=_STEP_SECONDS,
            # What goes to this machine goes through no proxy.
            trust_env=not self._oauth.issuer.startswith("http:"),
            headers={"accept": "application/json", "accept-encoding": "identity"},
        ) as client:
            if self._jwks_url is None:
                self._jwks_url = await self._discover(client)
            return _read_keys(await _get(client, self._jwks_url))

    async def _discover(self, client: httpx.AsyncClient) -> str:
        """Find the URL of the keys, where RFC 8414 and then OpenID Connect have the metadata."""
        parts = urlsplit(self._oauth.issuer)
        origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
        for place in (
            f"/.well-known/oauth-authorization-server{path}",
            f"/.well-known/openid-configuration{path}",
            f"{path}/.well-known/openid-configuration",
        ):
            try:
                metadata = await _get(client, origin + place)
            except _UnusableError:
                continue
            if not isinstance(metadata, dict) or metadata.get("issuer") != self._oauth.issuer:
                continue
            url = metadata.get("jwks_uri")
            if isinstance(url, str) and _is_trustworthy(url):
                return url
        raise _UnusableError("(its metadata names no jwks_uri: set OUTPAINT_OAUTH_JWKS_URL)")


class _UnusableError(ValueError):
    """An answer that is none; the text is ours."""


async def _get(client: httpx.AsyncClient, url: str) -> object:
    """Fetch JSON, from where the URL says and nowhere else."""
    async with client.stream("GET", url) as response:
        if response.status_code != httpx.codes.OK:
            raise _UnusableError(f"(status {response.status_code})")
        body = bytearray()
        async for piece in response.aiter_raw():
            body += piece
            if len(body) > _MOST_BYTES:
                raise _UnusableError("(the answer is too long)")
    try:
        found: object = from_json(bytes(body))
    except ValueError:
        raise _UnusableError("(the answer is not JSON)") from None
    return found


def _read_keys(document: object) -> dict[str, PyJWK]:
    """Read a JWK set; keys that sign nothing which we accept are left out."""
    listed = document.get("keys") if isinstance(document, dict) else None
    keys: dict[str, PyJWK] = {}
    for each in listed[:_MOST_KEYS] if isinstance(listed, list) else ():
        if not isinstance(each, dict) or each.get("use", "sig") != "sig" or each.get("kty") == "oct":
            continue
        try:
            key = PyJWK(each)
        except (PyJWTError, ValueError, TypeError, AttributeError, LookupError):
            continue
        if key.algorithm_name in ALGORITHMS:
            keys[str(each.get("kid", ""))] = key
    if not keys:
        raise _UnusableError("(it has no key that can be used)")
    return keys


def _is_trustworthy(url: str) -> bool:
    parts = urlsplit(url)
    return bool(parts.hostname) and (
        parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
    )
