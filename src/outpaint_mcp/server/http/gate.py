"""Who may call: whoever has the key, and only at the one address that there is."""

from __future__ import annotations

from hmac import compare_digest
from typing import TYPE_CHECKING

from outpaint_mcp.server.http.refusals import Refusal

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

PATH = "/mcp"

_NOT_HERE = Refusal(status=404, message=f"There is nothing at this address: MCP is at {PATH}.")
_NO_KEY = Refusal(
    status=401,
    message=(
        "This server needs its key, and the request has none or a wrong one. The key is in the file http-key in the"
        " server's data folder, which only the user who runs the server can read. Give it in the header"
        f' "Authorization: Bearer KEY", or at the end of the URL: {PATH}/KEY.'
    ),
    headers=((b"www-authenticate", b'Bearer realm="outpaint-mcp"'),),
)


class Gate:
    """Lets through what has the key, before any of its body is read, and takes the key out of the address."""

    def __init__(self, app: ASGIApp, key: str | None) -> None:
        """Guard an application.

        Args:
            app: the application.
            key: the key; None lets everybody through.
        """
        self._app = app
        self._key = None if key is None else key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request as ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path, _, in_address = scope["path"].removeprefix("/").partition("/")
        if f"/{path}" != PATH:
            await _NOT_HERE.answer(send)
        elif self._key is not None and not any(
            compare_digest(given, self._key) for given in (in_address.strip("/").encode(), _bearer(scope))
        ):
            await _NO_KEY.answer(send)
        else:
            await self._app({**scope, "path": PATH, "raw_path": PATH.encode()}, receive, send)


def _bearer(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        scheme, _, given = value.partition(b" ")
        if name == b"authorization" and scheme.lower() == b"bearer":
            return bytes(given.strip())
    return b""
