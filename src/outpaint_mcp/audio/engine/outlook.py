"""A region of the source seen from the edge that is extended.

Outward, time runs away from the source: as it does after the end, and turned round before the beginning. The
region's last outward frame touches the extension. One way of thinking serves both sides.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from outpaint_mcp.audio.engine.analysis import Material, Music
from outpaint_mcp.audio.shapes import Floats, Ints, Samples, Side
from outpaint_mcp.audio.waves import level_db

Value = TypeVar("Value", np.float32, np.float64, np.int64)

_QUIET_EDGE_SECONDS, _QUIET_EDGE_DB = 0.05, 18.0


@dataclass(frozen=True, slots=True)
class Outlook:
    """Analysed material and the side on which it goes on."""

    material: Material
    music: Music
    side: Side

    @property
    def backwards(self) -> bool:
        """Whether outward is against the music's own time."""
        return self.side is Side.BEFORE

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
        """The units' bounds, outward."""
        bounds = self.music.units.bounds
        return bounds[-1] - bounds[::-1] if self.backwards else bounds

    @property
    def lengths(self) -> Ints:
        """The units' lengths in frames, outward."""
        return np.diff(self.bounds)

    def turned(self, samples: Samples) -> Samples:
        """Samples in playing order seen outward, or the other way round; a view."""
        return samples[::-1] if self.backwards else samples

    def forward(self, start: int, stop: int) -> tuple[int, int]:
        """An outward span of frames in the region's own order."""
        total = len(self.material.samples)
        return (total - stop, total - start) if self.backwards else (start, stop)

    def steps(self, costs: Floats) -> Floats:
        """Costs of going from unit to unit `[units, units]` as they are met outward."""
        return costs[::-1, ::-1].T if self.backwards else costs

    def ends_quietly(self) -> bool:
        """Whether the source dies away at this edge (18 dB under its mean), and so can serve as an outer one."""
        frames = max(1, int(_QUIET_EDGE_SECONDS * self.sample_rate))
        return level_db(self.samples[-frames:]) < self.material.level_db - _QUIET_EDGE_DB
