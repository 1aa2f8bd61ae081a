"""What an extension is to be like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from outpaint_mcp.audio.engine.loop_end import Landings
    from outpaint_mcp.audio.engine.outer_end import OuterName
    from outpaint_mcp.audio.engine.periods import Period
    from outpaint_mcp.audio.types import Floats, Samples


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What an extension is to be like.

    Attributes:
        outer: what its outer end is like.
        returns: whether its outer end has to lead back to the music at the edge, at full level, so that what lies
            behind the edge can follow; its length is then the nearest possible one.
        exactly: whether the length matters more than ending on a bar.
        beyond: what the source itself plays behind the edge, outward; None or empty where it ends there.
        preference: cost of playing each unit `[units]`, or each at each step; see `Course`.
        period: the loop that the region is, which is then continued as it is; None if it is none.
        landings: where to end so that the region's beginning can follow; None where that does not matter. The length is
            then the nearest possible one, too.
        on_line: whether to end at the bar line or beat that is nearest to the length.
        leg: counts the extensions that follow each other, as each is to be another one.
    """

    outer: OuterName = "natural"
    returns: bool = False
    exactly: bool = False
    beyond: Samples | None = None
    preference: Floats | None = None
    period: Period | None = None
    landings: Landings | None = None
    on_line: bool = False
    leg: int = 0
