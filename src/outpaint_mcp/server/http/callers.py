"""Who calls: the person at this machine, or the holder of an API key or an access token."""

from __future__ import annotations

import hashlib
from hmac import compare_digest
from typing import TYPE_CHECKING

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken

from outpaint_mcp.principals import PERSON, Principal
from outpaint_mcp.server.http.refusals import Refusal
from outpaint_mcp.server.http.settings import PATH

if TYPE_CHECKING:
    from starlette.types import Scope

    from outpaint_mcp.server.http.access_tokens import AccessTokens
    from outpaint_mcp.server.http.protected_resource import ProtectedResource
    from outpaint_mcp.server.http.settings import HttpSettings

_NO_SECRET = Refusal(
    status=401,
    message=(
        "This server needs its key, and the request has none or a wrong one. The key is in the file http-key in the"
        " server's data folder, which only the user who runs the server can read. Give it in the header"
        f' "Authorization: Bearer KEY", or at the end of the URL: {PATH}/KEY.'
    ),
    headers=((b"www-authenticate", b'Bearer realm="outpaint-mcp"'),),
)


_UNAVAILABLE = Refusal(
    status=503,
    message=(
        "The server cannot check access tokens at the moment, because their issuer does not answer it. Try again in a"
        " minute."
    ),
    headers=((b"retry-after", b"30"),),
)


class Callers:
    """Finds out who calls, by the header of a request alone."""

    def __init__(self, settings: HttpSettings, resource: ProtectedResource) -> None:
        """Take the settings that say who may call, and what a client without a token needs to know."""
        self._settings = settings
        self._resource = resource
        self._secret = None if settings.secret is None else settings.secret.encode()
        self._tokens: AccessTokens | None = None
        if settings.oauth is not None:
            from outpaint_mcp.server.http.access_tokens import AccessTokens  # noqa: PLC0415 - loads cryptography

            self._tokens = AccessTokens(settings.oauth, settings.oauth.audience or settings.mcp_url)

    async def identify(self, scope: Scope, in_address: bytes) -> Principal | Refusal:
        """Find out who calls.

        Args:
            scope: the request's, as ASGI has it.
            in_address: what stands in the address after the path of MCP.

        Returns:
            Them, or why they are not let in.
        """
        given = _bearer(scope)
        if not self._settings.knows_callers:
            return self._check_secret(given, in_address)
        if not given:
            return self._refuse("The request has no credentials, or more than one.", None)
        keys = self._settings.keys
        if keys is not None and (key := keys.find(given)) is not None:
            if key.has_expired:
                return self._refuse(f"This API key was good until {key.expires}.", "invalid_token")
            return Principal(client=key.name)
        if self._tokens is not None:
            return await self._check_token(self._tokens, given)
        return self._refuse("The server does not know this API key.", "invalid_token")

    def _check_secret(self, given: bytes, in_address: bytes) -> Principal | Refusal:
        if self._secret is None:
            return PERSON
        is_right = [compare_digest(each, self._secret) for each in (in_address, given)]
        return PERSON if any(is_right) else _NO_SECRET

    async def _check_token(self, tokens: AccessTokens, given: bytes) -> Principal | Refusal:
        from outpaint_mcp.server.http import access_tokens, issuer_keys  # noqa: PLC0415 - loaded by now

        try:
            return await tokens.identify(given.decode("latin-1"))
        except access_tokens.InvalidToken as exc:
            return self._refuse(str(exc), "invalid_token")
        except access_tokens.MissingScopes:
            needed = " ".join(self._settings.oauth.scopes if self._settings.oauth else ())
            return Refusal(
                status=403,
                message=f"This access token lacks a scope. Ask the issuer for one with all of: {needed}.",
                headers=(self._resource.challenge("insufficient_scope"),),
            )
        except issuer_keys.IssuerUnavailable:
            return _UNAVAILABLE

    def _refuse(self, what: str, error: str | None) -> Refusal:
        oauth = self._settings.oauth
        ways = [] if oauth is None else [f"get an access token from {oauth.issuer}"]
        if self._settings.keys is not None:
            ways.append("ask whoever runs this server for an API key")
        advice = " or ".join(ways)
        return Refusal(
            status=401,
            message=(
                f"{what} {advice[0].upper()}{advice[1:]}, and give it in the header"
                ' "Authorization: Bearer ...".'
            ),
            headers=(self._resource.challenge(error),),
        )


def as_user(principal: Principal) -> AuthenticatedUser | None:
    """Return a caller as the SDK takes them, which binds sessions to them; None for the person at this machine."""
    if not principal.is_remote:
        return None
    return AuthenticatedUser(
        AccessToken(
            token=hashlib.sha256(principal.owner.encode()).hexdigest(),
            client_id=principal.client,
            scopes=[],
            subject=principal.subject or None,
            claims={"iss": principal.issuer, "tokens": principal.tokens},
        )
    )


def _bearer(scope: Scope) -> bytes:
    """Return what an Authorization header has; nothing where there are several, of which one may be somebody else's."""
    headers = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(headers) != 1:
        return b""
    scheme, _, given = headers[0].partition(b" ")
    return bytes(given.strip()) if scheme.lower() == b"bearer" else b""
