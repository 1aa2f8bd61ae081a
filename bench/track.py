"""A recording with everything about it that does not depend on a method, kept on disk between runs."""

from __future__ import annotations

import glob
import hashlib
import os
import pickle
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import soundfile
from bench.beats import track_beats
from bench.listening import CHROMA_HOPS, Sound, Spectra, assemble, downmix, hop_frames, spectra
from bench.measures import Reference, reference
from bench.recordings import Recording, cache_folder

from outpaint_mcp.audio.sides import Side

if TYPE_CHECKING:
    from collections.abc import Callable

    from outpaint_mcp.audio.types import Ints, Samples

Value = TypeVar("Value")

_EDGE_SECONDS = 0.05
_QUIET_DB = 18.0
_MEASURES = ("baselines", "beats", "listening", "measures", "phase", "track", "verdict")
"""What is kept is thrown away when one of these modules changes."""


@dataclass(frozen=True, slots=True)
class Track:
    """A decoded recording, as the measures know it.

    Attributes:
        recording: which.
        samples: read-only: an engine that touches its input stops.
        sample_rate: in Hz.
        sound: what the measures hear.
        spectra: the same before what depends on the whole.
        beats: the bench's own, in frames.
        reference: the measures at these beats.
        edges: for each side `quiet` where its 50 ms lie 18 dB under the whole, else `loud`.
    """

    recording: Recording
    samples: Samples
    sample_rate: int
    sound: Sound
    spectra: Spectra
    beats: Ints
    reference: Reference
    edges: dict[Side, str]

    def whole_hops(self, seconds: float) -> int:
        """Frames nearest to a duration that put the source's windows on the output's grid."""
        grid = CHROMA_HOPS * hop_frames(self.sample_rate)
        return round(seconds * self.sample_rate / grid) * grid


def load_track(recording: Recording) -> Track:
    """Decode and analyse a recording, or take both from the cache."""
    samples, rate = kept(recording, "decoded", lambda: _decode(recording.path))
    samples.flags.writeable = False
    mono = downmix(samples)

    def analyse() -> tuple[Spectra, Ints, Reference, dict[Side, str]]:
        seen = spectra(mono, rate)
        sound = assemble(mono, rate, seen)
        beats, period = track_beats(sound)
        return seen, beats, reference(sound, beats, period), _edges(samples, rate)

    seen, beats, known, edges = kept_measures(recording, "analysed", analyse)
    return Track(recording, samples, rate, assemble(mono, rate, seen), seen, beats, known, edges)


def kept_measures(recording: Recording, what: str, make: Callable[[], Value]) -> Value:
    """A value that the measures' own code decides: kept until that code changes."""
    return kept(recording, what, make, version=_measures_key())


def kept(recording: Recording, what: str, make: Callable[[], Value], *, version: str = "") -> Value:
    """A value about a recording from the cache, or made and put there in place of other versions."""
    status = recording.path.stat()
    key = hashlib.sha256(f"{recording.path}:{status.st_size}:{status.st_mtime_ns}".encode()).hexdigest()[:8]
    folder, name = cache_folder("bench"), f"{recording.name}-{key}-{what}"
    path = folder / f"{name}-{version}.pickle"
    if path.exists():
        value: Value = pickle.loads(path.read_bytes())  # noqa: S301 (written by ourselves)
        return value
    value = make()
    for stale in folder.glob(f"{glob.escape(name)}-*.pickle"):
        stale.unlink(missing_ok=True)
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_bytes(pickle.dumps(value))
    partial.replace(path)
    return value


@cache
def _measures_key() -> str:
    here = Path(__file__).parent
    return hashlib.sha256(b"".join((here / f"{name}.py").read_bytes() for name in _MEASURES)).hexdigest()[:8]


def _decode(path: Path) -> tuple[Samples, int]:
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return samples, rate


def _edges(samples: Samples, sample_rate: int) -> dict[Side, str]:
    width, quiet_db = int(_EDGE_SECONDS * sample_rate), _level_db(samples) - _QUIET_DB
    near = {Side.BEFORE: samples[:width], Side.AFTER: samples[-width:]}
    return {side: "quiet" if _level_db(part) < quiet_db else "loud" for side, part in near.items()}


def _level_db(samples: Samples) -> float:
    return 10 * float(np.log10(np.mean(np.square(samples, dtype=np.float64)) + 1e-10))
