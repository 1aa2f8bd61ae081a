"""The model: a canvas of new audio, the source's sound, and new audio, decoded anew as one.

New audio is the source's own edge played over and over, which is continuous at the seam and keeps a beat.
"""

from __future__ import annotations

import hashlib
import io
import json
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fakes.switches import Json, Switches

Samples = NDArray[np.float32]

STEP_SECONDS = 512 * 8 / 44_100
"""ACE-Step 1.0: hops of 512 frames at 44.1 kHz, eight of them in a latent step."""
MAX_CANVAS_SECONDS = 240.0
MAX_SOURCE_SECONDS = 3600.0

_EDGE_SECONDS = 4.0
_FADE_SECONDS = 0.03
_FLOOR_DB = -70.0
_BLOCK_SECONDS = 1.0


class ModelFailedError(Exception):
    """The job fails, in the service's own words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What will be made: frames at the output's rate, and what the source was."""

    before_frames: int
    source_frames: int
    after_frames: int
    sample_rate: int
    source_seconds: float
    asked_seconds: float

    @property
    def seconds(self) -> float:
        """Length of the output."""
        return (self.before_frames + self.source_frames + self.after_frames) / self.sample_rate


def plan(source: bytes, inputs: Json, switches: Switches) -> Plan:
    """Work out an output's exact length.

    Raises:
        ModelFailedError: the source cannot be decoded, or the model's upstream faults strike.
    """
    try:
        with soundfile.SoundFile(io.BytesIO(source)) as file:
            source_seconds = file.frames / file.samplerate
    except (soundfile.LibsndfileError, ValueError):
        raise ModelFailedError("could not decode audio") from None
    before, after = durations(inputs)
    if not 0 < source_seconds <= MAX_SOURCE_SECONDS:
        raise ModelFailedError("audio must be up to 60 minutes long, and not empty")
    if switches.model_faults:
        if max(before, after) > source_seconds:
            raise ModelFailedError("The expanded size of the tensor must match the existing size")
        if before + source_seconds + after > MAX_CANVAS_SECONDS:
            raise ModelFailedError("CUDA error: canvas exceeds max_duration 240.0")
    asked_seconds = before + after
    if switches.model_faults and before and after:
        after = max(0.0, after - before)
    if switches.quantised:
        before, after = (round(side / STEP_SECONDS) * STEP_SECONDS for side in (before, after))
    rate = switches.sample_rate
    before_frames, source_frames = round(before * rate), max(1, round(source_seconds * rate))
    total_frames = max(1, round((before + source_seconds + after + switches.seconds_off) * rate))
    before_frames = min(before_frames, total_frames)
    source_frames = min(source_frames, total_frames - before_frames)
    return Plan(
        before_frames=before_frames,
        source_frames=source_frames,
        after_frames=total_frames - before_frames - source_frames,
        sample_rate=rate,
        source_seconds=source_seconds,
        asked_seconds=asked_seconds,
    )


def durations(inputs: Json) -> tuple[float, float]:
    """Return the seconds asked for before and after, the schema's defaults where nothing was said."""
    before, after = inputs.get("extend_before_duration", 0), inputs.get("extend_after_duration", 30)
    assert isinstance(before, int | float)
    assert isinstance(after, int | float)
    return float(before), float(after)


def render(source: bytes, inputs: Json, what: Plan, to: Path) -> None:
    """Write the output in the container that its name says; the same inputs and seed give the same bytes."""
    rng = np.random.default_rng(_entropy(source, inputs))
    floor = np.float32(10 ** (_FLOOR_DB / 20))
    with soundfile.SoundFile(to, "w", what.sample_rate, channels=2) as file:
        for block in _canvas(source, what, rng):
            file.write(block + floor * rng.standard_normal(block.shape, dtype=np.float32))


def _entropy(source: bytes, inputs: Json) -> int:
    seed = inputs.get("seed", -1)
    if seed == -1:
        return secrets.randbits(64)
    guidance = json.dumps([*durations(inputs), seed, inputs["tags"], inputs.get("lyrics", "")])
    return int.from_bytes(hashlib.sha256(source + guidance.encode()).digest())


def _canvas(source: bytes, what: Plan, rng: np.random.Generator) -> Iterator[Samples]:
    block_frames = round(_BLOCK_SECONDS * what.sample_rate)
    edge_frames = round((_EDGE_SECONDS + _FADE_SECONDS) * what.sample_rate)
    if what.before_frames:
        first = np.concatenate(list(_take(_decoded(source, what.sample_rate), edge_frames)))
        carry_on = _Extension(first[::-1], what.sample_rate, rng)
        for stop in range(what.before_frames, 0, -block_frames):
            yield carry_on(max(0, stop - block_frames), stop)[::-1]
    last = np.zeros((0, 2), np.float32)
    for block in _exactly(_decoded(source, what.sample_rate), what.source_frames):
        yield block
        last = np.concatenate([last, block])[-edge_frames:]
    if what.after_frames:
        carry_on = _Extension(last, what.sample_rate, rng)
        for start in range(0, what.after_frames, block_frames):
            yield carry_on(start, min(start + block_frames, what.after_frames))


class _Extension:
    """An edge, ending at the seam, played in a loop; crossfaded out of its own mirror image at the seam."""

    def __init__(self, edge: Samples, sample_rate: int, rng: np.random.Generator) -> None:
        self._fade_frames = max(1, min(round(_FADE_SECONDS * sample_rate), len(edge) // 4))
        ramp = np.linspace(0, 1, self._fade_frames, dtype=np.float32)[:, None]
        self._ramp = ramp
        self._mirror = edge[::-1][: self._fade_frames]
        self._loop = edge[-max(1, len(edge) - self._fade_frames) :].copy()
        tail = self._loop[-self._fade_frames :]
        tail[:] = tail * (1 - ramp[: len(tail)]) + edge[: len(tail)] * ramp[: len(tail)]
        self._swell_hz = rng.uniform(0.05, 0.2) / sample_rate
        self._depth = rng.uniform(-0.05, 0.05)

    def __call__(self, start: int, stop: int) -> Samples:
        """Return the frames at these distances from the seam, `[frames, 2]`."""
        distance = np.arange(start, stop)
        made = self._loop[distance % len(self._loop)]
        fading = max(0, min(stop, len(self._mirror)) - start)
        ramp = self._ramp[start : start + fading]
        made[:fading] = self._mirror[start : start + fading] * (1 - ramp) + made[:fading] * ramp
        swell = 1 + self._depth * np.sin(2 * np.pi * self._swell_hz * distance)
        return np.asarray(made * swell[:, None], np.float32)


def _decoded(source: bytes, sample_rate: int) -> Iterator[Samples]:
    with soundfile.SoundFile(io.BytesIO(source)) as file:
        resampler = soxr.ResampleStream(file.samplerate, sample_rate, 2, dtype="float32")
        for block in file.blocks(round(_BLOCK_SECONDS * file.samplerate), dtype="float32", always_2d=True):
            stereo = np.repeat(block, 2, axis=1) if block.shape[1] == 1 else block[:, :2]
            if file.samplerate == sample_rate:
                yield stereo.copy()
            else:
                yield resampler.resample_chunk(np.ascontiguousarray(stereo))
        if file.samplerate != sample_rate:
            yield resampler.resample_chunk(np.zeros((0, 2), np.float32), last=True)


def _take(blocks: Iterator[Samples], frames: int) -> Iterator[Samples]:
    for block in blocks:
        yield block[:frames]
        frames -= len(block)
        if frames <= 0:
            return


def _exactly(blocks: Iterator[Samples], frames: int) -> Iterator[Samples]:
    for block in _take(blocks, frames):
        yield block
        frames -= len(block)
    if frames > 0:
        yield np.zeros((frames, 2), np.float32)
