"""Beat and bar slips at seams where the truth is known: `python -m bench.truth`."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from bench.figures import README, write_between_markers
from bench.runs import AFTER_SECONDS, BEFORE_SECONDS
from bench.synthetic import SAMPLE_RATE, SCORES, Piece, compose

from outpaint_mcp.audio.engine.analysis import analyse
from outpaint_mcp.audio.engine.continuation import extend
from outpaint_mcp.audio.sides import Side

if TYPE_CHECKING:
    from outpaint_mcp.audio.types import Extension


@dataclass(frozen=True, slots=True)
class Slip:
    """How a seam departs from the beat and the bar.

    Attributes:
        join: whether it is the one with the source.
        milliseconds: from the beat that was due, without sign.
        leaves_bar: whether another beat of the bar comes than was due.
    """

    piece: Piece
    seed: int
    join: bool
    milliseconds: float
    leaves_bar: bool


def slips(piece: Piece, extension: Extension, side: Side, seed: int) -> list[Slip]:
    """The slips at all seams of an extension, by where its segments come from."""
    parts = [part for part in extension.segments if part.extension_frame < len(extension.samples)]
    inside = [
        _slip(piece, left.source_frame + left.frames, right.source_frame, seed, join=False)
        for left, right in pairwise(parts)
        if right.extension_frame > 0
    ]
    if side is Side.AFTER:
        leaving, coming = len(piece.samples), parts[0].source_frame - parts[0].extension_frame
    else:
        leaving, coming = parts[-1].source_frame + len(extension.samples) - parts[-1].extension_frame, 0
    return [*inside, _slip(piece, leaving, coming, seed, join=True)]


def _slip(piece: Piece, leaving: int, coming: int, seed: int, *, join: bool) -> Slip:
    due, comes = _beat_at(piece, leaving), _beat_at(piece, coming)
    moved = comes - due
    beats = round(moved)
    nearest = int(np.clip(comes, 0, len(piece.beats_seconds) - 2))
    period = float(np.diff(piece.beats_seconds)[nearest])
    return Slip(piece, seed, join, abs(moved - beats) * period * 1000, beats % piece.score.meter != 0)


def _beat_at(piece: Piece, frame: int) -> float:
    """The beat, with fractions, that a frame lies on; beyond the last beat at its pace."""
    seconds, beats = frame / SAMPLE_RATE, piece.beats_seconds
    beyond = max(0.0, seconds - float(beats[-1])) / float(beats[-1] - beats[-2])
    return float(np.interp(seconds, beats, np.arange(len(beats)))) + beyond


def truth_table(found: list[Slip]) -> str:
    """Slips by piece, seams inside extensions and joins apart."""
    rows = [
        "| piece | beat | seams | median ms | worst ms | bar slips | joins | median ms | worst ms | bar slips |",
        "|" + "---|" * 10,
    ]
    for score in SCORES:
        cells = [score.name, score.kind]
        for join in (False, True):
            here = [slip for slip in found if slip.piece.score is score and slip.join is join]
            times = [slip.milliseconds for slip in here] or [float("nan")]
            cells += [str(len(here)), f"{np.median(times):.2f}", f"{max(times):.2f}"]
            cells.append(str(sum(slip.leaves_bar for slip in here)))
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def main() -> None:
    """Extend every piece on both sides with several seeds and print the slips."""
    parser = argparse.ArgumentParser(prog="python -m bench.truth", description=__doc__)
    parser.add_argument("--seeds", type=int, default=4, help="takes per piece")
    parser.add_argument("--write", action="store_true", help="put the table into bench/README.md")
    options = parser.parse_args()
    found: list[Slip] = []
    for piece in map(compose, SCORES):
        known = analyse(piece.samples, SAMPLE_RATE)
        for seed in range(options.seeds):
            for side, seconds in ((Side.BEFORE, BEFORE_SECONDS), (Side.AFTER, AFTER_SECONDS)):
                made = extend(known, side, round(seconds * SAMPLE_RATE), seed=seed)
                found += slips(piece, made, side, seed)
    table = f"{len(SCORES)} pieces, {options.seeds} seeds, both sides\n\n{truth_table(found)}\n"
    print(table)
    if options.write:
        write_between_markers(README, "truth", table)


if __name__ == "__main__":
    main()
