"""How right what is heard in a recording is, and what hearing it takes.

    python -m bench.ears                                     # all three tables
    python -m bench.ears --librosa /elsewhere/bin/python     # a Python that has librosa, to compare tempos with
    python -m bench.ears --only truth --only cost

truth: pieces composed in known tempos and keys. A tempo is right within 2 %; twice, half, three times or a
third of it is said to be so. A key is right, or relative (the same signature), or wrong.
recordings: loudness beside FFmpeg's `ebur128`, tempo beside that of the beats which librosa's `beat_track` finds
(its own word for it is quantised to 2 or 3 %), on the recordings of `bench.recordings`. cost: a process of its
own, from its start to its end; one thread for linear algebra.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import soundfile
from bench.recordings import Recording, find_recordings
from bench.speed import run, synthesise
from bench.synthetic import SAMPLE_RATE, Score, compose

from outpaint_mcp.audio.hearing.analyze import analyze
from outpaint_mcp.audio.keys import fifths_between
from outpaint_mcp.audio.tonality import Key, Mode

if TYPE_CHECKING:
    from outpaint_mcp.audio.hearing.records import Analysis

HEAR = """
import sys
from pathlib import Path
from outpaint_mcp.audio.hearing.analyze import analyze
analyze(Path(sys.argv[1]), max_seconds=1e9)
"""
DRAW = """
import sys
from pathlib import Path
from outpaint_mcp.audio.hearing.analyze import analyze
from outpaint_mcp.audio.hearing.picture import draw
path = Path(sys.argv[1])
print(len(draw(path, analyze(path, max_seconds=1e9))))
"""
LIBROSA = """
import sys, warnings
warnings.simplefilter("ignore")
import librosa, numpy
samples, rate = librosa.load(sys.argv[1], sr=22050)
beats = librosa.beat.beat_track(y=samples, sr=rate, units="time")[1]
print(float(numpy.median(60 * 8 / (beats[8:] - beats[:-8]))))
"""

PROGRESSIONS: dict[str, tuple[tuple[tuple[int, int, int], ...], int, Mode]] = {
    "I vi IV V": (((60, 64, 67), (57, 60, 64), (53, 57, 60), (55, 59, 62)), 0, "major"),
    "I IV V I": (((60, 64, 67), (65, 69, 72), (67, 71, 74), (60, 64, 67)), 0, "major"),
    "i VI III VII": (((57, 60, 64), (53, 57, 60), (48, 52, 55), (55, 59, 62)), 9, "minor"),
    "i iv V i": (((57, 60, 64), (62, 65, 69), (64, 68, 71), (57, 60, 64)), 9, "minor"),
}
"""Chords in C major and A minor, the tonic and the mode."""
TEMPOS_BPM = (70.0, 78.5, 86.0, 97.3, 104.0, 112.0, 120.0, 128.0, 140.0, 152.0, 166.0, 180.0)
KINDS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("sequenced", {}),
    ("live", {"jitter_seconds": 0.008, "swing": 0.1, "noise": 0.002}),
    ("drift", {"drift": 0.03, "jitter_seconds": 0.003}),
    ("waltz", {"meter": 3}),
)
RIGHT = 0.02
MULTIPLES = {
    1.0: "right",
    2.0: "twice",
    0.5: "half",
    3.0: "three times",
    1 / 3: "a third",
    1.5: "3 : 2",
    2 / 3: "2 : 3",
}


class Composed(NamedTuple):
    """A piece and what is true of it."""

    score: Score
    progression: str
    key: Key


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=("cost", "truth", "recordings"), action="append")
    parser.add_argument("--librosa", default=sys.executable, help="a Python that has librosa")
    parser.add_argument("--minutes", type=float, nargs="+", default=[3, 60])
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    wanted = options.only or ["cost", "truth", "recordings"]
    if "cost" in wanted:  # first: a child's peak counts what its parent held when it was born
        print_cost(options.minutes, options.runs)
    if "truth" in wanted:
        print_truth()
    if "recordings" in wanted:
        print_recordings(options.librosa)


def print_cost(minutes: list[float], runs: int) -> None:
    """Time and memory of fresh processes."""
    print(
        "| source | heard in | on the processor | peak | with a picture | peak | its size |\n"
        + "|---" * 7
        + "|"
    )
    with TemporaryDirectory() as folder:
        for length in minutes:
            for container in ("WAV", "FLAC"):
                source = synthesise(Path(folder), length, container)
                heard = min(run(HEAR, str(source)) for _ in range(runs))
                drawn = min(run(DRAW, str(source)) for _ in range(runs))
                cells = (
                    source.name,
                    f"{heard.seconds:.2f} s",
                    f"{heard.cpu_seconds:.2f} s",
                    f"{heard.peak_mib:.0f} MiB",
                    f"{drawn.seconds:.2f} s",
                    f"{drawn.peak_mib:.0f} MiB",
                    f"{int(drawn.said) / 1000:.0f} kB",
                )
                print(f"| {' | '.join(cells)} |", flush=True)
    print()


def composed() -> list[Composed]:
    """Every tempo in each kind of beat, going through progressions and keys."""
    pieces = []
    for number, (bpm, kind) in enumerate((bpm, kind) for kind in KINDS for bpm in TEMPOS_BPM):
        progression = list(PROGRESSIONS)[number % len(PROGRESSIONS)]
        chords, tonic, mode = PROGRESSIONS[progression]
        up = number * 5 % 12 - 6
        name, changes = kind
        score = Score(
            name=f"{name} {bpm:g}",
            kind=name,
            bpm=bpm,
            bars=max(16, round(bpm / 6)),
            seed=number,
            chords=tuple((one + up, two + up, three + up) for one, two, three in chords),
            **changes,
        )
        pieces.append(Composed(score, progression, Key((tonic + up) % 12, mode, 1.0)))
    return pieces


def print_truth() -> None:
    """Composed pieces: what is true and what was heard."""
    print(
        "| piece | progression | heard bpm | confidence | tempo | key | heard key | confidence | key |\n"
        + "|---" * 9
        + "|"
    )
    tempos, keys = [], []
    with TemporaryDirectory() as folder:
        path = Path(folder, "piece.wav")
        for piece in composed():
            soundfile.write(path, compose(piece.score).samples, SAMPLE_RATE, subtype="PCM_16")
            heard = analyze(path, max_seconds=1e9)
            tempos.append(tempo_verdict(heard.tempo.bpm if heard.tempo else None, piece.score.bpm))
            keys.append(key_verdict(heard.key, piece.key))
            cells = (
                piece.score.name,
                piece.progression,
                f"{heard.tempo.bpm:.1f}" if heard.tempo else "-",
                f"{heard.tempo.confidence:.2f}" if heard.tempo else "-",
                tempos[-1],
                piece.key.name,
                heard.key.name if heard.key else "-",
                f"{heard.key.confidence:.2f}" if heard.key else "-",
                keys[-1],
            )
            print(f"| {' | '.join(cells)} |", flush=True)
    print(f"\nTempo: {tally(tempos)}. Key: {tally(keys)}.\n")


def tempo_verdict(heard_bpm: float | None, true_bpm: float) -> str:
    """Right within 2 %, or by which simple ratio it is off."""
    if not heard_bpm:
        return "none"
    ratio = heard_bpm / true_bpm
    return next((name for multiple, name in MULTIPLES.items() if abs(ratio / multiple - 1) <= RIGHT), "other")


def key_verdict(heard: Key | None, true: Key) -> str:
    """Right, relative or wrong by so many fifths."""
    if heard is None:
        return "none"
    if (heard.tonic, heard.mode) == (true.tonic, true.mode):
        return "right"
    fifths = fifths_between(heard, true)
    return f"{fifths} off" if fifths else "relative"


def tally(verdicts: list[str]) -> str:
    """How often each verdict was given, the most frequent first."""
    counts = {verdict: verdicts.count(verdict) for verdict in verdicts}
    return ", ".join(
        f"{count} {verdict}" for verdict, count in sorted(counts.items(), key=lambda pair: -pair[1])
    )


def print_recordings(librosa: str) -> None:
    """Recordings: loudness beside FFmpeg's, tempo beside librosa's."""
    recordings, missing = find_recordings()
    if missing:
        print(f"Missing: {', '.join(missing)}.\n")
    lacking = subprocess.run([librosa, "-c", "import librosa"], check=False, capture_output=True).returncode
    if lacking:
        print(f"{librosa} has no librosa: its tempo is missing.\n")
    print(
        "| recording | LUFS | less FFmpeg's | bpm | confidence | librosa | | key | ends |\n"
        + "|---" * 9
        + "|"
    )
    differences: list[float] = []
    verdicts: list[str] = []
    for recording in recordings:
        heard = analyze(recording.path, max_seconds=1e9)
        theirs_lufs = ffmpeg_lufs(recording.path)
        apart = None if theirs_lufs is None or heard.lufs is None else heard.lufs - theirs_lufs
        differences += [] if apart is None else [abs(apart)]
        theirs_bpm = None if lacking else float(output([librosa, "-c", LIBROSA, str(recording.path)]))
        if theirs_bpm is not None:
            verdicts.append(tempo_verdict(heard.tempo.bpm if heard.tempo else None, theirs_bpm))
        print(recording_row(recording, heard, apart, theirs_bpm), flush=True)
    print(
        f"\nLoudness: {max(differences, default=0):.2f} LU apart at most. Tempo beside librosa's: {tally(verdicts)}.\n"
    )


def recording_row(
    recording: Recording, heard: Analysis, apart: float | None, theirs_bpm: float | None
) -> str:
    """A line of the table."""
    cells = (
        f"{recording.name} ({recording.package})",
        "-" if heard.lufs is None else f"{heard.lufs:.1f}",
        "-" if apart is None else f"{apart:+.2f}",
        f"{heard.tempo.bpm:.1f}" if heard.tempo else "-",
        f"{heard.tempo.confidence:.2f}" if heard.tempo else "-",
        "-" if theirs_bpm is None else f"{theirs_bpm:.1f}",
        "-" if theirs_bpm is None else tempo_verdict(heard.tempo.bpm if heard.tempo else None, theirs_bpm),
        f"{heard.key.name} {heard.key.confidence:.2f}" if heard.key else "-",
        heard.ending.kind,
    )
    return f"| {' | '.join(cells)} |"


def ffmpeg_lufs(path: Path) -> float | None:
    """Integrated loudness as FFmpeg's command tells it, to a tenth; None where it is not installed."""
    ffmpeg = shutil.which("ffmpeg")
    if not ffmpeg:
        return None
    command = [
        ffmpeg,
        "-hide_banner",
        "-nostats",
        "-i",
        str(path),
        "-map",
        "0:a",
        "-af",
        "ebur128=framelog=verbose",
    ]
    done = subprocess.run([*command, "-f", "null", "-"], check=True, capture_output=True, text=True)
    found = re.findall(r"I:\s+(-?[\d.]+) LUFS", done.stderr)
    return float(found[-1]) if found else None


def output(command: list[str]) -> str:
    """What a program prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main()
