"""Names and web pages: the server answers to its own names only, and to the pages that may call it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from starlette.middleware.cors import CORSMiddleware

from outpaint_mcp.server.http.refusals import Refusal
from outpaint_mcp.server.http.settings import LINK_PATH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import ASGIApp, Receive, Scope, Send

    from outpaint_mcp.server.http.settings import HttpSettings

_OTHER_HOST = Refusal(
    status=421,
    message=(
        "This server does not go by the name in the request's Host header. Use the name that it was started for, or"
        " start it with that --allow-host."
    ),
)
_OTHER_ORIGIN = Refusal(
    status=403,
    message=(
        "Pages of this web origin may not call this server. Whoever runs it can allow them with --allow-origin."
    ),
)
_METHODS = ("GET", "POST", "PUT", "DELETE")
_SHOWN_TO_PAGES = ("Mcp-Session-Id", "WWW-Authenticate", "Retry-After")
_PORT = re.compile(r":\d{1,5}\Z", re.ASCII)


class Addresses:
    """Lets through what is meant for this server, whatever its path: a name that was rebound to us is not ours."""

    def __init__(self, app: ASGIApp, settings: HttpSettings) -> None:
        """Guard an application."""
        self._hosts = settings.hosts
        self._origins = settings.origins
        self._uncovered = app
        # Only pages that were named may read what they get; nobody needs that on loopback.
        self._app: ASGIApp = (
            CORSMiddleware(
                app,
                allow_origin_regex="|".join(map(_regex, settings.origins)),
                allow_methods=_METHODS,
                allow_headers=["*"],
                expose_headers=_SHOWN_TO_PAGES,
            )
            if settings.names_origins
            else app
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request as ASGI has it."""
        is_link = scope["type"] == "http" and LINK_PATH.fullmatch(scope["path"]) is not None
        refusal = self._check(scope, is_link=is_link) if scope["type"] == "http" else None
        if refusal is not None:
            await refusal.answer(send)
        else:
            await (self._uncovered if is_link else self._app)(scope, receive, send)

    def _check(self, scope: Scope, *, is_link: bool) -> Refusal | None:
        """Return what is wrong with the names in a request.

        A link is good in whichever page it stands: what it opens, it opens by itself, and to whoever has it.
        """
        hosts, origins = (_values(scope, name) for name in (b"host", b"origin"))
        if len(hosts) != 1 or not _has_host(self._hosts, hosts[0]):
            return _OTHER_HOST
        if not is_link and not all(_has_origin(self._origins, each) for each in origins):
            return _OTHER_ORIGIN
        return None


def _values(scope: Scope, wanted: bytes) -> list[str]:
    return [value.decode("latin-1").lower() for name, value in scope["headers"] if name == wanted]


def _has_host(allowed: Sequence[str], host: str) -> bool:
    return host in allowed or _PORT.sub("", host) in allowed


def _has_origin(allowed: Sequence[str], origin: str) -> bool:
    return origin in allowed or f"{_PORT.sub('', origin)}:*" in allowed


def _regex(origin: str) -> str:
    return re.escape(origin.removesuffix(":*")) + (r"(:\d{1,5})?" if origin.endswith(":*") else "")
