"""Music on either side of a source, or inside it, written as it is composed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from outpaint_mcp.audio.engine.analysis import analyse
from outpaint_mcp.audio.engine.bars import find_bars
from outpaint_mcp.audio.engine.choice import describe_choice
from outpaint_mcp.audio.engine.continuation import MOST_STRETCH, extend
from outpaint_mcp.audio.engine.fitting import fitted, nudged, nudging, parts_of, scaled, stretched
from outpaint_mcp.audio.engine.intent import Intent
from outpaint_mcp.audio.engine.loop_end import (
    LoopLength,
    bar_lines,
    close_loop,
    find_landings,
    loop_length,
    loop_length_of,
)
from outpaint_mcp.audio.engine.periods import Period, find_period
from outpaint_mcp.audio.engine.steering import Steering, steer
from outpaint_mcp.audio.files.conversion import to_samples
from outpaint_mcp.audio.layout import Part, PartKind
from outpaint_mcp.audio.peaks import ceiling_of, limit_peaks
from outpaint_mcp.audio.sides import Side
from outpaint_mcp.audio.steering_words import read_wish
from outpaint_mcp.errors import InvalidRequest

if TYPE_CHECKING:
    from typing import Any

    import numpy.typing as npt

    from outpaint_mcp.audio.engine.analysis import Material
    from outpaint_mcp.audio.engine.outer_end import OuterName
    from outpaint_mcp.audio.engine.step_progress import StepProgress
    from outpaint_mcp.audio.files.encode import AudioWriter
    from outpaint_mcp.audio.types import Extension, Samples
    from outpaint_mcp.wishes import Wishes

_LEG_SECONDS = 240.0
"""More than this is composed leg by leg, each of which leads back to the source's edge."""
_MOST_NUDGE = 0.05
"""Music that has to end where the source goes on, or begins again, is this much faster or slower at most."""
_BEYOND_SECONDS = 0.25
_RETURN_SECONDS = 0.05

_SHAPES: dict[str, OuterName] = {"loop": "open", "build": "layers", "breakdown": "layers"}
_OUTER: dict[str, OuterName] = {"natural": "natural", "fade": "fade", "cut": "cut", **_SHAPES}


class Composer:
    """Composes the extensions of one file and writes them.

    Attributes:
        methods: how the music on each side was generated; see `Extension`.
        tempo_bpm: of the source near the music that was composed last; None without a steady beat.
        choice: what the words that steer have come to, as measured; empty where there are none.
    """

    def __init__(
        self, sample_rate: int, writer: AudioWriter, wishes: Wishes, seed: int, steps: StepProgress
    ) -> None:
        self.methods: dict[Side, str] = {}
        self.tempo_bpm: float | None = None
        self.choice = ""
        self._rate = sample_rate
        self._writer = writer
        self._wishes = wishes
        self._seed = seed
        self._steps = steps
        self._wish = read_wish(wishes.tags)
        self._steering = Steering(None, (), ())
        self._material: Material | None = None
        self._offset = 0
        self._period: Period | None = None
        self._all_frames: int | None = None

    def listen(
        self, region: Samples, offset: int, *, all_frames: int | None = None, may_loop: bool = False
    ) -> None:
        """Analyse the material of what is composed from now on.

        Args:
            region: full music up to the edge at which new music begins.
            offset: its first frame in the source.
            all_frames: the source's length, if that is known by now.
            may_loop: whether the region is all there is, so that it can be a loop.
        """
        if all_frames is not None:
            self._all_frames = all_frames
        known = self._material
        if known is not None and (self._offset, len(known.samples)) == (offset, len(region)):
            return
        self._steps.begin("listening")
        self._material, self._offset = analyse(region, self._rate), offset
        if self._wish.steers and self._material.music is not None:
            self._steering = steer(self._wish, self._material.music, self._rate)
        music = self._material.music
        self._period = None
        if may_loop and music is not None:
            self._period = find_period(region, self._rate, music.features, music.beats)

    def is_as_long(self, frames: int) -> bool:
        """Whether the source is as long as it seemed when its beginning was read."""
        return self._all_frames is None or frames == self._all_frames

    def lead_in(self, frames: int, opening: Samples, *, keeps_beginning: bool) -> list[Part]:
        """Write the music that leads into the source's full music.

        Args:
            frames: how many are to be added.
            opening: what the source has before its full music.
            keeps_beginning: whether to begin with that again.

        Returns:
            What was written.
        """
        beyond = opening[: -round(_BEYOND_SECONDS * self._rate) - 1 : -1]
        if keeps_beginning and self._wishes.beginning == "natural":
            extension = self._extend(Side.BEFORE, frames, Intent(returns=True, beyond=beyond))
            if extension.returned and len(extension.samples) <= frames + len(opening):
                first = fitted(opening[::-1], len(opening) + frames - len(extension.samples), self._rate)[
                    ::-1
                ]
                self._writer.write(np.ascontiguousarray(first))
                self._write(extension, Side.BEFORE)
                start = len(opening) - len(first)
                own = Part(PartKind.OWN_BEGINNING, len(first), start if start >= 0 else None)
                return [own, *parts_of(extension, Side.BEFORE, self._offset, self._rate)]
        outer = "open" if self._wishes.ending == "loop" else _OUTER[self._wishes.beginning]
        intent = Intent(outer=outer, beyond=beyond, on_line=outer == "cut")
        extension = self._extend(Side.BEFORE, frames + len(opening), intent)
        return self._write_exactly(extension, Side.BEFORE, frames + len(opening))

    def lead_out(self, frames: int, coda: npt.NDArray[Any], *, keeps_ending: bool) -> list[Part]:
        """Write the music that follows the source's full music.

        Args:
            frames: how many are to be added.
            coda: what the source has behind its full music.
            keeps_ending: whether to end with that again.

        Returns:
            What was written.
        """
        beyond = to_samples(coda[: round(_BEYOND_SECONDS * self._rate)])
        keeps_ending = keeps_ending and self._wishes.ending == "natural"
        parts, left = self._legs(frames if keeps_ending else frames + len(coda), beyond)
        leg = len(parts)
        if keeps_ending:
            extension = self._extend(Side.AFTER, left, Intent(returns=True, beyond=beyond, leg=leg))
            if extension.returned and len(extension.samples) <= left + len(coda):
                self._write(extension, Side.AFTER)
                last = fitted(coda, len(coda) + left - len(extension.samples), self._rate)
                self._writer.write(last)
                own = Part(PartKind.OWN_ENDING, len(last), self._offset + self._region_frames)
                return [*parts, *parts_of(extension, Side.AFTER, self._offset, self._rate), own]
            left += len(coda)
        if self._wishes.ending == "loop" and self._period is None:
            return [*parts, *self._lead_back(left, beyond, leg)]
        outer = _OUTER[self._wishes.ending]
        intent = Intent(outer=outer, beyond=beyond, on_line=outer == "cut", leg=leg)
        extension = self._extend(Side.AFTER, left, intent)
        if outer == "open":
            self._close_loop(extension)
        return [*parts, *self._write_exactly(extension, Side.AFTER, left)]

    def insert(self, frames: int, beyond: Samples) -> list[Part]:
        """Write music that leads from a place of the source back to that place.

        Raises:
            InvalidRequest: the source is too short for that.
        """
        beyond = beyond[: round(_BEYOND_SECONDS * self._rate)]
        parts, left = self._legs(frames, beyond)
        intent = Intent(returns=True, exactly=True, beyond=beyond, leg=len(parts))
        extension = self._extend(Side.AFTER, left, intent)
        if not extension.returned or abs(len(extension.samples) / left - 1) > _MOST_NUDGE:
            raise InvalidRequest(
                "No music of this length can be put inside the source without a break in its beat: ask for a few"
                " seconds more, or for another placement.",
                field="placement",
            )
        self._writer.write(nudged(self._limited(extension, Side.AFTER), extension.lines, left, self._rate))
        return [*parts, *scaled(parts_of(extension, Side.AFTER, self._offset, self._rate), left)]

    def loop_length(self, asked_frames: int, before_frames: int, stop: int, source_frames: int) -> LoopLength:
        """Find the length nearest to the one asked for at which the file can lead back to its own beginning.

        Args:
            asked_frames: the length of the whole file asked for.
            before_frames: how much is added before the source.
            stop: where in the source the new music begins.
            source_frames: the source's length; the file has more.

        Raises:
            InvalidRequest: the file would begin with music that nothing leads back to.
        """
        assert self._material is not None  # noqa: S101 - it was listened to before
        music, period = self._material.music, self._period
        if period is None or music is None:
            if before_frames:
                raise InvalidRequest(
                    "A loop cannot get music before it in the same request: add that first.", field="ending"
                )
            bars = None if music is None else find_bars(music)
            return loop_length(asked_frames, stop, music, bars, longer_than=source_frames)
        loop, lines = (replace(period, first=0), ()) if before_frames else (period, bar_lines(period))
        return loop_length_of(loop, asked_frames, before_frames + source_frames, lines)

    def _close_loop(self, extension: Extension) -> None:
        """See that a loop that does not end where its source ends has no click at the wrap, in place."""
        material, period = self._material, self._period
        last = extension.segments[-1]
        if material and material.music and period and last.source_frame + last.frames != period.stop:
            close_loop(extension.samples, material, material.music)

    def _lead_back(self, frames: int, beyond: Samples, leg: int) -> list[Part]:
        """Write music that ends where the region's beginning can follow.

        Raises:
            InvalidRequest: nothing in it leads there.
        """
        assert self._material is not None  # noqa: S101 - as above
        music = self._material.music
        landings = None if music is None else find_landings(self._material, music)
        intent = Intent(outer="open", landings=landings, beyond=beyond, leg=leg)
        extension = self._extend(Side.AFTER, frames, intent)
        off = abs(len(extension.samples) / frames - 1)
        if landings is None or extension.outer_unit is None or not extension.returned or off > _MOST_NUDGE:
            raise InvalidRequest(
                "Nothing in this source leads back to its beginning in this length: ask for some seconds more, or for"
                " another ending.",
                field="ending",
            )
        fit = stretched if off <= MOST_STRETCH else nudging(extension.lines)
        samples = fit(self._limited(extension, Side.AFTER), frames, self._rate)
        landings.lead_back(samples, extension.outer_unit)
        self._writer.write(samples)
        return scaled(parts_of(extension, Side.AFTER, self._offset, self._rate), frames)

    def _write_exactly(self, extension: Extension, side: Side, frames: int) -> list[Part]:
        """Write an extension with exactly so many frames; what ends on a line may have a few more or less."""
        self._writer.write(stretched(self._limited(extension, side), frames, self._rate))
        return scaled(parts_of(extension, side, self._offset, self._rate), frames)

    @property
    def _region_frames(self) -> int:
        return 0 if self._material is None else len(self._material.samples)

    def _legs(self, frames: int, beyond: Samples) -> tuple[list[Part], int]:
        """Write all but the last leg; return what was written, and how many frames are left."""
        most = round(_LEG_SECONDS * self._rate)
        passes = 2 * self._period.frames if self._period else 0  # a leg of a loop is all of it at least once
        parts, leg = list[Part](), 0
        while frames > max(most, passes):
            intent = Intent(outer="cut", returns=True, beyond=beyond, leg=leg)
            extension = self._extend(Side.AFTER, min(most, frames // 2), intent)
            self._write(extension, Side.AFTER)
            parts += parts_of(extension, Side.AFTER, self._offset, self._rate)
            frames -= len(extension.samples)
            leg += 1
        return parts, frames

    def _extend(self, side: Side, frames: int, intent: Intent) -> Extension:
        assert self._material is not None  # noqa: S101 - it was listened to before
        progress = self._steps.begin("composing")
        material = self._material
        intent = replace(intent, preference=self._steering.preference, period=self._period)
        extension = extend(material, side, frames, seed=self._seed, intent=intent, on_progress=progress)
        self.methods[side] = extension.method
        if self._wish.steers and material.music is not None:
            start, segments = self._offset / self._rate, None if intent.period else extension.segments
            self.choice = describe_choice(
                self._wish, self._steering, segments, material.music, self._rate, start
            )
        self.tempo_bpm = extension.tempo_bpm
        return extension

    def _write(self, extension: Extension, side: Side) -> None:
        self._writer.write(self._limited(extension, side))

    def _limited(self, extension: Extension, side: Side) -> Samples:
        """Keep the peaks below the ceiling; where the music returns, the source's own level follows."""
        assert self._material is not None  # noqa: S101 - as above
        outwards = slice(None, None, 1 if side is Side.AFTER else -1)
        ceiling = ceiling_of(self._material.peak if self._writer.is_float else min(self._material.peak, 1.0))
        raw = extension.samples[outwards]
        limited = limit_peaks(raw, self._rate, ceiling)
        if extension.returned and limited is not raw:
            count = min(round(_RETURN_SECONDS * self._rate), len(raw))
            share = np.linspace(0, 1, count, dtype=np.float32)[:, None]
            limited[len(raw) - count :] *= 1 - share
            limited[len(raw) - count :] += raw[len(raw) - count :] * share
        return limited[outwards]
