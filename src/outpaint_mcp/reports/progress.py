"""Progress in a few words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outpaint_mcp.models import Status

if TYPE_CHECKING:
    from outpaint_mcp.storage.records import RequestProgress


def in_words(seen: RequestProgress) -> str:
    """Describe in a few words the progress of a request that has not ended."""
    if seen.queue_position is not None:
        ahead = seen.queue_position - 1
        queued = "Next in the queue" if not ahead else f"In the queue, {ahead} ahead"
        return f"{queued} ({seen.step})" if seen.step else queued
    if seen.status is Status.IN_QUEUE:
        return f"In the queue ({seen.step})" if seen.step else "In the queue"
    share = "" if seen.progress is None else f", {seen.progress:.0%} done"
    return f"In progress ({seen.step}){share}" if seen.step else f"In progress{share}"
