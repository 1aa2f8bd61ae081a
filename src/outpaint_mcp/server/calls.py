"""What a call is called in logs and figures, and the line that it leaves in the log."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from mcp.types.methods import SPEC_CLIENT_METHODS

from outpaint_mcp.server.content import principal
from outpaint_mcp.server.logs import Call, current_call

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mcp.server.context import CallNext, HandlerResult, ServerRequestContext

OTHER = "_OTHER"
"""Stands for any name that is not ours: callers may send what they like."""

_TASKS = ("tasks/get", "tasks/update", "tasks/cancel")

_log = logging.getLogger(__name__)


class Names:
    """The names of what can be called."""

    def __init__(self, tools: Iterable[str]) -> None:
        """Know the tools by name."""
        self._tools = frozenset(tools)
        self._methods = frozenset((*SPEC_CLIENT_METHODS, *_TASKS))

    def of(self, ctx: ServerRequestContext[Any, Any]) -> tuple[str, str]:
        """Return the method and the tool of a call; each is one that there is, `OTHER` or empty."""
        method = ctx.method if ctx.method in self._methods else OTHER
        if method != "tools/call":
            return method, ""
        name = (ctx.params or {}).get("name")
        return method, name if isinstance(name, str) and name in self._tools else OTHER


class CallLog:
    """Has whatever is logged in a call name it, and logs the call itself."""

    def __init__(self, names: Names) -> None:
        """Take the names of what can be called."""
        self._names = names

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Carry a call out, as the SDK's middleware."""
        token = current_call.set(Call.of(ctx.request_id, principal().digest))
        begun_at = time.perf_counter()
        try:
            return await call_next(ctx)
        finally:
            if ctx.request_id is not None:
                name = " ".join(filter(None, self._names.of(ctx)))
                _log.info("%s took %.0f ms", name, 1000 * (time.perf_counter() - begun_at))
            current_call.reset(token)
