"""What a longer file says, in its own comment, of how it was made."""

from __future__ import annotations

from outpaint_mcp._version import __version__


def comment(provider: str, before_seconds: float, after_seconds: float, *, seed: int) -> str:
    """Say what was added, who did it, and how to have the same again."""
    sides = (("before", before_seconds), ("after", after_seconds))
    added = " and ".join(f"{seconds:g} s {side}" for side, seconds in sides if seconds)
    return f"Extended by outpaint-mcp {__version__}: {added}; provider {provider}, seed {seed}."
