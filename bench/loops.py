"""Ten exact loops, made three minutes longer: do they stay in time, and are all of their bars heard?

    python -m bench.loops
    python -m bench.loops --methods ours jukebox --only loop120

The loops are composed (90 to 174 bpm, straight and in three, 8 to 16 s, every bar different) and end in mid-music: what
still sounds at their end sounds at their beginning. Ours comes out of the public path, a file from a file. What plays
is found by correlating every quarter of a second with the loop.

| column | meaning |
|---|---|
| drift ms | how far the beat is off the loop's own grid three minutes after its end |
| worst ms | the same anywhere in the three minutes |
| bars heard | of the loop's bars, in the new music |
| in order | share of the new music that plays what comes next in the loop |
| joined click | what joins the file's end to its beginning with `ending=loop`, against the loop's own 99th percentile |
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import soundfile
from bench import baselines
from bench.figures import README, write_between_markers
from bench.listening import downmix
from bench.looper import loop_points, looper_command
from bench.recordings import Recording
from bench.synthetic import SAMPLE_RATE, Score, compose
from bench.track import load_track

from outpaint_mcp.audio.engine.outpaint import outpaint_file
from outpaint_mcp.audio.sides import Side
from outpaint_mcp.wishes import Wishes

if TYPE_CHECKING:
    from outpaint_mcp.audio.types import Floats, Samples

SCORES = (
    Score("loop90", "loop", 90, 4, seed=1),
    Score("loop97", "loop", 97.3, 4, seed=2),
    Score("waltz105", "loop", 105, 6, meter=3, seed=3),
    Score("loop112", "loop", 112, 4, seed=4),
    Score("loop120", "loop", 120, 4, seed=5),
    Score("loop128", "loop", 128, 8, seed=6),
    Score("waltz132", "loop", 132, 10, meter=3, seed=7),
    Score("loop140", "loop", 140, 8, seed=8),
    Score("waltz150", "loop", 150, 8, meter=3, seed=9),
    Score("loop174", "loop", 174, 8, seed=10),
)
SECONDS = 180.0
METHODS = ("ours", "jukebox", "loop-8s", "pymusiclooper")

_RINGING_SECONDS = 1.0
_WINDOW_SECONDS, _HOP_SECONDS, _END_SECONDS = 0.5, 0.25, 6.0
"""What is compared, how often, and how much before the file's end, where it may fade, is left out."""
_THINNED = 4
"""Frames that are averaged for this; a tenth of a millisecond can still be told."""
_FOUND = 0.5
"""Correlation from which a window is recognised."""
_IN_ORDER_SECONDS = 0.001
_CLICK_REACH = 200


@dataclass(frozen=True, slots=True)
class Loop:
    """An exact loop and its score."""

    score: Score
    samples: Samples

    @property
    def beat_frames(self) -> float:
        """The exact length of a beat."""
        return 60 / self.score.bpm * SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one method makes of one loop; see the columns above."""

    drift_ms: float
    worst_ms: float
    bars_heard: int
    in_order: float


def compose_loop(score: Score) -> Loop:
    """Compose a loop whose last notes ring on at its beginning."""
    frames = round(score.bars * score.meter * 60 / score.bpm * SAMPLE_RATE)
    long = compose(replace(score, tail_seconds=_RINGING_SECONDS)).samples
    samples = long[:frames].copy()
    ringing = long[frames:]
    samples[: len(ringing)] += ringing
    return Loop(score, (samples / max(1.0, float(np.abs(samples).max()))).astype(np.float32))


def measure(loop: Loop, new: Samples, first_frame: int) -> Outcome:
    """Find out what plays in the new music.

    Args:
        loop: what was extended.
        new: the new music.
        first_frame: where it begins in the file, whose first frame is the loop's.
    """
    played, period = downmix(new), len(loop.samples)
    width, hop = round(_WINDOW_SECONDS * SAMPLE_RATE), round(_HOP_SECONDS * SAMPLE_RATE)
    places = np.arange(0, len(played) - width - round(_END_SECONDS * SAMPLE_RATE), hop)
    finder = _Finder(loop.samples, width)
    found = [finder.place(played[at : at + width]) for at in places.tolist()]
    known = [(at, place) for at, place in zip(places.tolist(), found, strict=True) if place is not None]
    due = np.array([first_frame + at for at, _ in known])
    away = np.array([place for _, place in known]) - due
    beat = loop.beat_frames
    slips = np.abs((away + beat / 2) % beat - beat / 2) / SAMPLE_RATE * 1000
    round_off = np.abs((away + period / 2) % period - period / 2)
    bar = beat * loop.score.meter
    heard = {int(place // bar) for _, place in known} | {
        int(((place + width) % period) // bar) for _, place in known
    }
    return Outcome(
        drift_ms=float(np.median(slips[-8:])) if len(slips) else float("nan"),
        worst_ms=float(slips.max(initial=0.0)),
        bars_heard=len({min(index, loop.score.bars - 1) for index in heard}),
        in_order=float((round_off < _IN_ORDER_SECONDS * SAMPLE_RATE).sum() / max(1, len(places))),
    )


class _Finder:
    """Recognises excerpts of a loop, at a quarter of the rate."""

    def __init__(self, loop: Samples, width: int) -> None:
        wave = _thinned(downmix(np.concatenate([loop, loop[:width]])))
        self._places = len(loop) // _THINNED
        self._size = 1 << int(np.ceil(np.log2(len(wave))))
        self._spectrum = np.fft.rfft(wave, self._size)
        sums = np.concatenate([[0.0], np.cumsum(wave**2)])
        count = width // _THINNED
        self._energies = sums[count : count + self._places] - sums[: self._places]

    def place(self, excerpt: Floats) -> int | None:
        """Return the frame of the loop that an excerpt begins with; None where it is not recognised."""
        wanted = _thinned(excerpt)
        products = np.fft.irfft(self._spectrum * np.conj(np.fft.rfft(wanted, self._size)))[: self._places]
        agreement = products / np.sqrt(np.maximum(self._energies * (wanted @ wanted), 1e-12))
        best = int(agreement.argmax())
        return best * _THINNED if agreement[best] > _FOUND else None


def _thinned(wave: Floats) -> Floats:
    return np.asarray(wave[: len(wave) // _THINNED * _THINNED].reshape(-1, _THINNED).mean(axis=1))


def extend(source: Path, ending: str) -> Samples:
    """Make a loop three minutes longer through the public path; the whole file."""
    longer = source.with_name(f"{source.stem}-{ending}.wav")
    outpaint_file(
        source,
        longer,
        Wishes(after_seconds=SECONDS, ending="loop" if ending == "loop" else "cut"),
        seed=1,
        max_source_seconds=600.0,
        on_progress=lambda _done, _step: None,
    )
    samples, _ = soundfile.read(longer, dtype="float32", always_2d=True)
    longer.unlink()
    return np.asarray(samples, dtype=np.float32)


def new_music(loop: Loop, source: Path, method: str) -> tuple[Samples, int] | None:
    """What a method adds, and where in the file that begins; None where it adds nothing."""
    frames = round(SECONDS * SAMPLE_RATE)
    if method == "ours":
        return extend(source, "cut")[len(loop.samples) :], len(loop.samples)
    track = load_track(Recording(f"bench-{loop.score.name}", "synthetic", source))
    if method == "pymusiclooper":
        command = looper_command()
        points = loop_points(track, command) if command else None
        if points is None:
            return None
        return loop.samples[np.resize(np.arange(*points), frames)], points[1]
    made = {"jukebox": baselines.jukebox, "loop-8s": baselines.loop_8s}[method](track)
    return made(Side.AFTER, frames, 1).samples, len(loop.samples)


def joined_click(loop: Loop, whole: Samples) -> float:
    """The click where a file's end meets its beginning, against those of the loop."""
    around = downmix(np.concatenate([whole[-_CLICK_REACH:], whole[:_CLICK_REACH]]))
    at_join = np.abs(np.diff(around, 4))[_CLICK_REACH - 8 : _CLICK_REACH + 4].max()
    itself = np.abs(np.diff(downmix(loop.samples), 4))
    blocks = itself[: len(itself) // 132 * 132].reshape(-1, 132).max(axis=1)
    return float(at_join / np.percentile(blocks, 99))


def main() -> None:
    """Extend every loop by every method and print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.loops", description=__doc__)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--only", action="append", metavar="NAME", help="this loop; may be repeated")
    parser.add_argument("--write", action="store_true", help="put the tables into bench/README.md")
    options = parser.parse_args()
    rows, joins = [], []
    with TemporaryDirectory() as folder:
        for loop in map(compose_loop, SCORES):
            if options.only and loop.score.name not in options.only:
                continue
            source = Path(folder, f"{loop.score.name}.wav")
            soundfile.write(source, loop.samples, SAMPLE_RATE, subtype="PCM_16")
            found = [new_music(loop, source, method) for method in options.methods]
            rows.append(_row(loop, [None if added is None else measure(loop, *added) for added in found]))
            print(rows[-1], flush=True)
            if "ours" in options.methods:
                joins.append(_loop_row(loop, extend(source, "loop")))
    head = ["loop", "bars", *(f"{method}: drift, worst, heard, in order" for method in options.methods)]
    text = "\n".join(["| " + " | ".join(head) + " |", "|---" * len(head) + "|", *rows, ""])
    if joins:
        text += (
            "\n`ending=loop`\n\n| loop | s | bars | joined click |\n"
            + "|---" * 4
            + "|\n"
            + "\n".join(joins)
            + "\n"
        )
    print(f"\n{text}")
    if options.write:
        write_between_markers(README, "loops", text)


def _row(loop: Loop, outcomes: list[Outcome | None]) -> str:
    """One row: what each method makes of a loop, or a dash."""
    cells = [loop.score.name, str(loop.score.bars), *map(_cell, outcomes)]
    return "| " + " | ".join(cells) + " |"


def _cell(outcome: Outcome | None) -> str:
    if outcome is None:
        return "-"
    return (
        f"{outcome.drift_ms:.2f} ms, {outcome.worst_ms:.2f} ms, {outcome.bars_heard}, {outcome.in_order:.0%}"
    )


def _loop_row(loop: Loop, whole: Samples) -> str:
    bars = len(whole) / (loop.beat_frames * loop.score.meter)
    cells = (
        loop.score.name,
        f"{len(whole) / SAMPLE_RATE:.2f}",
        f"{bars:.4f}",
        f"{joined_click(loop, whole):.2f}",
    )
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
