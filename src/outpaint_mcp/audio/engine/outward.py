"""A region of the source, seen from the edge that is extended.

Outward, time runs away from the source: forward after its end, reversed before its beginning. The region's
last outward frame touches the extension. This way, the same code serves both sides.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from outpaint_mcp.audio.engine.analysis import Material, Music
from outpaint_mcp.audio.levels import level_db
from outpaint_mcp.audio.sides import Side
from outpaint_mcp.audio.types import Floats, Ints, Samples

Value = TypeVar("Value", np.float32, np.float64, np.int64)
_Frames = TypeVar("_Frames", int, Ints)

_QUIET_EDGE_SECONDS, _QUIET_EDGE_DB = 0.05, 18.0
"""The end of the region that is compared with its mean level, and how far below it counts as quiet."""


@dataclass(frozen=True, slots=True)
class OutwardView:
    """Analysed material and the side that is extended.

    Attributes:
        material: the region.
        music: its musical analysis.
        side: the side to extend.
    """

    material: Material
    music: Music
    side: Side

    @property
    def backwards(self) -> bool:
        """Whether outward is the reverse of playing order."""
        return self.side is Side.BEFORE

    @property
    def direction(self) -> int:
        """The step of a slice that converts between playing order and outward order."""
        return -1 if self.backwards else 1

    @property
    def sample_rate(self) -> int:
        """Frames per second."""
        return self.material.sample_rate

    @property
    def samples(self) -> Samples:
        """The region, outward; a view."""
        return self.turned(self.material.samples)

    @property
    def bounds(self) -> Ints:
        """The unit boundaries, outward."""
        bounds = self.music.units.bounds
        return bounds[-1] - bounds[::-1] if self.backwards else bounds

    @property
    def lengths(self) -> Ints:
        """The unit lengths in frames, outward."""
        return np.diff(self.bounds)

    def turned(self, samples: Samples) -> Samples:
        """Convert samples between playing order and outward order; a view."""
        return samples[::-1] if self.backwards else samples

    def forward(self, start: _Frames, stop: _Frames) -> tuple[_Frames, _Frames]:
        """Convert an outward span of frames, or spans, to playing order."""
        total = len(self.material.samples)
        return (total - stop, total - start) if self.backwards else (start, stop)

    def steps(self, costs: Floats) -> Floats:
        """Convert transition costs `[units, units]` to outward order."""
        return costs[::-1, ::-1].T if self.backwards else costs

    def ends_quietly(self) -> bool:
        """Whether the source is quiet at this edge (18 dB below its mean) and so can serve as an outer end."""
        frames = max(1, int(_QUIET_EDGE_SECONDS * self.sample_rate))
        return level_db(self.samples[-frames:]) < self.material.level_db - _QUIET_EDGE_DB
