"""The door: what is here, and who may call it."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from typing import TYPE_CHECKING

from outpaint_mcp.providers.registry import PROVIDERS
from outpaint_mcp.server.http.callers import Callers, as_user
from outpaint_mcp.server.http.protected_resource import ProtectedResource
from outpaint_mcp.server.http.rates import Rates, address_of
from outpaint_mcp.server.http.refusals import Refusal
from outpaint_mcp.server.http.settings import CALLER_PATH, LINK_PATH, PATH
from outpaint_mcp.server.http.signs_of_life import HEALTH_PATH, READINESS_PATH

if TYPE_CHECKING:
    from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
    from starlette.types import ASGIApp, Receive, Scope, Send

    from outpaint_mcp.server.http.settings import HttpSettings

# What there is, and whether it has to be known who asks for it; the first that matches counts.
_ROUTES: tuple[tuple[re.Pattern[str], bool], ...] = (
    (re.compile(rf"{PATH}(?:/.*)?", re.DOTALL), True),
    (CALLER_PATH, True),
    (LINK_PATH, False),
    (re.compile("|".join(map(re.escape, (HEALTH_PATH, READINESS_PATH)))), False),
)

# In which callers bring tokens of their own along, and for which provider.
_TOKEN_HEADERS = {
    each.description.token_header.lower().encode(): name
    for name, each in PROVIDERS.items()
    if each.description.token_header
}
_SECRET_HEADERS = {b"authorization", *_TOKEN_HEADERS}

_NOT_HERE = Refusal(status=404, message=f"There is nothing at this address: MCP is at {PATH}.")

_TOO_MANY_OPEN = Refusal(
    status=429,
    message="You have as many requests and streams open at once as one caller may have. Close some, then try again.",
    headers=((b"retry-after", b"5"),),
)


class Gate:
    """Lets through, before any of its body is read, what comes from whoever may call.

    It says who that is where the SDK's `get_access_token` finds it, and passes on nothing that they have shown.
    """

    def __init__(self, app: ASGIApp, settings: HttpSettings, *, most_open: int = 1024) -> None:
        """Guard an application; one caller may have so many requests and streams open at once."""
        self._app = app
        self._most_open = most_open
        self._open: Counter[str] = Counter()
        self._resource = ProtectedResource(settings)
        self._callers = Callers(settings, self._resource)
        # Apart, so that no number of strangers makes it forget a caller.
        self._rates, self._strangers = (Rates(settings.requests_per_minute) for _ in range(2))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request as ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["path"] in self._resource.paths:
            await self._resource(scope, receive, send)
            return
        admitted = await self._admit(scope)
        if isinstance(admitted, Refusal):
            await admitted.answer(send)
            return
        user: AuthenticatedUser | None = admitted.get("user")
        if user is None:
            await self._app(admitted, receive, send)
        elif self._open[caller := user.access_token.token] < self._most_open:
            self._open[caller] += 1
            try:
                await self._app(admitted, receive, send)
            finally:
                self._open -= Counter((caller,))  # forgets those who have none
        else:
            await _TOO_MANY_OPEN.answer(send)

    async def _admit(self, scope: Scope) -> Scope | Refusal:
        """Return the request as the application is to see it, or what is wrong with it."""
        path = scope["path"]
        needs_caller = next((needed for form, needed in _ROUTES if form.fullmatch(path)), None)
        if needs_caller is None:
            return _NOT_HERE
        headers = [each for each in scope["headers"] if each[0] not in _SECRET_HEADERS]
        if not needs_caller:
            return {**scope, "headers": headers}
        is_mcp = path.startswith(PATH)
        in_address = path.removeprefix(PATH).strip("/") if is_mcp else ""
        caller = await self._callers.identify(scope, in_address.encode())
        if isinstance(caller, Refusal):
            return self._strangers.take(address_of(scope)) or caller
        if caller.is_remote and (refusal := self._rates.take(caller.owner)) is not None:
            return refusal
        caller = dataclasses.replace(caller, tokens=_tokens(scope))
        admitted = {**scope, "headers": headers, "user": as_user(caller)}
        return {**admitted, "path": PATH, "raw_path": PATH.encode()} if is_mcp else admitted


def _tokens(scope: Scope) -> tuple[tuple[str, str], ...]:
    """Return the tokens for providers that came with a request; of one that came twice neither."""
    given = [(_TOKEN_HEADERS[name], value) for name, value in scope["headers"] if name in _TOKEN_HEADERS]
    names = [provider for provider, _ in given]
    return tuple(
        (provider, value.decode("latin-1").strip()) for provider, value in given if names.count(provider) == 1
    )
