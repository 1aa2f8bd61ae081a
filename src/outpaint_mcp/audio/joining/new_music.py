"""The new music on one side of a source: what a model returned, joined, cut to length, and brought to its end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from outpaint_mcp.audio.engine.outer_end import Lines, make_end
from outpaint_mcp.audio.joining.strips import join_each

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from outpaint_mcp.audio.files.conversion import SampleSpec
    from outpaint_mcp.audio.joining.joins import Join
    from outpaint_mcp.audio.joining.model_output import ModelOutput
    from outpaint_mcp.audio.sides import Side
    from outpaint_mcp.audio.types import Samples

_HELD_SECONDS = 20.0
"""Twice the longest fade, which takes half of short music at most."""
_CLOSING_SECONDS = 0.008
"""Music that is cut off in full sound ends with so short a fade, which is no click."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How much of the music that a model returned is used, and how it begins and ends.

    Attributes:
        before_frames: the most that is used before the source; None for all there is.
        after_frames: the same after it.
        total_frames: the length of the whole file, from which the most after the source follows; None where that is
            given.
        fades_in: whether the music before the source fades in.
        fades_out: whether the music after it fades out.
    """

    before_frames: int | None = None
    after_frames: int | None = None
    total_frames: int | None = None
    fades_in: bool = False
    fades_out: bool = False

    def most_after(self, source_frames: int) -> int | None:
        """The most that is used after a source of this length."""
        if self.total_frames is None:
            return self.after_frames
        return max(0, self.total_frames - source_frames - (self.before_frames or 0))


class NewMusic:
    """Joins a model's outputs to an edge, and yields the new music block by block.

    Attributes:
        joins: one for each output that was used, as far as the blocks were taken; their `new_frames` are those used.
        shaped_frames: how many of the last frames are a fade of ours.
    """

    def __init__(  # noqa: PLR0913 - one side, each part of it named
        self,
        edge: Samples,
        outputs: Sequence[ModelOutput],
        side: Side,
        spec: SampleSpec,
        *,
        most_frames: int | None,
        fades: bool,
    ) -> None:
        self.joins: list[Join] = []
        self.shaped_frames = 0
        self._edge, self._outputs, self._side, self._spec = edge, outputs, side, spec
        self._most_frames = most_frames
        self._fades = fades

    @property
    def frames(self) -> int:
        """How many there are, once all blocks were taken."""
        return sum(join.new_frames for join in self.joins)

    def blocks(self) -> Iterator[Samples]:
        """Yield the new music outward; its end is held back until it is known."""
        rate, is_cut = self._spec.sample_rate, False
        held = np.zeros((0, self._spec.channels), np.float32)
        for new, joined in join_each(self._edge, self._outputs, self._side, self._spec, more_follow=False):
            room = len(new) if self._most_frames is None else self._most_frames - self.frames
            is_cut = len(new) > room
            used = new[: max(0, room)]
            if len(used):
                self.joins.append(replace(joined, new_frames=len(used)))
            held = np.concatenate([held, used])
            passed = max(0, len(held) - round(_HELD_SECONDS * rate))
            yield held[:passed]
            held = held[passed:].copy()
            if is_cut:
                break
        self.shaped_frames = self._bring_to_end(held, is_cut=is_cut)
        yield held

    def _bring_to_end(self, music: Samples, *, is_cut: bool) -> int:
        """Shape the end of the music, in place; return how many of its last frames are a fade."""
        rate = self._spec.sample_rate
        if self._fades:
            nowhere = np.zeros(0, np.int64)
            return make_end(music, Lines(nowhere, nowhere, 0.0), "fade", rate)
        frames = min(round(_CLOSING_SECONDS * rate), len(music)) if is_cut else 0
        if frames:
            falling = 0.5 + 0.5 * np.cos(np.pi * (np.arange(frames) + 0.5) / frames)
            music[len(music) - frames :] *= falling.astype(np.float32)[:, None]
        return 0
