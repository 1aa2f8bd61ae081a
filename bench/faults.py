"""Faults put into longer recordings that are known to be good: does the verdict name them? `python -m bench.faults`.

The good ones are true: the source is the middle of a real recording, and what was added is how the recording
really goes on. Each is judged untouched, then with one fault after the other; and all of that once more as a
hosted model delivers it, at 48 kHz in an MP3 of 128 kbit/s. The held-out recordings are not tuned on.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import soundfile
import soxr
from bench.injections import AFTER_SECONDS, BEFORE_SECONDS, FAULTS, Case, cut
from bench.recordings import find_recordings

from outpaint_mcp.audio.engine.outpaint import outpaint_file
from outpaint_mcp.audio.features import extract_features
from outpaint_mcp.audio.levels import downmix
from outpaint_mcp.audio.verdict.judge import judge
from outpaint_mcp.audio.verdict.records import Asked, FaultKind, Verdict
from outpaint_mcp.audio.verdict.reference import fall_db

if TYPE_CHECKING:
    from bench.recordings import Recording

    from outpaint_mcp.audio.types import Samples
from outpaint_mcp.wishes import Wishes

MP3_RATE_HZ = 48_000

CLICK = "a click inside"
HOLE, DROP = "a hole of 45 dB inside", "12 dB softer from the middle on"
CLICK_BEND = 0.75
"""The fourth difference of the clicks that are put in."""
ALSO = {DROP: FaultKind.HOLE}
"""What is as right a name: softer than the source ever is."""
MOST_USUAL_STEP_DB, MOST_USUAL_DRIFT_MS = 1.4, 15.0
"""Of music whose own steps are larger than the first, no step of 3 LU can be told; likewise for the drift."""


@dataclass(slots=True)
class Score:
    """How often a fault was put in, named, and not to be told."""

    tried: int = 0
    named: int = 0
    untold: int = 0
    missed: list[str] = field(default_factory=list)


def cannot_be_told(kind: FaultKind, good: Verdict) -> bool:
    """Whether this music is such that nothing of the kind can be told on it, seen from the untouched verdict."""
    seam = good.seams[-1] if good.seams else None
    if kind is FaultKind.BEAT_SLIP:
        return seam is None or seam.beat_slip_ms is None or (seam.usual_slip_ms or 0) > 15
    if kind is FaultKind.LOUDNESS_JUMP:
        return seam is None or seam.usual_step_db is None or seam.usual_step_db > MOST_USUAL_STEP_DB
    if kind is FaultKind.REPETITION:
        return good.additions[-1].own_repeated > 0.6
    if kind is FaultKind.DRIFT:
        usual = good.additions[-1].usual_drift_ms
        return usual is None or usual > MOST_USUAL_DRIFT_MS
    return False


def is_covered(name: str, case: Case) -> bool:
    """Whether the music itself does what is put in, seen from the music alone."""
    made, start, stop = case.made()
    if name == HOLE:
        return quietest_db(made[start:stop], case.sample_rate) < level_inside_db(case) - 30
    if name == CLICK:
        return sharpest_bend(made[start:stop]) > 0.9 * CLICK_BEND
    return name == DROP and abruptest_db(made[start:stop], case.sample_rate) > 5


def sharpest_bend(samples: Samples) -> float:
    """The largest fourth difference of music."""
    return float(np.abs(np.diff(samples.mean(axis=1).astype(np.float64), 4)).max())


def quietest_db(samples: Samples, sample_rate: int) -> float:
    """The level below which music is for a hundredth of its time, over a fifth of a second."""
    size = sample_rate // 5
    blocks = (
        np.square(samples[: len(samples) // size * size]).reshape(-1, size * samples.shape[1]).mean(axis=1)
    )
    return float(10 * np.log10(np.quantile(blocks, 0.01) + 1e-10))


def level_inside_db(case: Case) -> float:
    """The level of the second in which a hole is put."""
    made, _, stop = case.made()
    middle = (stop + len(made)) // 2
    near = made[middle : middle + case.sample_rate]
    return float(10 * np.log10(np.square(near).mean() + 1e-10))


def abruptest_db(samples: Samples, sample_rate: int) -> float:
    """By how much music is turned down at most within 23 ms in four of five bands, and stays down."""
    weights, _ = downmix(samples)
    return float(fall_db(extract_features(samples, sample_rate, weights))[0].max())


def judged(case: Case, made: Samples, folder: Path, *, hosted: bool) -> Verdict:
    """Write source and result, and judge them."""
    source, path = folder / "source.wav", folder / ("made.mp3" if hosted else "made.wav")
    soundfile.write(source, case.source, case.sample_rate, subtype="PCM_16")
    if hosted:
        music = soxr.resample(made, case.sample_rate, MP3_RATE_HZ)
        how = {"format": "MP3", "bitrate_mode": "CONSTANT", "compression_level": 0.667}
        soundfile.write(path, music, MP3_RATE_HZ, subtype="MPEG_LAYER_III", **how)
    else:
        soundfile.write(path, made, case.sample_rate, subtype="PCM_16")
    return judge(
        source,
        path,
        Asked(before_seconds=case.before_seconds, after_seconds=case.after_seconds),
        max_source_seconds=4000,
    )


def ours(case: Case, folder: Path) -> Verdict:
    """Extend the source with the built-in provider, and judge that."""
    source, made = folder / "source.wav", folder / "ours.wav"
    soundfile.write(source, case.source, case.sample_rate, subtype="PCM_16")
    wishes = Wishes(before_seconds=BEFORE_SECONDS, after_seconds=AFTER_SECONDS)
    made_of = outpaint_file(
        source, made, wishes, seed=1, max_source_seconds=4000.0, on_progress=lambda _share, _step: None
    )
    return judge(
        source,
        made,
        Asked(
            before_seconds=BEFORE_SECONDS,
            after_seconds=AFTER_SECONDS,
            layout=made_of.layout,
            preserved=made_of.preserved,
        ),
        max_source_seconds=4000.0,
    )


def real_faults(verdict: Verdict) -> list[FaultKind]:
    """What is wrong, without what is expected of any model."""
    return [fault.kind for fault in verdict.faults if not fault.kind.is_mild]


def run(
    recordings: list[Recording], *, hosted: bool, only: str
) -> tuple[dict[str, Score], Counter[str], int]:
    """Judge every recording untouched and with each fault: scores, false alarms by kind, and sound ones."""
    scores = {name: Score() for name in FAULTS}
    alarms: Counter[str] = Counter()
    sound = 0
    for number, recording in enumerate(recordings):
        case = cut(recording, number)
        with TemporaryDirectory() as folder:
            good = judged(case, case.made()[0], Path(folder), hosted=hosted)
            alarms.update({kind.value for kind in real_faults(good)})
            sound += not real_faults(good)
            if real_faults(good):
                print(f"  {case.name}: {[(f.kind.value, f.side, round(f.amount, 2)) for f in good.faults]}")
            for name, (inject, kind) in FAULTS.items():
                if only and only not in name:
                    continue
                score = scores[name]
                if (cannot_be_told(kind, good) and name != DROP) or is_covered(name, case):
                    score.untold += 1
                    continue
                score.tried += 1
                verdict = judged(case, inject(case), Path(folder), hosted=hosted)
                if {kind, ALSO.get(name, kind)} & set(real_faults(verdict)):
                    score.named += 1
                else:
                    score.missed.append(case.name)
    return scores, alarms, sound


def table(scores: dict[str, Score], alarms: Counter[str], count: int) -> str:
    """One row for each fault."""
    rows = [
        "| fault put in | named as | named | cannot be told | the same on untouched ones |",
        "|" + "---|" * 5,
    ]
    for name, (_, kind) in FAULTS.items():
        score = scores[name]
        told = f"{score.named} of {score.tried}"
        rows.append(f"| {name} | {kind} | {told} | {score.untold} | {alarms[kind]} of {count} |")
    rest = {kind: n for kind, n in alarms.items() if kind not in {kind for _, kind in FAULTS.values()}}
    for alarm, number in rest.items():
        rows.append(f"| (none) | {alarm} | | | {number} of {count} |")
    return "\n".join(rows)


def main() -> None:
    """Print a table for each kind of recordings and of delivery."""
    parser = argparse.ArgumentParser(prog="python -m bench.faults", description=__doc__)
    parser.add_argument("--held-out", action="store_true", help="recordings that nobody tunes on")
    parser.add_argument("--hosted", action="store_true", help="as a hosted model delivers it")
    parser.add_argument("--every", type=int, default=1, help="only each so many-th recording")
    parser.add_argument("--only", default="", help="faults with this in their name")
    parser.add_argument("--ours", action="store_true", help="judge the built-in provider's results instead")
    options = parser.parse_args()
    recordings = find_recordings(held_out=options.held_out)[0][:: options.every]
    if options.ours:
        print_ours(recordings)
        return
    scores, alarms, sound = run(recordings, hosted=options.hosted, only=options.only)
    print(f"{len(recordings)} recordings, {sound} of them sound when untouched\n")
    print(table(scores, alarms, len(recordings)))
    for name, score in scores.items():
        if score.missed:
            print(f"missed, {name}: {', '.join(score.missed)}")


def print_ours(recordings: list[Recording]) -> None:
    """Print how many of the built-in provider's results are sound, and what is said of the others."""
    said: Counter[str] = Counter()
    sound = 0
    for number, recording in enumerate(recordings):
        with TemporaryDirectory() as folder:
            verdict = ours(cut(recording, number), Path(folder))
        found = real_faults(verdict)
        sound += not found
        said.update({kind.value for kind in found})
        if found:
            print(
                f"  {recording.name}: {[(f.kind.value, f.side, round(f.amount, 2)) for f in verdict.faults]}"
            )
    print(f"{sound} of {len(recordings)} sound; " + ", ".join(f"{kind} {n}" for kind, n in said.items()))


if __name__ == "__main__":
    main()
