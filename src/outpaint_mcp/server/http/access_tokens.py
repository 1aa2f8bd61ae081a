"""Access tokens: JWTs that one issuer has signed for this server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jwt

from outpaint_mcp.principals import Principal
from outpaint_mcp.server.http.issuer_keys import ALGORITHMS, IssuerKeys

if TYPE_CHECKING:
    from collections.abc import Mapping

    from outpaint_mcp.server.http.settings import OAuth

_LEEWAY_SECONDS = 30
_REQUIRED = ("exp", "iss", "aud", "sub")
_CLIENTS = ("client_id", "azp")  # of RFC 9068, and of OpenID Connect
_SCOPES = ("scope", "scp")
_MOST_CHARACTERS = 255

# In the order of how near the token is to being right.
_REASONS: tuple[tuple[type[jwt.PyJWTError], str], ...] = (
    (jwt.ExpiredSignatureError, "This access token has expired."),
    (jwt.ImmatureSignatureError, "This access token is not valid yet."),
    (jwt.InvalidAudienceError, "This access token is for another server."),
    (jwt.InvalidIssuerError, "This access token comes from another issuer."),
)


class InvalidToken(Exception):
    """A token is none of ours; its text says why."""


class MissingScopes(Exception):
    """A token is good, but not for this."""


class AccessTokens:
    """Checks the tokens of one issuer."""

    def __init__(self, oauth: OAuth, audience: str) -> None:
        """Take whose tokens are accepted, and whom they have to be for."""
        self._oauth = oauth
        self._audience = audience
        self._keys = IssuerKeys(oauth)

    async def identify(self, token: str) -> Principal:
        """Find out on whose behalf a token was given to whom.

        Raises:
            InvalidToken: it is none, or not for us, or not now.
            MissingScopes: it lacks a scope.
            IssuerUnavailable: that cannot be found out at the moment.
        """
        try:
            header = jwt.get_unverified_header(token)
            # Before anything is fetched for it.
            key_id = header.get("kid") if header.get("alg") in ALGORITHMS else None
            key = await self._keys.find(key_id) if header.get("alg") in ALGORITHMS else None
            if key is None:
                raise InvalidToken("This access token is not signed with a key of the issuer.")
            claims = jwt.decode(
                token,
                key,
                algorithms=[*ALGORITHMS],
                audience=self._audience,
                issuer=self._oauth.issuer,
                leeway=_LEEWAY_SECONDS,
                options={"require": [*_REQUIRED], "enforce_minimum_key_length": True},
            )
        except (
            jwt.PyJWTError,
            ValueError,
            RecursionError,
        ) as exc:  # not even its header need be JSON of ours
            reasons = (text for kind, text in _REASONS if isinstance(exc, kind))
            raise InvalidToken(next(reasons, "This is no access token that can be used.")) from None
        if not set(self._oauth.scopes) <= _scopes(claims):
            raise MissingScopes
        return _principal(claims)


def _principal(claims: Mapping[str, object]) -> Principal:
    client = next((each for name in _CLIENTS if isinstance(each := claims.get(name), str)), "")
    subject = claims["sub"]
    if (
        not isinstance(subject, str)
        or not 0 < len(subject) <= _MOST_CHARACTERS
        or len(client) > _MOST_CHARACTERS
    ):
        raise InvalidToken("This access token does not say on whose behalf it was given.")
    return Principal(client=client, issuer=str(claims["iss"]), subject=subject)


def _scopes(claims: Mapping[str, object]) -> set[str]:
    """Return the scopes, as a text or a list: issuers differ."""
    found: set[str] = set()
    for name in _SCOPES:
        value = claims.get(name)
        if isinstance(value, str):
            found.update(value.split())
        elif isinstance(value, list):
            found.update(each for each in value if isinstance(each, str))
    return found
