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


class Callers:
    """Finds out who calls, by the header of a request alone."""

    def __init__(self, settings: HttpSettings) -> None:
        """Take the settings that say who may call."""
        self._settings = settings
        self._secret = None if settings.secret is None else settings.secret.encode()

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
        keys = self._settings.keys
        if given and keys is not None and (key := keys.find(given)) is not None:
            if key.has_expired:
                return self._refuse(f"This API key expired after {key.expires}.")
            return Principal(client=key.name)
        return self._refuse("The request has no API key, or a wrong one.")

    def _check_secret(self, given: bytes, in_address: bytes) -> Principal | Refusal:
        if self._secret is None:
            return PERSON
        is_right = [compare_digest(each, self._secret) for each in (in_address, given)]
        return PERSON if any(is_right) else _NO_SECRET

    def _refuse(self, what: str) -> Refusal:
        return Refusal(
            status=401,
            message=(
                f"{what} Ask whoever runs this server for a key, and give it in the header"
                ' "Authorization: Bearer KEY".'
            ),
            headers=((b"www-authenticate", b'Bearer realm="outpaint-mcp"'),),
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
            claims={"iss": principal.issuer} if principal.issuer else None,
        )
    )


def _bearer(scope: Scope) -> bytes:
    """Return what an Authorization header has; nothing where there are several, of which one may be somebody else's."""
    headers = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(headers) != 1:
        return b""
    scheme, _, given = headers[0].partition(b" ")
    return bytes(given.strip()) if scheme.lower() == b"bearer" else b""
