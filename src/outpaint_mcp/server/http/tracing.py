"""Spans to an OpenTelemetry collector, where the environment names one: the SDK begins one for each message."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from outpaint_mcp._version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.trace import TracerProvider

_VARIABLES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

# A collector that does not answer is not to hold up the end of the server.
_FLUSH_MILLISECONDS = 1000

_log = logging.getLogger(__name__)


def start_tracing() -> Callable[[], None]:
    """Send spans where OpenTelemetry's own variables say; return what sends the last of them."""
    if not any(map(os.environ.get, _VARIABLES)):
        return lambda: None
    try:
        from opentelemetry import trace  # noqa: PLC0415 - an extra, and heavy
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError:
        _log.warning(
            "No spans are sent, though %s is set: that takes the extra outpaint-mcp[telemetry].",
            _VARIABLES[0],
        )
        return lambda: None
    name = os.environ.get("OTEL_SERVICE_NAME") or "outpaint-mcp"
    resource = Resource.create({"service.name": name, "service.version": __version__})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return lambda: _flush(provider)


def _flush(provider: TracerProvider) -> None:
    provider.force_flush(_FLUSH_MILLISECONDS)
