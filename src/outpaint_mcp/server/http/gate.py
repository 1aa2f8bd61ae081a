"""The door: only by the names that the server has, from the web pages that may, and by whoever may call."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from outpaint_mcp.server.http.callers import Callers, as_user
from outpaint_mcp.server.http.protected_resource import ProtectedResource
from outpaint_mcp.server.http.rates import Rates, address_of
from outpaint_mcp.server.http.refusals import Refusal
from outpaint_mcp.server.http.settings import PATH
from outpaint_mcp.server.http.signs_of_life import HEALTH_PATH, READINESS_PATH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import ASGIApp, Receive, Scope, Send

    from outpaint_mcp.server.http.settings import HttpSettings

# What there is, and whether it has to be known who asks for it; the first that matches counts.
_ROUTES: tuple[tuple[re.Pattern[str], bool], ...] = (
    (re.compile(rf"{PATH}(?:/.*)?", re.DOTALL), True),
    (re.compile("|".join(map(re.escape, (HEALTH_PATH, READINESS_PATH)))), False),
)

_NOT_HERE = Refusal(status=404, message=f"There is nothing at this address: MCP is at {PATH}.")
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


class Gate:
    """Lets through, before any of its body is read, what is meant for this server and comes from whoever may call.

    It says who that is where the SDK's `get_access_token` finds it, and passes on nothing that they have shown.
    """

    def __init__(self, app: ASGIApp, settings: HttpSettings) -> None:
        """Guard an application."""
        self._app = app
        self._settings = settings
        self._resource = ProtectedResource(settings)
        self._callers = Callers(settings, self._resource)
        # Apart, so that no number of strangers makes it forget a caller.
        self._rates, self._strangers = (Rates(settings.requests_per_minute) for _ in range(2))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request as ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._check_address(scope)
        if refusal is not None:
            await refusal.answer(send)
        elif scope["path"] in self._resource.paths:
            await self._resource.answer(scope["method"], send)
        else:
            admitted = await self._admit(scope)
            if isinstance(admitted, Refusal):
                await admitted.answer(send)
            else:
                await self._app(admitted, receive, send)

    def _check_address(self, scope: Scope) -> Refusal | None:
        """Return what is wrong with the name that the server is called by, or with the page that calls it."""
        hosts, origins = (_values(scope, name) for name in (b"host", b"origin"))
        if len(hosts) != 1 or not _has_host(self._settings.hosts, hosts[0]):
            return _OTHER_HOST
        if not all(_has_origin(self._settings.origins, each) for each in origins):
            return _OTHER_ORIGIN
        return None

    async def _admit(self, scope: Scope) -> Scope | Refusal:
        """Return the request as the application is to see it, or what is wrong with it."""
        path = scope["path"]
        needs_caller = next((needed for form, needed in _ROUTES if form.fullmatch(path)), None)
        if needs_caller is None:
            return _NOT_HERE
        if not needs_caller:
            return scope
        is_mcp = path.startswith(PATH)
        in_address = path.removeprefix(PATH).strip("/") if is_mcp else ""
        caller = await self._callers.identify(scope, in_address.encode())
        if isinstance(caller, Refusal):
            return self._strangers.take(address_of(scope)) or caller
        if caller.is_remote and (refusal := self._rates.take(caller.owner)) is not None:
            return refusal
        headers = [each for each in scope["headers"] if each[0] != b"authorization"]
        admitted = {**scope, "headers": headers, "user": as_user(caller)}
        return {**admitted, "path": PATH, "raw_path": PATH.encode()} if is_mcp else admitted


def _values(scope: Scope, wanted: bytes) -> list[str]:
    return [value.decode("latin-1").lower() for name, value in scope["headers"] if name == wanted]


def _has_host(allowed: Sequence[str], host: str) -> bool:
    return host in allowed or _without_port(host) in allowed


def _has_origin(allowed: Sequence[str], origin: str) -> bool:
    return origin in allowed or f"{_without_port(origin)}:*" in allowed


def _without_port(name: str) -> str:
    return re.sub(r":\d{1,5}\Z", "", name, flags=re.ASCII)
