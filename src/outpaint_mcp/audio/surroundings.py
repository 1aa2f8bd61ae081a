"""What lies around a recording's full music; numpy is not loaded for this."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

EdgeName = Literal["full", "fades", "rings out", "silence", "own", "ours"]
"""How a recording begins or ends.

`full`: in full music; `fades`, `rings out`: its level sinks there; `silence`: silence follows; `own`, `ours`: an
earlier extension put its own ending there again, or one of ours.
"""


@dataclass(frozen=True, slots=True)
class FullMusic:
    """Where a recording's full music begins and ends.

    Attributes:
        frames: length of the recording.
        sample_rate: frames per second.
        start: its first full frame.
        stop: the frame after the last full one.
        beginning: what comes before.
        ending: what comes behind.
    """

    frames: int
    sample_rate: int
    start: int
    stop: int
    beginning: EdgeName
    ending: EdgeName

    @property
    def start_seconds(self) -> float:
        """The beginning of the full music in the recording."""
        return self.start / self.sample_rate

    @property
    def stop_seconds(self) -> float:
        """The end of the full music in the recording."""
        return self.stop / self.sample_rate
