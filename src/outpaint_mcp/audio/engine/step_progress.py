"""Progress of the steps of one extension, as a fraction of the whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from outpaint_mcp.audio.types import Progress
    from outpaint_mcp.wishes import Wishes

Report = Callable[[float, str], None]
"""Called with the completed fraction of the whole, 0 to 1, and the current step. It may raise to stop the work."""

_SHARES = {"decoding": 3.0, "listening": 2.0, "composing": 2.0, "writing": 1.0}
"""Approximate relative duration of each step."""
_PROGRESS_STEP = 0.01
"""Smaller steps of progress are not reported."""


class StepProgress:
    """Maps the completed fraction of each step to a fraction of the whole, which never decreases."""

    def __init__(self, report: Report, wishes: Wishes) -> None:
        """Prepare for the steps that the wishes take."""
        self._report = report
        before = wishes.before_seconds > 0 and wishes.placement != "inside"
        after = wishes.after_seconds > 0 or wishes.total_seconds > 0 or wishes.placement == "inside"
        side = _SHARES["listening"] + _SHARES["composing"]
        self._total = sum(
            ((_SHARES["decoding"] + side) * before, _SHARES["decoding"], side * after, _SHARES["writing"])
        )
        self._next = self._reported = 0.0

    def begin(self, word: str) -> Progress:
        """Report the next step; return the callback for its own completed fraction."""
        share = _SHARES[word] / self._total
        start = min(self._next, 1 - share)
        self._next = start + share
        self._reported = max(self._reported, start)  # a step may be taken several times
        self._report(self._reported, word)

        def progress(fraction: float) -> None:
            done = start + share * min(1.0, fraction)
            if done >= self._reported + _PROGRESS_STEP:
                self._reported = done
                self._report(done, word)

        return progress
