"""Times as people write them."""

from __future__ import annotations


def clock(seconds: float) -> str:
    """Write seconds as minutes and seconds, such as 3:07; with hours from one on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
