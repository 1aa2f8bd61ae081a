"""The user's own samples put back into what a provider made of them: `python -m bench.restoring [seconds a side]`.

A source is cut out of each development recording, 20 s with as much before and after it as is asked. What the
provider made of it is the recording itself, coded as MP3 of 128 kb/s at 48 kHz, shifted, gained and stretched, so
that the truth is known. Each is delivered as it came, cut hard at the nominal places, and put back; and each source
is offered another recording, which has to be refused. Flux and clicks are the engine's measures (`audio/seams.py`)
against the source at its own beats.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import soxr
from bench.recordings import find_recordings
from tests.audio.fake_model import read, write

from outpaint_mcp.audio.engine.analysis import Material, analyse
from outpaint_mcp.audio.joining.restore import restore
from outpaint_mcp.audio.levels import mono, percentile
from outpaint_mcp.audio.seams import FLUX_SECONDS, click_near, flux_around

if TYPE_CHECKING:
    from outpaint_mcp.audio.types import Samples

SOURCE_SECONDS = 20
RATE = 48_000
FAULTS = (
    (0.0, 0.0, 0.0),
    (0.093, -2.0, 0.0),
    (-0.093, 3.0, 0.0),
    (0.093, -2.0, 0.001),
    (-0.093, 3.0, -0.001),
)
"""Shift in seconds, gain in dB, drift as a share."""
METHODS = ("as it came", "cut hard", "put back")
HEAD = (
    "| delivered | source bit-exact | share of its frames | edge off, frames (most) | seams over its 95th percentile "
    "of flux | over its limit | clicks |"
)


@dataclass(frozen=True, slots=True)
class Seam:
    """One seam: its flux and click, and what the recording itself has there."""

    method: str
    flux: float
    own_flux: float
    click: float
    own_click: float
    usual: float
    limits: tuple[float, float]


def make(music: Samples, rate: int, fault: tuple[float, float, float], path: Path) -> Samples:
    """Write what a provider makes of music; returns how it decodes, at the music's rate."""
    shift, gain_db, drift = fault
    frames = round(shift * rate)
    music = np.pad(music, ((frames, 0), (0, 0))) if frames > 0 else music[-frames:]
    music = soxr.resample(music, rate, RATE * (1 + drift)) * np.float32(10 ** (gain_db / 20))
    write(path, music, RATE, "MP3", "MPEG_LAYER_III", compression_level=0.667, bitrate_mode="CONSTANT")
    return np.asarray(soxr.resample(read(path), RATE, rate))


def seam(
    method: str, samples: Samples, at: int, truth: tuple[Samples, int], material: Material
) -> Seam | None:
    """Measure a seam in place, and the recording at the same one; None where the source has nothing to compare."""
    music = material.music
    if music is None:
        return None
    rate, heard = material.sample_rate, music.features
    reach = int(FLUX_SECONDS * heard.windows_per_second)
    windows = np.rint(music.units.bounds / heard.frames_per_window).astype(int)
    beats = [heard.flux_db[max(0, at - reach) : at + reach + 1].max(initial=0) for at in windows.tolist()]
    found = []
    for audio, place in ((samples, at), truth):
        near = audio[place - rate : place + rate]
        flux = flux_around(mono(near, material.downmix), rate, rate, heard)
        found.append((flux, click_near(near, rate, rate, material.downmix)))
    limits = music.limits.flux_db, music.limits.click
    (flux, click), (own_flux, own_click) = found
    return Seam(method, flux, own_flux, click, own_click, percentile(np.array(beats), 95), limits)


def run(asked: int) -> None:
    """Measure, and print the table."""
    recordings, missing = find_recordings()
    faults = cycle(FAULTS)
    seams: list[Seam] = []
    exact, off, refused, trusted, count = dict.fromkeys(METHODS, 0), [0.0], 0, 0, 0
    with TemporaryDirectory() as folder:
        source, made, whole = (Path(folder, name) for name in ("source", "made", "whole"))
        put_back = partial(
            restore,
            before_seconds=asked,
            after_seconds=asked,
            max_source_seconds=3_600,
            on_progress=lambda *_: None,
        )
        previous: Samples | None = None
        for recording in recordings:
            music, rate = _excerpt(recording.path, asked)
            if music is None:
                continue
            first, last = asked * rate, (asked + SOURCE_SECONDS) * rate
            own = music[first:last]
            write(source, own, rate, subtype="PCM_16")
            fault = next(faults)
            came = make(music, rate, fault, made)
            told = put_back(source, made, whole)
            count += 1
            versions = {"as it came": (came, first), "cut hard": (_cut_hard(came, own, first), first)}
            if told.assembled:
                trusted += 1
                start = told.assembled.before_frames
                back = read(whole)
                versions["put back"] = back, start
                written = read(whole, "int16")[start : start + len(own)]
                exact["put back"] += written.tobytes() == read(source, "int16").tobytes()
                off += [
                    abs(join.offset_seconds - sign * _due(fault, frame / rate)) * rate
                    for join, sign, frame in zip(told.assembled.joins, (-1, 1), (first, last), strict=True)
                ]
            material = analyse(own, rate)
            for method, (audio, start) in versions.items():
                for place, true in ((start, first), (start + len(own), last)):
                    measured = seam(method, audio, place, (music, true), material)
                    seams += [measured] if measured else []
            if previous is not None:
                write(made, previous, rate)
                refused += not put_back(source, made, whole).trusted
            previous = music
    exact["cut hard"] = count
    _print(seams, exact, count, max(off), (trusted, refused, count - 1), missing)


def _due(fault: tuple[float, float, float], edge_seconds: float) -> float:
    shift, _, drift = fault
    return (edge_seconds + shift) * (1 + drift) - edge_seconds


def _excerpt(path: Path, asked: int) -> tuple[Samples | None, int]:
    from outpaint_mcp.audio.files.decode import AudioReader  # noqa: PLC0415 - beside what it does

    with AudioReader(path) as opened:
        rate = opened.probe.sample_rate
        frames = (2 * asked + SOURCE_SECONDS) * rate
        skip = 15 * rate
        kept, passed = [], 0
        for block in opened.blocks(np.float32):
            kept.append(block[max(0, skip - passed) :].copy())
            passed += len(block)
            if passed >= skip + frames:
                break
    music = np.concatenate(kept)[:frames]
    return (music if len(music) == frames else None), rate


def _cut_hard(came: Samples, own: Samples, first: int) -> Samples:
    return np.concatenate([came[:first], own, came[first + len(own) :]])


def _print(  # noqa: PLR0913 - the table
    seams: list[Seam],
    exact: dict[str, int],
    count: int,
    off: float,
    trust: tuple[int, int, int],
    missing: list[str],
) -> None:
    print(HEAD)
    print("|" + "---|" * 7)
    for method in METHODS:
        own = [each for each in seams if each.method == method]
        ordinary = [each for each in own if each.own_flux <= each.usual]
        over = sum(each.flux > each.usual for each in ordinary)
        limit = sum(each.flux > each.limits[0] and each.own_flux <= each.limits[0] for each in own)
        clicks = sum(each.click > each.limits[1] and each.own_click <= each.limits[1] for each in own)
        share = "100 %" if exact[method] else "0 %"
        told = f"{off:.2f}" if method == "put back" else "-"
        print(
            f"| {method} | {exact[method]} of {count} | {share} | {told} | {over} of {len(ordinary)} "
            f"| {limit} of {len(own)} | {clicks} of {len(own)} |"
        )
    back = [each for each in seams if each.method == "put back"]
    added = np.array([each.flux - each.own_flux for each in back])
    print(f"\nTrusted {trust[0]} of {count}; other music refused {trust[1]} of {trust[2]}.", end=" ")
    print(
        f"Put back, a seam has {added.mean():+.2f} dB of flux beside the recording itself, at most {added.max():+.2f}."
    )
    print(
        f"Seams where the recording itself is over a limit are left out of that column. Missing: {missing or 'none'}."
    )


if __name__ == "__main__":
    run(int(sys.argv[1]) if len(sys.argv) > 1 else 12)
