"""How extended files begin and end, each way that can be asked for, on real recordings.

    OUTPAINT_MUSIC=... uv run --group bench python -m bench.endings            # every ending and beginning
    ... python -m bench.endings --kinds loop cut --only valley --write

Each recording is extended by 40 s on either side (after it alone for a loop), and nothing but the file is measured:
see `file_ends`. What counts as what was asked:

| asked | holds where |
|---|---|
| natural ending | the last 50 ms are 25 dB under the usual or more; ours lasts at most 4 s, from a beat on |
| natural beginning | at most 4 s lead in, up to a beat, or the music lands on the recording's own beginning |
| fade | 25 dB under at the outer end, over 5 to 10 s, from (up to) a beat on |
| cut | the loudest of the outermost six 50 ms is within 12 dB of the usual, and the file ends (begins) on a beat |
| loop | the file's end and its beginning pass the rule for seams, but for what the beginning fails alone |
| breakdown, build | 25 dB under at the outer end, and at most half as much is struck there as where it begins |

On a beat is within 40 ms of the bench's own grid, or of the middle between two of its beats, since a tracker may well
count half as fast; waived (and not in the table) where the recording shows no steady beat, or where the engine's
tracker and the bench's do not agree on the recording itself: three against two, for instance. A click counts where it
goes beyond what the recording itself has at that very place. For a loop also what others would do: the walk over beats
("jukebox", up to its last beat), and PyMusicLooper at its own best place, which is a different trade.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import soundfile
from bench import baselines
from bench.end_tables import Outcome, end_table, join_table
from bench.figures import README, write_between_markers
from bench.file_ends import Join, measure_end, measure_join, trackers_agree
from bench.looper import loop_points, looper_command
from bench.recordings import Recording, find_music
from bench.track import Track, load_track

from outpaint_mcp.audio.engine.outpaint import outpaint_file
from outpaint_mcp.audio.layout import Layout, PartKind
from outpaint_mcp.audio.sides import Side
from outpaint_mcp.errors import InvalidRequest
from outpaint_mcp.wishes import Wishes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from outpaint_mcp.audio.engine.outpaint import Outpainted
    from outpaint_mcp.audio.types import Samples
    from outpaint_mcp.wishes import BeginningName, EndingName

RECORDINGS = (
    ("supertuxkart-data", "ravenbridge_mansion"),
    ("supertuxkart-data", "demonhill"),
    ("hedgewars-data", "snow"),
    ("supertuxkart-data", "xeon6"),
    ("supertuxkart-data", "valley"),
    ("hedgewars-data", "Golf"),
    ("hedgewars-data", "Brick"),
    ("warzone2100-music", "track24"),
    ("warzone2100-music", "track8"),
    ("warzone2100-music", "track2"),
)
"""Chosen by their names, before any of them was extended; nobody tunes on them."""
KINDS: dict[EndingName, BeginningName | None] = {
    "natural": "natural",
    "fade": "fade",
    "cut": "cut",
    "loop": None,
    "breakdown": "build",
}
"""Each ending, and the beginning that is asked for with it."""
SECONDS = 40.0


def main() -> None:
    """Extend every recording in every way and print tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.endings", description=__doc__)
    parser.add_argument("--only", action="append", metavar="NAME", help="this recording; may be repeated")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS, help="endings")
    parser.add_argument("--write", action="store_true", help="put the tables into bench/README.md")
    options = parser.parse_args()
    outcomes: list[Outcome] = []
    joins: dict[str, list[Join]] = defaultdict(list)
    refused: list[str] = []
    for package, name in RECORDINGS:
        if options.only and name not in options.only:
            continue
        path = find_music(package, name)
        if path is None:
            print(f"left out: {name} of {package}, which could not be fetched")
            continue
        track = load_track(Recording(name, package, path))
        has_beat = track.reference.phase_is_reliable and trackers_agree(track)
        for kind in options.kinds:
            try:
                longer, found = _extended(path, kind)
            except InvalidRequest as error:
                refused.append(f"- {name}, ending={kind}: refused: {error}")
                print(refused[-1], flush=True)
                continue
            if kind == "loop":
                for method, join in _joins(track, longer):
                    joins[method].append(join)
                    print(f"{name:20} {method:14} {_join_line(join)}", flush=True)
                continue
            for outcome in _outcomes(track, kind, longer, found, has_beat=has_beat):
                outcomes.append(outcome)
                print(_line(outcome), flush=True)
    text = "\n".join([*end_table(outcomes), "", *join_table(joins), "", *refused]) + "\n"
    print(text)
    if options.write:
        write_between_markers(README, "endings", text)


def _extended(source: Path, kind: EndingName) -> tuple[Samples, Outpainted]:
    beginning = KINDS[kind]
    wishes = Wishes(
        before_seconds=SECONDS if beginning else 0.0,
        after_seconds=SECONDS,
        beginning=beginning or "natural",
        ending=kind,
    )
    with TemporaryDirectory() as folder:
        longer = Path(folder, "longer.flac")
        found = outpaint_file(
            source, longer, wishes, seed=1, max_source_seconds=7200.0, on_progress=lambda _done, _step: None
        )
        samples, _ = soundfile.read(longer, dtype="float32", always_2d=True)
    return np.asarray(samples, np.float32), found


def _outcomes(
    track: Track, kind: EndingName, longer: Samples, found: Outpainted, *, has_beat: bool
) -> Iterator[Outcome]:
    layout, rate = found.layout, track.sample_rate
    period = track.reference.period_frames
    shaped = {
        Side.AFTER: (f"ending={kind}", layout.frames - layout.full_to, layout.parts[-1].kind),
        Side.BEFORE: (f"beginning={KINDS[kind]}", layout.full_from, layout.parts[0].kind),
    }
    for side, (name, frames, part) in shaped.items():
        line = frames if side is Side.BEFORE else layout.frames - frames
        end = measure_end(longer, side, frames, track, _material_frame(layout, side, line))
        has_landed = name.endswith("natural") and not frames and end.is_quiet
        yield Outcome(
            recording=track.recording.name,
            kind=name,
            end=end,
            shaped_seconds=frames / rate,
            is_own=has_landed or part in {PartKind.OWN_ENDING, PartKind.OWN_BEGINNING},
            length_frames=len(longer) - len(track.samples) - 2 * round(SECONDS * rate),
            has_beat=has_beat,
            beat_ms=1000 * (period or float("nan")) / rate,
        )


def _material_frame(layout: Layout, side: Side, line: int) -> int | None:
    """The frame of the recording that plays where the full music ends (or begins)."""
    for part, start, stop in layout.placed():
        if part.source_frame is not None and (start if side is Side.BEFORE else stop) == line:
            return part.source_frame + (0 if side is Side.BEFORE else part.frames)
    return None


def _joins(track: Track, longer: Samples) -> Iterator[tuple[str, Join]]:
    """How a loop joins itself: ours, and what others would do."""
    yield "ending=loop", measure_join(longer, longer, track)
    yield "the recording itself", measure_join(track.samples, track.samples, track)
    walk = baselines.jukebox(track)(Side.AFTER, round(SECONDS * track.sample_rate), 1)
    last = walk.segments[-1]
    beats = track.beats[(track.beats > last.source_frame)] - last.source_frame + last.extension_frame
    inside = beats[beats <= len(walk.samples)]
    stop = int(inside[-1]) if len(inside) else last.extension_frame
    yield "jukebox", measure_join(walk.samples[:stop], track.samples, track)
    command = looper_command()
    points = loop_points(track, command) if command else None
    if points is not None:
        yield "pymusiclooper", measure_join(track.samples[: points[1]], track.samples[points[0] :], track)


def _line(outcome: Outcome) -> str:
    end = outcome.end
    return (
        f"{outcome.recording:20} {outcome.kind:18} last {end.last_db:+6.1f} dB  shaped {outcome.shaped_seconds:5.2f} s"
        f"{' own' if outcome.is_own else '    '}  low {end.faded_seconds:5.2f} s  off {outcome.line_ms:4.0f} ms"
        f"{' ' if outcome.has_beat else '?'}  click {end.click:.2f}  struck {' '.join(f'{s:.2f}' for s in end.struck)}"
        f"  {', '.join(outcome.faults)}"
    )


def _join_line(join: Join) -> str:
    m = join.measures
    return (
        f"flux {m.flux_pct:5.1f}  click {m.click_ratio:.2f}  {m.lufs:+5.1f} LU ({m.lufs_pct:.1f})"
        f"  chroma {m.chroma_pct:.1f}"
        f"  slip {m.phase:.0f} ms  novel {m.novelty_pct:.0f}  {', '.join(join.failures)}"
        f"{' (its own: ' + ', '.join(join.edges_own) + ')' if join.edges_own else ''}"
    )


if __name__ == "__main__":
    main()
