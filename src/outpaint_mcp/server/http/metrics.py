"""Figures for Prometheus, on a port of their own: how long calls take, and what there is to do and was spent.

No label has anything that a caller has chosen: there are as many time series as there are tools and errors.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from mcp.shared.exceptions import MCPError
from mcp.types import INVALID_PARAMS, CallToolResult
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector
from pydantic import ValidationError
from starlette.responses import Response

from outpaint_mcp.errors import ServerStopping, StorageFailed
from outpaint_mcp.models import Status
from outpaint_mcp.server.http.refusals import ONLY_READ, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
    from prometheus_client.core import Metric
    from starlette.types import Receive, Scope, Send

    from outpaint_mcp.server.calls import Names
    from outpaint_mcp.service.on_demand import ServiceOnDemand
    from outpaint_mcp.storage.vitals import Figures

PATH = "/metrics"

# Those of OpenTelemetry's conventions for MCP.
_BUCKETS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300)
_TOOL_ERROR = "tool_error"

_NOT_HERE = Refusal(status=404, message=f"There is nothing at this address: figures are at {PATH}.")


class Metrics:
    """Counts calls as the SDK's middleware, and shows all figures as an application of its own."""

    def __init__(self, service: ServiceOnDemand, names: Names) -> None:
        """Begin at zero.

        Args:
            service: whose jobs are counted.
            names: of what can be called.
        """
        self._service = service
        self._names = names
        self._registry = CollectorRegistry()
        self._stored = _Stored()
        self._registry.register(self._stored)
        self._durations = Histogram(
            "mcp_server_operation_duration_seconds",
            "How long calls take, waits included.",
            ("mcp_method_name", "gen_ai_tool_name", "error_type"),
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._sessions = Histogram(
            "mcp_server_session_duration_seconds",
            "How long sessions of clients last that have them.",
            buckets=_BUCKETS,
            registry=self._registry,
        )

    async def measure(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Carry a call out, as the SDK's middleware."""
        if ctx.request_id is None:
            return await call_next(ctx)
        begun_at = time.perf_counter()
        error_type = "cancelled"
        try:
            result = await call_next(ctx)
            error_type = _error_of(result)
        except MCPError as exc:
            error_type = str(exc.error.code)
            raise
        except ValidationError:
            error_type = str(INVALID_PARAMS)
            raise
        except Exception as exc:
            error_type = type(exc).__name__
            raise
        finally:
            labels = (*self._names.of(ctx), error_type)
            self._durations.labels(*labels).observe(time.perf_counter() - begun_at)
        if ctx.method == "initialize":
            self._await_end(ctx, begun_at)
        return result

    def _await_end(self, ctx: ServerRequestContext[Any, Any], begun_at: float) -> None:
        # The SDK has no public way to learn of a session's end.
        connection = ctx.session._connection  # noqa: SLF001
        connection.exit_stack.callback(lambda: self._sessions.observe(time.perf_counter() - begun_at))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Show the figures, as an ASGI application."""
        if scope["type"] != "http":
            return
        if scope["path"] != PATH:
            await _NOT_HERE.answer(send)
        elif scope["method"] not in {"GET", "HEAD"}:
            await ONLY_READ.answer(send)
        else:
            answer = Response(await self._text(), headers={"content-type": CONTENT_TYPE_PLAIN_0_0_4})
            await answer(scope, receive, send)

    async def _text(self) -> bytes:
        service = self._service.opened
        try:
            self._stored.figures = (
                None if service is None else await asyncio.to_thread(service.housekeeper.vitals.figures)
            )
        except (StorageFailed, ServerStopping):  # the other figures are worth having all the same
            self._stored.figures = None
        return generate_latest(self._registry)


class _Stored(Collector):
    """What the database knows; nothing while it cannot be read."""

    figures: Figures | None = None

    def collect(self) -> Iterator[Metric]:
        figures = self.figures
        if figures is None:
            return
        jobs = GaugeMetricFamily("outpaint_jobs", "Takes, by where they are.", labels=["state"])
        for status in Status:
            jobs.add_metric([status], figures.jobs.get(status, 0))
        yield jobs
        yield GaugeMetricFamily(
            "outpaint_queue_seconds",
            "How long the first of the queue has been waiting.",
            value=figures.queue_seconds,
        )
        yield CounterMetricFamily(
            "outpaint_spend_usd", "What requests have cost, as far as that is known.", value=figures.spent_usd
        )
        failures = CounterMetricFamily(
            "outpaint_provider_errors",
            "Takes that were ended by an error of their provider.",
            labels=["provider", "error_type"],
        )
        for names, number in sorted(figures.provider_errors.items()):
            failures.add_metric(names, number)
        yield failures


def _error_of(result: HandlerResult) -> str:
    match result:
        case CallToolResult(is_error=True) | {"isError": True}:
            return _TOOL_ERROR
        case _:
            return ""
