"""The recordings that people talk about: short, composed, written as they would be found on a disk."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import soundfile
from tests.audio.composing import sequenced

if TYPE_CHECKING:
    from pathlib import Path

    from outpaint_mcp.audio.types import Samples

RATE = 22_050
BPM = 120.0
BEAT_SECONDS = 60 / BPM
FADE_SECONDS = 8.0


@cache
def _music(beats: int, seed: int, rate: int) -> Samples:
    return sequenced(bpm=BPM, beats=beats, sample_rate=rate, seed=seed)[0]


def song(seconds: float, *, seed: int = 0, rate: int = RATE) -> Samples:
    """Compose music that ends in full music; with a length of whole bars (2 s) it is a loop."""
    beats = int(np.ceil(seconds / BEAT_SECONDS)) + 1
    return _music(beats, seed, rate)[: round(seconds * rate)].copy()


def fading(seconds: float) -> Samples:
    """Compose music that fades out over its last eight seconds."""
    samples = song(seconds)
    fade = round(FADE_SECONDS * RATE)
    samples[-fade:] *= (np.linspace(1, 0, fade, dtype=np.float32) ** 2)[:, None]
    return samples


def with_a_soft_middle(seconds: float) -> Samples:
    """Compose music whose middle third is 12 dB softer than the rest."""
    samples = song(seconds)
    third = round(seconds / 3 / (4 * BEAT_SECONDS)) * round(4 * BEAT_SECONDS * RATE)
    samples[third : 2 * third] *= 0.25
    return samples


def write(path: Path, samples: Samples, *, subtype: str | None = None, rate: int = RATE) -> Path:
    """Write a recording; the suffix says the format."""
    soundfile.write(path, samples, rate, subtype or ("VORBIS" if path.suffix == ".ogg" else "PCM_16"))
    return path
