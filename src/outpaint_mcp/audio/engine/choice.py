"""What an extension was chosen from, and what distinguishes it, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from outpaint_mcp.audio.clock import clock
from outpaint_mcp.audio.levels import span_means
from outpaint_mcp.audio.types import Segment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outpaint_mcp.audio.engine.analysis import Music
    from outpaint_mcp.audio.engine.steering import Steering
    from outpaint_mcp.audio.sections import Stretch
    from outpaint_mcp.audio.steering_words import Wish

_MOST_SPANS = 4
_AUDIBLE_DIFFERENCE_DB = 0.5


def describe_choice(  # noqa: PLR0913 - where it came from, and what that is held against
    wish: Wish,
    steering: Steering,
    segments: Sequence[Segment] | None,
    music: Music,
    sample_rate: int,
    region_start_seconds: float = 0.0,
) -> str:
    """Say what an extension was chosen from and what distinguishes it, as measured; without a full stop.

    Args:
        wish: what was asked.
        steering: what that came to.
        segments: what the extension consists of; None where all of a loop is played, and nothing is chosen.
        music: the region that it was chosen from.
        sample_rate: frames per second.
        region_start_seconds: where that region begins in the recording.
    """
    if segments is None:
        return "all of a loop is played in its turn, whatever the tags say"
    if not segments:
        return ""
    words = [f"chosen from {_spans(segments, sample_rate, region_start_seconds)}"]
    if wish.energy == "build":
        words.append(_rise_in_words(segments, music))
    elif wish.energy is not None or not steering.stretches:
        words.append(f"{_in_words(_level_of(segments, music) - _usual_db(music))} the average")
    if steering.stretches:
        share = _share_inside(segments, steering.stretches, sample_rate)
        letters = " and ".join(sorted({each.letter for each in steering.stretches}))
        words.append(f"{share:.0%} of it from section {letters}{_meaning(wish.section)}")
    return ", ".join([*words, *steering.unmet])


_MEANINGS = {
    "chorus": ", the loudest that comes again",
    "verse": ", the longest of the others",
    "bridge": ", which comes only once",
    "intro": ", the first",
    "outro": ", the last",
}


def _meaning(section: str | None) -> str:
    return _MEANINGS.get(section or "", "")


def _level_of(segments: Sequence[Segment], music: Music) -> float:
    """Mean loudness of the material, dB."""
    hop = music.features.frames_per_window
    starts = np.array([each.source_frame for each in segments]) / hop
    lengths = np.array([each.frames for each in segments], np.float64)
    power = span_means(music.features.power, starts, starts + lengths / hop)
    return 10 * float(np.log10(power @ lengths / lengths.sum() + 1e-10))


def _usual_db(music: Music) -> float:
    return 10 * float(np.log10(music.features.power.mean() + 1e-10))


def _rise_in_words(segments: Sequence[Segment], music: Music) -> str:
    """How much louder the last third of the material is than the first."""
    total = sum(each.frames for each in segments)
    first = _level_of(_cut(segments, 0, total // 3), music)
    last = _level_of(_cut(segments, total - total // 3, total), music)
    return f"its last third {_in_words(last - first)} its first"


def _cut(segments: Sequence[Segment], start: int, stop: int) -> list[Segment]:
    """The segments between two frames, counted from the first segment's first frame."""
    found = []
    at = 0
    for each in segments:
        first, last = max(start - at, 0), min(stop - at, each.frames)
        if last > first:
            found.append(Segment(each.extension_frame + first, each.source_frame + first, last - first))
        at += each.frames
    return found or list(segments)


def _in_words(difference_db: float) -> str:
    if abs(difference_db) < _AUDIBLE_DIFFERENCE_DB:
        return "as loud as"
    return f"{max(round(abs(difference_db)), 1)} LU {'louder' if difference_db > 0 else 'quieter'} than"


def _share_inside(segments: Sequence[Segment], stretches: Sequence[Stretch], sample_rate: int) -> float:
    inside = sum(
        max(
            0.0,
            min((part.source_frame + part.frames) / sample_rate, each.end_seconds)
            - max(part.source_frame / sample_rate, each.start_seconds),
        )
        for part in segments
        for each in stretches
    )
    return inside * sample_rate / max(1, sum(part.frames for part in segments))


def _spans(segments: Sequence[Segment], sample_rate: int, region_start_seconds: float) -> str:
    """The stretches of the recording that most of the material comes from, longest first."""
    united = sorted(_united(segments), key=lambda span: span[0] - span[1])
    named = [
        " to ".join(clock(frame / sample_rate + region_start_seconds) for frame in span)
        for span in united[:_MOST_SPANS]
    ]
    few = named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"
    return few if len(united) <= _MOST_SPANS else f"{few} among others"


def _united(segments: Sequence[Segment]) -> list[tuple[int, int]]:
    """The source frames that are played, overlapping or touching spans united."""
    united: list[tuple[int, int]] = []
    for start, stop in sorted((each.source_frame, each.source_frame + each.frames) for each in segments):
        if united and start <= united[-1][1]:
            united[-1] = (united[-1][0], max(united[-1][1], stop))
        else:
            united.append((start, stop))
    return united
