"""The figures of the engine beside its baselines, in one command: `python -m bench.figures`.

Every recording is extended by 20 s before and 30 s after by every method in the same run, and
every seam is judged by the same measures. See `bench/README.md`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from itertools import repeat
from pathlib import Path

from bench.looper import looper_command
from bench.recordings import Recording, find_recordings
from bench.runs import ITSELF, LOOPER, METHODS, Run, run_recording
from bench.tables import cause_table, failure_list, main_table

README = Path(__file__).with_name("README.md")


def main() -> None:
    """Read the arguments, run, print."""
    options = _arguments()
    recordings, missing = find_recordings(held_out=options.held_out)
    recordings = [piece for piece in recordings if not options.only or piece.name in options.only]
    for package in missing:
        print(f"left out: the recordings of {package}, which could not be fetched", file=sys.stderr)
    methods = options.methods.split(",") if options.methods else [*METHODS, LOOPER, ITSELF]
    if LOOPER in methods and looper_command() is None:
        print("left out: PyMusicLooper, which is not installed", file=sys.stderr)
        methods.remove(LOOPER)
    started = time.perf_counter()
    runs = measure(recordings, methods, options.seeds, options.processes)
    runs.sort(key=lambda run: methods.index(run.method))
    spent = time.perf_counter() - started
    title = f"{len(recordings)} {'held-out' if options.held_out else 'development'} recordings"
    tables = f"{title}, {options.seeds} seed(s)\n\n{main_table(runs)}\n\n{cause_table(runs)}\n"
    print(f"{tables}\n{failure_list(runs, methods[0])}\n\n{spent:.0f} s")
    if options.json:
        options.json.write_text(json.dumps([asdict(run) for run in runs], indent=1))
    if options.write:
        write_between_markers(README, "held-out" if options.held_out else "development", tables)


def measure(recordings: list[Recording], methods: list[str], seeds: int, processes: int) -> list[Run]:
    """Run all recordings, each in one process with one thread."""
    for library in ("OPENBLAS", "OMP", "MKL"):
        os.environ[f"{library}_NUM_THREADS"] = "1"
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        done = pool.map(run_recording, recordings, repeat(methods), repeat(seeds))
        return [run for runs in done for run in runs]


def write_between_markers(path: Path, name: str, text: str) -> None:
    """Replace what stands between `<!-- NAME -->` and `<!-- /NAME -->` in a Markdown file."""
    before, opened, rest = path.read_text().partition(f"<!-- {name} -->\n")
    _, closed, after = rest.partition(f"<!-- /{name} -->")
    if not (opened and closed):
        raise SystemExit(f"{path} has no markers for {name}; add <!-- {name} --> and <!-- /{name} -->")
    path.write_text(before + opened + text + closed + after)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.figures", description=__doc__)
    parser.add_argument("--held-out", action="store_true", help="the recordings that nobody tunes on")
    parser.add_argument("--only", action="append", metavar="NAME", help="this recording; may be repeated")
    parser.add_argument("--methods", help="comma-separated, or module:function; default: all")
    parser.add_argument("--seeds", type=int, default=1, help="takes per recording")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", type=Path, metavar="FILE", help="every seam's measures")
    parser.add_argument("--write", action="store_true", help="put the tables into bench/README.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
