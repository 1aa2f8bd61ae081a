"""What is asked of an extended file; neither numpy nor pydantic is loaded for this."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from outpaint_mcp.errors import Hint, InvalidRequest

MAX_TAKES = 4
MAX_TOTAL_SECONDS = 7_200.0
"""Two hours: what a source may last, too."""

LEAST_SECONDS = 0.01
"""Nobody hears less music than this, and a recording may have no frame for it."""

_ENDING_SECONDS = 4.0
"""An ending of ours takes no longer; a source that is too long can be cut this much before its new end."""

PlacementName = Literal["natural", "outside", "inside"]
BeginningName = Literal["natural", "fade", "cut", "build"]
EndingName = Literal["natural", "fade", "cut", "loop", "breakdown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What is asked of an extended file.

    Attributes:
        before_seconds: how much longer it is to be before the source; 0 for nothing.
        after_seconds: how much longer after it.
        total_seconds: how long it is to be in all, instead of `after_seconds`; 0 where that is not given.
        placement: where the new music goes: `natural`: next to the source's full music, whose own beginning and ending
            come first and last again; `outside`: before and after all of it; `inside`: into it.
        beginning: how music before the source begins.
        ending: how music after it ends.
        tags: words of which some steer the choice of material.
        start_seconds: where in the person's recording the source of all this begins, of which it may be a part.
    """

    before_seconds: float = 0.0
    after_seconds: float = 0.0
    total_seconds: float = 0.0
    placement: PlacementName = "natural"
    beginning: BeginningName = "natural"
    ending: EndingName = "natural"
    tags: str = ""
    start_seconds: float = 0.0

    def check_total(self, source_seconds: float) -> None:
        """See that a source of this length leaves something to add.

        Raises:
            InvalidRequest: it alone is as long as the whole is to be, or longer.
        """
        left = self.total_seconds - self.before_seconds
        if not self.total_seconds or left - source_seconds >= LEAST_SECONDS:
            return
        first = f", and {self.before_seconds:g} s are to come before it" if self.before_seconds else ""
        cut = max(0.8 * left, left - _ENDING_SECONDS)
        way_out = (
            f" To shorten it, keep the total, and let the part to extend end at {self.start_seconds + cut:.6g} s: it"
            " plays up to there, then ends."
            if left > 1
            else ""
        )
        raise InvalidRequest(
            f"The source already lasts {source_seconds:.2f} s{first}, so it cannot be extended to"
            f" {self.total_seconds:g} s.{way_out}",
            hint=Hint.END_EARLIER if way_out else None,
            field="total_seconds",
        )
