"""What a client without a token needs to get one: the metadata of RFC 9728, and the challenge that names it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.responses import JSONResponse

from outpaint_mcp.server.http.refusals import ONLY_READ
from outpaint_mcp.server.http.settings import PATH

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from outpaint_mcp.server.http.settings import HttpSettings

_WELL_KNOWN = "/.well-known/oauth-protected-resource"
_REALM = 'Bearer realm="outpaint-mcp"'


class ProtectedResource:
    """What we are to an authorization server."""

    def __init__(self, http: HttpSettings) -> None:
        """Take how the server is reached, and by whom."""
        self._scopes = () if http.oauth is None else http.oauth.scopes
        parts = urlsplit(http.mcp_url)
        self._url = f"{parts.scheme}://{parts.netloc}{_WELL_KNOWN}{parts.path}" if http.oauth else None
        # Clients look at the root, too; and a proxy may have cut off the path that it has us at.
        self.paths = frozenset(
            (_WELL_KNOWN, _WELL_KNOWN + PATH, _WELL_KNOWN + parts.path) if http.oauth else ()
        )
        issuers = [] if http.oauth is None else [http.oauth.issuer]
        self._document = {
            "resource": http.mcp_url,
            "authorization_servers": issuers,
            "scopes_supported": [*self._scopes],
            "bearer_methods_supported": ["header"],
            "resource_name": "outpaint-mcp",
        }

    def challenge(self, error: str | None = None) -> tuple[bytes, bytes]:
        """Return the header of a refusal.

        Args:
            error: as RFC 6750 has it; None where nothing was shown.
        """
        parts = [_REALM]
        if error is not None:
            parts.append(f'error="{error}"')
        if self._scopes:
            parts.append(f'scope="{" ".join(self._scopes)}"')
        if self._url is not None:
            parts.append(f'resource_metadata="{self._url}"')
        return b"www-authenticate", ", ".join(parts).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the metadata, as an ASGI application."""
        if scope["method"] in {"GET", "HEAD"}:
            await JSONResponse(self._document, headers={"cache-control": "max-age=300"})(scope, receive, send)
        else:
            await ONLY_READ.answer(send)
