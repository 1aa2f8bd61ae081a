"""Whether a recording has one tempo and one key, however much of it is heard and whatever was made of it.

    python -m bench.songs              # the development recordings
    python -m bench.songs --held-out   # those that nobody tunes on
    python -m bench.songs --folder F   # any other music

Each is analyzed whole, and then its first 30 and 60 s, the 60 s in its middle, both halves, and an extension of it by
20 s before and 60 s after. Counted are the pairs of whole and part in which both have a tempo, or a key: how many
agree, above each confidence that both have. A tempo agrees within 4 %, octave included.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

import soundfile
from bench.recordings import find_recordings

from outpaint_mcp.audio.engine.outpaint import outpaint_file
from outpaint_mcp.audio.hearing import song_key
from outpaint_mcp.audio.hearing.outline import finite
from outpaint_mcp.audio.hearing.song_key import find_song_key
from outpaint_mcp.audio.hearing.stream_analyzer import StreamAnalyzer
from outpaint_mcp.audio.hearing.tempo import find_tempo
from outpaint_mcp.audio.keys import fifths_between
from outpaint_mcp.wishes import Wishes

if TYPE_CHECKING:
    from outpaint_mcp.audio.hearing.records import Tempo
    from outpaint_mcp.audio.tonality import Key
    from outpaint_mcp.audio.types import Samples

BLOCK_FRAMES = 65_536
SHORTEST_SECONDS, LONGEST_SECONDS = 58.0, 900.0
CONFIDENCES = (0.0, 0.3, 0.4, 0.5, 0.6)
SAME_TEMPO = 0.04


class Pair(NamedTuple):
    """A whole and a part of it.

    Attributes:
        confidence: the smaller of both.
        agrees: whether they have the same.
        is_near: whether they have the same signature; the same as `agrees` for a tempo.
    """

    confidence: float
    agrees: bool
    is_near: bool


def main() -> None:
    """Print the two tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--held-out", action="store_true")
    parser.add_argument("--folder", type=Path, action="append")
    options = parser.parse_args()
    song_key.LEAST_CONFIDENCE = 0.0  # the table shows why there is one
    paths = [each.path for each in find_recordings(held_out=options.held_out)[0]]
    for number, folder in enumerate(options.folder or ()):
        paths = [*(paths if number else ()), *sorted(_music(folder))]
    tempos: list[Pair] = []
    keys: list[Pair] = []
    for path in paths:
        compare(path, tempos, keys)
        print(f"{path.stem}: {len(tempos)} tempos, {len(keys)} keys so far", flush=True)
    for name, pairs in (("tempo", tempos), ("key", keys)):
        print(f"\n| {name}: confidence at least | pairs | the same | the same signature |\n|---|---|---|---|")
        for least in CONFIDENCES:
            sure = [pair for pair in pairs if pair.confidence >= least]
            if sure:
                agreeing, near = (
                    sum(each) / len(sure) for each in zip(*(pair[1:] for pair in sure), strict=True)
                )
                print(f"| {least} | {len(sure)} | {agreeing:.1%} | {near:.1%} |")


def compare(path: Path, tempos: list[Pair], keys: list[Pair]) -> None:
    """Add the pairs of one recording."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    middle = len(samples) // 2
    parts = [
        samples[: 30 * rate],
        samples[: 60 * rate],
        samples[max(0, middle - 30 * rate) : middle + 30 * rate],
        samples[:middle],
        samples[middle:],
        extended(path),
    ]
    tempo, key = hear(samples, rate)
    for part in parts:
        other_tempo, other_key = hear(part, rate)
        if tempo and other_tempo:
            agrees = abs(other_tempo.bpm / tempo.bpm - 1) <= SAME_TEMPO
            tempos.append(Pair(min(tempo.confidence, other_tempo.confidence), agrees, agrees))
        if key and other_key:
            agrees = (key.tonic, key.mode) == (other_key.tonic, other_key.mode)
            keys.append(
                Pair(min(key.confidence, other_key.confidence), agrees, not fifths_between(key, other_key))
            )


def hear(samples: Samples, rate: int) -> tuple[Tempo | None, Key | None]:
    """Tempo and key of samples, each None where there is none."""
    listener = StreamAnalyzer(rate, samples.shape[1])
    for start in range(0, len(samples), BLOCK_FRAMES):
        listener.add(finite(samples[start : start + BLOCK_FRAMES].copy()))
    timeline = listener.finish()
    return (None, None) if timeline is None else (find_tempo(timeline.pulses), find_song_key(timeline.tones))


def extended(path: Path) -> Samples:
    """A recording with 20 s before it and 60 s after it."""
    with TemporaryDirectory() as folder:
        longer = Path(folder, "longer.wav")
        wishes = Wishes(before_seconds=20, after_seconds=60)
        outpaint_file(path, longer, wishes, seed=1, max_source_seconds=1e9, on_progress=lambda *_: None)
        samples: Samples = soundfile.read(longer, dtype="float32", always_2d=True)[0]
        return samples


def _music(folder: Path) -> list[Path]:
    files = [path for path in folder.rglob("*") if path.suffix in {".ogg", ".mp3", ".opus", ".flac", ".wav"}]
    return [path for path in files if SHORTEST_SECONDS < soundfile.info(path).duration < LONGEST_SECONDS]


if __name__ == "__main__":
    main()
