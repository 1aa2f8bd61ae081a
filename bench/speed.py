"""How long extending a file takes, and how much memory, against merely decoding and writing it.

    python bench/speed.py                      # 3 and 60 minutes, synthesised, in four formats
    python bench/speed.py --source track.mp3   # a recording of yours

Every figure is of a whole process, from its start to its end: "alone" imports numpy and soundfile (for M4A, PyAV
too), decodes the source in blocks and writes it again in the format that would be delivered; "extended" adds music
after it (and before it, with --before). Both have one thread for linear algebra, as the worker has. They
take turns, and the quickest of --runs of each counts. On a busy machine the processor's time says more than
the clock's.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import av
import numpy as np
import soundfile

from outpaint_mcp.audio.files.decode import probe
from outpaint_mcp.audio.files.encode import delivery_format
from outpaint_mcp.cli.demo_music import SAMPLE_RATE, compose_piece

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from outpaint_mcp.audio.types import Samples

ALONE = """
import sys, numpy, soundfile
source, destination, container, subtype = sys.argv[1:]
with soundfile.SoundFile(source) as decoded, soundfile.SoundFile(
    destination, "w", decoded.samplerate, decoded.channels, subtype, format=container
) as written:
    for block in decoded.blocks(65_536, dtype="float32"):
        written.write(block)
"""

ALONE_BY_FFMPEG = """
import sys, av, numpy, soundfile
source, destination, container, subtype = sys.argv[1:]
with av.open(source) as opened:
    stream = opened.streams.audio[0]
    stream.codec_context.thread_count = 1
    with soundfile.SoundFile(
        destination, "w", stream.rate, stream.channels, subtype, format=container
    ) as written:
        for frame in opened.decode(stream):
            written.write(frame.to_ndarray().T)
"""

EXTENDED = """
import sys, time
from pathlib import Path
from outpaint_mcp.audio.engine.outpaint import outpaint_file
from outpaint_mcp.wishes import Wishes
source, destination, before, after = sys.argv[1:]
begun, spent = [(time.perf_counter(), "")], {}
def progress(_fraction, step):
    now, (then, last) = time.perf_counter(), begun[0]
    spent[last] = spent.get(last, 0) + now - then
    begun[0] = now, step
wishes = Wishes(before_seconds=float(before), after_seconds=float(after))
outpaint_file(Path(source), Path(destination), wishes, seed=1, max_source_seconds=1e9, on_progress=progress)
print(", ".join(f"{step} {seconds:.2f}" for step, seconds in spent.items() if step))
"""


ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class Cost(NamedTuple):
    """What one process took; the quickest sorts first."""

    seconds: float
    cpu_seconds: float
    peak_mib: float
    said: str


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", type=Path, action="append", help="measure this file; may be repeated")
    parser.add_argument("--minutes", type=float, nargs="+", default=[3, 60], help="of synthesised sources")
    parser.add_argument("--before", type=float, default=0.0, help="seconds of music before")
    parser.add_argument("--after", type=float, default=30.0, help="seconds of music after")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    print(
        "| source | before + after | alone | extended | ratio | on the processor | ratio | peak | of which, s |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        synthesised = (
            synthesise(Path(folder), minutes, container)
            for minutes in options.minutes
            for container in ("WAV", "FLAC", "MP3", "M4A")
        )
        for source in options.source or synthesised:
            print(row(source, Path(folder), options), flush=True)


def row(source: Path, folder: Path, options: argparse.Namespace) -> str:
    """Measure one source; returns its line of the table."""
    destination = str(folder / "result")
    container, subtype, _ = delivery_format(probe(source))
    alone, extended = [], []
    for _ in range(options.runs):
        program = ALONE_BY_FFMPEG if source.suffix == ".m4a" else ALONE
        alone.append(run(program, str(source), destination, container, subtype))
        extended.append(run(EXTENDED, str(source), destination, str(options.before), str(options.after)))
    least, most = min(alone), min(extended)
    cells = (
        source.name,
        f"{options.before:g} + {options.after:g} s",
        f"{least.seconds:.2f} s",
        f"{most.seconds:.2f} s",
        f"{most.seconds / least.seconds:.2f}",
        f"{least.cpu_seconds:.2f} / {most.cpu_seconds:.2f} s",
        f"{most.cpu_seconds / least.cpu_seconds:.2f}",
        f"{least.peak_mib:.0f} / {most.peak_mib:.0f} MiB",
        most.said,
    )
    return f"| {' | '.join(cells)} |"


def run(program: str, *arguments: str) -> Cost:
    """Run a program in a Python of its own."""
    begun = time.perf_counter()
    command = [sys.executable, "-c", program, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | ONE_THREAD) as child:
        said = child.stdout.read() if child.stdout else ""
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"The measured program failed with exit code {child.returncode}.")
    unit = 2**20 if sys.platform == "darwin" else 2**10
    seconds = time.perf_counter() - begun
    return Cost(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / unit, said.strip())


def synthesise(folder: Path, minutes: float, container: str) -> Path:
    """Write a piece of music over and over, a little different each time, for so many minutes."""
    piece = folder / "piece.wav"
    compose_piece(piece)
    samples, _ = soundfile.read(piece, dtype="float32")
    rng = np.random.default_rng(0)
    path = folder / f"{minutes:g}min.{container.lower()}"
    left = round(60 * minutes * SAMPLE_RATE)
    with _writing(path, container) as write:
        while left > 0:
            noise = rng.normal(0, 10 ** rng.uniform(-4, -2), samples.shape)
            write((rng.uniform(0.4, 0.9) * samples + noise)[:left].astype(np.float32))
            left -= len(samples)
    return path


@contextmanager
def _writing(path: Path, container: str) -> Iterator[Callable[[Samples], None]]:
    if container != "M4A":
        subtype = "MPEG_LAYER_III" if container == "MP3" else "PCM_16"
        with soundfile.SoundFile(path, "w", SAMPLE_RATE, 2, subtype, format=container) as file:
            yield file.write
        return
    with av.open(path, "w", format="mp4") as opened:
        stream = opened.add_stream("aac", rate=SAMPLE_RATE, layout="stereo", options={"b": "192000"})
        done = 0

        def write(samples: Samples) -> None:
            nonlocal done
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples).reshape(1, -1), "flt", "stereo")
            frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, done, Fraction(1, SAMPLE_RATE)
            done += len(samples)
            opened.mux(stream.encode(frame))

        yield write
        opened.mux(stream.encode(None))


if __name__ == "__main__":
    main()
