"""One recording through one method: extend on both sides, stitch, measure every seam."""

from __future__ import annotations

import importlib
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from bench import baselines
from bench.listening import downmix, hear, stitch
from bench.looper import loop_points, looper_command
from bench.measures import SeamMeasures, measure_itself, measure_seams
from bench.repetition import Repetition, provenance, repetition
from bench.track import Track, kept_measures, load_track
from bench.verdict import failures

from outpaint_mcp.audio.engine.analysis import analyse
from outpaint_mcp.audio.engine.continuation import extend
from outpaint_mcp.audio.sides import Side

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.recordings import Recording

    from outpaint_mcp.audio.types import Extension

BEFORE_SECONDS = 20.0
AFTER_SECONDS = 30.0


def ours(track: Track) -> baselines.Extender:
    """The engine under test."""
    analysis = analyse(track.samples, track.sample_rate)
    return lambda side, frames, seed: extend(analysis, side, frames, seed=seed)


METHODS: dict[str, Callable[[Track], baselines.Extender]] = {
    "ours": ours,
    "loop-whole": baselines.loop_whole,
    "loop-8s": baselines.loop_8s,
    "reversed": baselines.time_reversed,
    "jukebox": baselines.jukebox,
}

LOOPER = "pymusiclooper"
"""Makes no extension of its own: its one seam is measured."""

ITSELF = "source-itself"
"""No method: the source's own beats, judged as though they were seams, which is how strict the rule is."""

SEEDED = ("ours", "jukebox")


@dataclass(frozen=True, slots=True)
class Seam:
    """A seam, judged.

    Attributes:
        edge: `in`, `loud` or `quiet`.
        side: of the source.
        measures: against the source's own beats.
        failures: the limits it breaks.
        edges_own: those of them that the same edge breaks when the music simply runs backwards there,
            which is continuous by construction; never the phase, which music run backwards loses.
    """

    edge: str
    side: str
    measures: SeamMeasures
    failures: tuple[str, ...]
    edges_own: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """One recording, one method, one seed."""

    recording: str
    method: str
    seed: int
    modes: tuple[str, str]
    seams: tuple[Seam, ...]
    repetition: Repetition
    exact: bool
    seconds: float


def resolve(method: str) -> Callable[[Track], baselines.Extender]:
    """A method by its name, or by `module:function` for one on trial."""
    if method in METHODS:
        return METHODS[method]
    module, _, function = method.partition(":")
    found: Callable[[Track], baselines.Extender] = getattr(importlib.import_module(module), function)
    return found


def run_recording(recording: Recording, methods: list[str], seeds: int) -> list[Run]:
    """All methods on one recording, each seeded one with several seeds."""
    track = load_track(recording)
    runs = []
    for method in methods:
        if method == LOOPER:
            runs += _run_looper(track)
            continue
        if method == ITSELF:
            runs.append(_run_itself(track))
            continue
        fixed = method in METHODS and method not in SEEDED
        runs += [_run(track, method, seed) for seed in range(1 if fixed else seeds)]
    own = kept_measures(recording, "edges-own", lambda: _edge_failures(_run(track, "reversed", 0)))
    return [replace(run, seams=tuple(_set_aside(seam, own) for seam in run.seams)) for run in runs]


def _run(track: Track, method: str, seed: int) -> Run:
    rate = track.sample_rate
    frames = {Side.BEFORE: track.whole_hops(BEFORE_SECONDS), Side.AFTER: round(AFTER_SECONDS * rate)}
    started = time.perf_counter()
    extender = resolve(method)(track)
    before, after = (extender(side, count, seed) for side, count in frames.items())
    seconds = time.perf_counter() - started
    places = _places(track, before, after)
    sound = stitch(downmix(before.samples), track.sound, track.spectra, downmix(after.samples))
    measured = measure_seams(track.reference, sound, [frame for frame, _, _ in places])
    return Run(
        recording=track.recording.name,
        method=method,
        seed=seed,
        modes=(before.method, after.method),
        seams=tuple(_judge(track, *place[1:], seam) for place, seam in zip(places, measured, strict=True)),
        repetition=repetition(provenance(before, rate), len(track.samples), provenance(after, rate), rate),
        exact=[len(made.samples) for made in (before, after)] == list(frames.values()),
        seconds=seconds,
    )


def _places(track: Track, before: Extension, after: Extension) -> list[tuple[int, str, Side]]:
    """Frame in the output, edge and side of every seam, in order."""
    lead = len(before.samples)
    end = lead + len(track.samples)
    return sorted(
        [(frame, "in", Side.BEFORE) for frame in before.seams]
        + [(lead, track.edges[Side.BEFORE], Side.BEFORE), (end, track.edges[Side.AFTER], Side.AFTER)]
        + [(end + frame, "in", Side.AFTER) for frame in after.seams]
    )


def _judge(track: Track, edge: str, side: Side, seam: SeamMeasures) -> Seam:
    broken = failures(seam, edge=edge, phase_is_reliable=track.reference.phase_is_reliable)
    return Seam(edge, side, seam, tuple(broken))


def _edge_failures(backwards: Run) -> dict[str, tuple[str, ...]]:
    return {
        seam.side: tuple(cause for cause in seam.failures if cause != "phase")
        for seam in backwards.seams
        if seam.edge != "in"
    }


def _set_aside(seam: Seam, own: dict[str, tuple[str, ...]]) -> Seam:
    if seam.edge == "in":
        return seam
    return replace(seam, edges_own=tuple(cause for cause in seam.failures if cause in own[seam.side]))


def _run_looper(track: Track) -> list[Run]:
    """PyMusicLooper's seam: the track up to the loop's end, then thirty seconds from the loop's start."""
    command = looper_command()
    points = loop_points(track, command) if command else None
    if points is None:
        return []
    (start, end), rate = points, track.sample_rate
    looped = np.resize(np.arange(start, end), round(AFTER_SECONDS * rate))
    sound = hear(downmix(np.concatenate([track.samples[:end], track.samples[looped]])), rate)
    seams = [_judge(track, "in", Side.AFTER, seam) for seam in measure_seams(track.reference, sound, [end])]
    heard = repetition(np.zeros(0, np.int64), end, looped[:: rate // 100], rate)
    return [
        Run(track.recording.name, LOOPER, 0, ("", "loop"), tuple(seams), heard, exact=False, seconds=np.nan)
    ]


def _run_itself(track: Track) -> Run:
    seams = [_judge(track, "in", Side.AFTER, beat) for beat in measure_itself(track.reference)]
    nothing = Repetition(heard_again=float("nan"), unique=float("nan"))
    return Run(track.recording.name, ITSELF, 0, ("", ""), tuple(seams), nothing, exact=True, seconds=np.nan)
