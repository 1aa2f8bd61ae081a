"""Extending what was extended before: three steps in a chain, 15 s before and 30 s after at each.

    OUTPAINT_MUSIC=... uv run --group bench python -m bench.chains            # every recording by every method
    ... python -m bench.chains --methods natural --only bay --write

| method | what it is |
|---|---|
| natural | the product: each step goes on from the last full music, which it knows from the step before |
| outside | as it used to be: each step is put behind all there is, faded ends and earlier ring-outs included |
| jukebox | an Infinite-Jukebox-like walk over beats, which has no ends of its own; see `baselines` |

Levels are of the mean power of all channels in 100 ms, every 25 ms. A *dip* is the lowest level of anything that was
added, in any of the three files (but for the outermost end, which is an ending and not a hole), against the 1st
percentile of the recording itself where it sounds (60 dB under its loudest and more); in brackets against the same of
its full music alone, without its own fades. *Its own lowest* is the lowest level of that full music: one window in a
hundred is under the percentile in any recording. *Exact*: every file is as long as the one before and what was asked,
to the frame. *Bit for bit*: the recording's own frames that a file has are there as they decode, and so is what it
took over of the file before.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import soundfile
from bench import baselines
from bench.beats import track_beats
from bench.figures import README, write_between_markers
from bench.listening import assemble, downmix, spectra
from bench.measures import Reference
from bench.recordings import Recording, find_music
from bench.track import Track

from outpaint_mcp.audio.engine.full_music import find_full_music
from outpaint_mcp.audio.engine.outpaint import outpaint_file
from outpaint_mcp.audio.files.encode import quantise
from outpaint_mcp.audio.layout import Layout, Part, PartKind, Preserved
from outpaint_mcp.audio.sides import Side
from outpaint_mcp.wishes import Wishes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from outpaint_mcp.audio.types import Floats, Samples

RECORDINGS = (
    ("supertuxkart-data", "theGreatFair"),
    ("supertuxkart-data", "garden"),
    ("supertuxkart-data", "bay"),
    ("supertuxkart-data", "subsea"),
    ("hedgewars-data", "Freeway"),
    ("hedgewars-data", "Beach"),
    ("hedgewars-data", "Sheep"),
    ("hedgewars-data", "Olympics"),
    ("warzone2100-music", "track5"),
    ("warzone2100-music", "track1"),
    ("warzone2100-music", "track13"),
    ("warzone2100-music", "track20"),
)
"""Chosen by their names, before any of them was extended; nobody tunes on them."""
METHODS = ("natural", "outside", "jukebox")
STEPS, BEFORE_SECONDS, AFTER_SECONDS = 3, 15.0, 30.0
TARGET_DB = 6.0

_WINDOW_SECONDS, _HOPS = 0.1, 4
_SOUND_DB = 60.0


@dataclass(frozen=True, slots=True)
class Step:
    """One file of a chain.

    Attributes:
        samples: the whole file, as it decodes.
        layout: what it consists of.
        preserved: what it has of the file before, and where.
    """

    samples: Samples
    layout: Layout
    preserved: tuple[Preserved, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One recording, one method; see the module's text.

    Attributes:
        dip_db: the deepest dip of what was added against the recording's own low levels.
        full_dip_db: the same against those of its full music.
        step: the file it was found in, 1 to 3.
        at_seconds: where in that file.
        is_exact: whether all lengths are.
        is_intact: whether the source is, bit for bit; None where it is not the method's business.
        own_dip_db: the lowest level of the recording's own full music, against its low levels.
    """

    recording: str
    method: str
    dip_db: float
    full_dip_db: float
    step: int
    at_seconds: float
    is_exact: bool
    is_intact: bool | None
    own_dip_db: float


def main() -> None:
    """Extend every recording by every method and print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.chains", description=__doc__)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--only", action="append", metavar="NAME", help="this recording; may be repeated")
    parser.add_argument("--write", action="store_true", help="put the table into bench/README.md")
    options = parser.parse_args()
    outcomes = []
    for package, name in RECORDINGS:
        if options.only and name not in options.only:
            continue
        path = find_music(package, name)
        if path is None:
            print(f"left out: {name} of {package}, which could not be fetched")
            continue
        outcomes += measure(Recording(name, package, path), options.methods)
    text = table(outcomes, options.methods)
    print(text)
    if options.write:
        write_between_markers(README, "chains", text)


def measure(recording: Recording, methods: list[str]) -> list[Outcome]:
    """Extend a recording three times by each method and look at the files."""
    samples, rate = soundfile.read(recording.path, dtype="float32", always_2d=True)
    own = levels_db(samples, rate)
    full = find_full_music(recording.path)
    inside = own[_windows(full.start, full.stop, rate)]
    low_db, full_low_db = (float(np.percentile(_sounding(levels), 1)) for levels in (own, inside))
    stored = quantise(samples, "PCM_24")
    outcomes = []
    for method in methods:
        worst, is_exact, is_intact = (np.inf, 0, 0.0), True, True
        preserved: tuple[Preserved, ...] = (Preserved(0, len(stored), 0),)
        previous = stored
        for number, step in enumerate(_CHAINS[method](recording), 1):
            found, at = deepest(step, rate)
            worst = min(worst, (found, number, at))
            longer = round(BEFORE_SECONDS * rate) + round(AFTER_SECONDS * rate)
            is_exact &= len(step.samples) == step.layout.frames == len(previous) + longer
            preserved = tuple(_carried(preserved, step.preserved))
            written = quantise(step.samples, "PCM_24")
            is_intact &= _has(written, previous, step.preserved) and _has(written, stored, preserved)
            previous = written
        level, number, at = worst
        outcomes.append(
            Outcome(
                recording.name,
                method,
                level - low_db,
                level - full_low_db,
                number,
                at,
                is_exact,
                None if method == "jukebox" else is_intact,
                float(inside.min()) - low_db,
            )
        )
        print(_row(outcomes[-1]), flush=True)
    return outcomes


def levels_db(samples: Samples, sample_rate: int) -> Floats:
    """Level of 100 ms from every 25 ms on, dB re full scale."""
    hop = _hop(sample_rate)
    power = (samples.astype(np.float64) ** 2).mean(axis=1)
    quarters = power[: len(power) // hop * hop].reshape(-1, hop).mean(axis=1)
    windows = np.convolve(quarters, np.ones(_HOPS) / _HOPS, "valid")
    return np.asarray(10 * np.log10(windows + 1e-12))


def deepest(step: Step, sample_rate: int) -> tuple[float, float]:
    """The lowest level of what was added, and its place in seconds; the outermost ends are left out."""
    levels, layout = levels_db(step.samples, sample_rate), step.layout
    is_added = np.zeros(len(levels), bool)
    for part, start, stop in layout.placed():
        if part.kind is not PartKind.SOURCE:
            is_added[_windows(max(start, layout.full_from), min(stop, layout.full_to), sample_rate)] = True
    places = np.flatnonzero(is_added)
    lowest = int(places[levels[places].argmin()])
    return float(levels[lowest]), (lowest + _HOPS / 2) * _hop(sample_rate) / sample_rate


def table(outcomes: list[Outcome], methods: list[str]) -> str:
    """One row a recording, one column a method; and how many keep to the target."""
    head = [
        "recording",
        "its own lowest, dB",
        *(f"{method}: dip, dB" for method in methods),
        "exact",
        "bit for bit",
    ]
    rows = [_cells(head), "|---" * len(head) + "|"]
    for name in dict.fromkeys(outcome.recording for outcome in outcomes):
        own = [outcome for outcome in outcomes if outcome.recording == name]
        dips = [f"{outcome.dip_db:+.1f} ({outcome.full_dip_db:+.1f})" for outcome in own]
        ours = own[0]
        rows.append(
            _cells([name, f"{ours.own_dip_db:+.1f}", *dips, _yes(ours.is_exact), _yes(bool(ours.is_intact))])
        )
    within = []
    for method in methods:
        own = [outcome for outcome in outcomes if outcome.method == method]
        within.append(f"{sum(outcome.dip_db >= -TARGET_DB for outcome in own)} of {len(own)}")
    rows.append(_cells([f"at most {TARGET_DB:g} dB under", "", *within, "", ""]))
    return "\n".join(rows) + "\n"


def _natural(recording: Recording) -> Iterator[Step]:
    return _by_engine(recording, Wishes(before_seconds=BEFORE_SECONDS, after_seconds=AFTER_SECONDS))


def _outside(recording: Recording) -> Iterator[Step]:
    wishes = Wishes(before_seconds=BEFORE_SECONDS, after_seconds=AFTER_SECONDS, placement="outside")
    return _by_engine(recording, wishes)


def _by_engine(recording: Recording, wishes: Wishes) -> Iterator[Step]:
    """A chain of files by the engine, each knowing what the one before consists of."""
    with TemporaryDirectory() as folder:
        source, layout = recording.path, None
        for number in range(1, STEPS + 1):
            longer = Path(folder, f"{number}.flac")
            found = outpaint_file(
                source,
                longer,
                wishes,
                seed=number,
                layout=layout,
                max_source_seconds=7200.0,
                on_progress=lambda _done, _step: None,
            )
            samples, _ = soundfile.read(longer, dtype="float32", always_2d=True)
            yield Step(np.asarray(samples, np.float32), found.layout, found.preserved)
            source, layout = longer, found.layout


def _jukebox(recording: Recording) -> Iterator[Step]:
    """A chain by a walk over beats, each step over all there is by then."""
    whole, rate = soundfile.read(recording.path, dtype="float32", always_2d=True)
    before, after = (round(seconds * rate) for seconds in (BEFORE_SECONDS, AFTER_SECONDS))
    added = (0, 0)
    for number in range(1, STEPS + 1):
        track = _walkable(recording, whole, rate)
        walk = baselines.jukebox(track)
        preserved = Preserved(0, len(whole), before)
        first, last = walk(Side.BEFORE, before, number).samples, walk(Side.AFTER, after, number).samples
        whole = np.concatenate([first, whole, last])
        added = (added[0] + before, added[1] + after)
        middle = len(whole) - sum(added)
        parts = (Part(PartKind.NEW, added[0]), Part(PartKind.SOURCE, middle, 0), Part(PartKind.NEW, added[1]))
        yield Step(whole, Layout(rate, parts), (preserved,))


def _walkable(recording: Recording, samples: Samples, sample_rate: int) -> Track:
    """A recording as the walk needs it, without the measures at its beats."""
    mono, none = downmix(samples), np.zeros(0)
    seen = spectra(mono, sample_rate)
    sound = assemble(mono, sample_rate, seen)
    known = Reference(None, none, none, none, none, none, none)
    return Track(recording, samples, sample_rate, sound, seen, track_beats(sound)[0], known, {})


_CHAINS: dict[str, Callable[[Recording], Iterator[Step]]] = {
    "natural": _natural,
    "outside": _outside,
    "jukebox": _jukebox,
}


def _hop(sample_rate: int) -> int:
    return round(_WINDOW_SECONDS / _HOPS * sample_rate)


def _windows(start: int, stop: int, sample_rate: int) -> slice:
    """Which windows have their middle between two frames."""
    hop = _hop(sample_rate)
    first, last = (max(0, -(-frame // hop) - _HOPS // 2) for frame in (start, stop))
    return slice(first, last)


def _sounding(levels: Floats) -> Floats:
    return np.asarray(levels[levels > levels.max() - _SOUND_DB])


def _carried(before: tuple[Preserved, ...], step: tuple[Preserved, ...]) -> Iterator[Preserved]:
    """What a file has of the recording, if it has `step` of a file that had `before` of it."""
    for own in before:
        for each in step:
            start, stop = max(own.at_frame, each.start), min(own.at_frame + own.stop - own.start, each.stop)
            if start < stop:
                first = own.start + start - own.at_frame
                yield Preserved(first, first + stop - start, each.at_frame + start - each.start)


def _has(written: Samples, source: Samples, preserved: tuple[Preserved, ...]) -> bool:
    return bool(preserved) and all(
        np.array_equal(
            written[each.at_frame : each.at_frame + each.stop - each.start], source[each.start : each.stop]
        )
        for each in preserved
    )


def _row(outcome: Outcome) -> str:
    return (
        f"{outcome.recording:14} {outcome.method:8} {outcome.dip_db:+6.1f} ({outcome.full_dip_db:+6.1f}) dB"
        f"  step {outcome.step} at {outcome.at_seconds:.2f} s"
        f"  exact {_yes(outcome.is_exact)}  bit for bit {'-' if outcome.is_intact is None else _yes(outcome.is_intact)}"
    )


def _cells(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _yes(answer: bool) -> str:  # noqa: FBT001 - one word from another
    return "yes" if answer else "**no**"


if __name__ == "__main__":
    main()
