"""Three hundred mutants of each format, carried out by the workers: probed, decoded, some of them extended."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import soundfile
from tests.attack.recordings import mend_pages
from tests.attack.target import measuring
from tests.audio.encoding import as_integers, encode, music
from tests.workers import extend, measure, probe

from outpaint_mcp import errors
from outpaint_mcp.workers.pool import WorkerPool

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt
    from tests.attack.book import Row
    from tests.attack.target import Attack

    from outpaint_mcp.workers.order import Order

_EACH = 300
_EXTENDED_EVERY = 10
_AT_ONCE = 3
_HANGS_AFTER_SECONDS, _MOST_MIB = 30.0, 1024
_SECONDS, _RATE = 0.9, 44_100
_BLOCK_BYTES, _LEAST_BYTES, _NEAR_SHARE = 512, 32, 0.4
_PAGE = b"OggS"


def _sndfile(container: str, subtype: str) -> Callable[[Path], object]:
    return lambda path: soundfile.write(path, music(_SECONDS), _RATE, subtype, format=container)


def _ffmpeg(container: str, codec: str) -> Callable[[Path], object]:
    rate, how = 48_000 if codec == "libopus" else _RATE, {"b": "128000"}  # WMA has none of its own
    return lambda path: encode(path, _values(codec), codec, container, rate, options=how)


def _values(codec: str) -> npt.NDArray[Any]:
    return as_integers(music(_SECONDS), 16) if codec in {"alac", "flac"} else music(_SECONDS)


FORMS: dict[str, Callable[[Path], object]] = {
    "WAV": _sndfile("WAV", "PCM_24"),
    "AIFF": _sndfile("AIFF", "PCM_16"),
    "CAF": _sndfile("CAF", "ALAC_16"),
    "FLAC": _sndfile("FLAC", "PCM_16"),
    "FLAC in OGG": _ffmpeg("ogg", "flac"),
    "Vorbis": _sndfile("OGG", "VORBIS"),
    "Opus": _ffmpeg("ogg", "libopus"),
    "MP3": _sndfile("MP3", "MPEG_LAYER_III"),
    "ADTS": _ffmpeg("adts", "aac"),
    "M4A with AAC": _ffmpeg("mp4", "aac"),
    "M4A with ALAC": _ffmpeg("mp4", "alac"),
    "MKV with AAC": _ffmpeg("matroska", "aac"),
    "WebM with Opus": _ffmpeg("webm", "libopus"),
    "WMA": _ffmpeg("asf", "wmav2"),
}


@dataclass(slots=True)
class _Tally:
    """What became of the mutants of one format."""

    decoded: int = 0
    refused: int = 0
    extended: int = 0
    seconds: list[float] = field(default_factory=lambda: [0.0])


def attack(attack: Attack) -> None:
    """Have workers probe, decode and extend mutants of every format."""
    seeds = {name: _written(attack.folder / "seed", write) for name, write in FORMS.items()}
    for name, good in seeds.items():
        title = f"seeded mutants of {name}, probed and decoded by workers; every {_EXTENDED_EVERY}th extended"
        with attack.book.row("mutants", title) as row, attack.target() as target:
            count = attack.count(_EACH)
            others = [seeds[attack.rng.choice([*seeds])] for _ in range(count)]
            raws = [mutant(good, attack.rng, other=other) for other in others]
            row.check(target.song.exists(), "no folder")
            with measuring(os.getpid()) as most:
                tally = asyncio.run(_carry_out(row, target.music, [good, *raws]))
            row.at_most(max(tally.seconds), _HANGS_AFTER_SECONDS, "s", "a task")
            row.at_most(most[0], _MOST_MIB, "MiB", "a worker")
            row.check(not target.leftovers(), f"left: {target.leftovers()[:3]}")
            left = [each.name for each in target.music.iterdir() if each != target.song]
            row.check(not left, f"left: {left[:3]}")
            row.notes.append(
                f"{tally.decoded} decoded, {tally.refused} refused, {tally.extended} extended,"
                f" slowest {max(tally.seconds):.1f} s, {most[0]:.0f} MiB"
            )


async def _carry_out(row: Row, folder: Path, raws: list[bytes]) -> _Tally:
    """Have the pool do it all; the first is the control: no mutant, and extended."""
    pool, tally, room = WorkerPool(), _Tally(), asyncio.Semaphore(_AT_ONCE)

    async def one(number: int, raw: bytes) -> None:
        async with room:
            path = folder / f"mutant-{number}"
            path.write_bytes(raw)
            work = folder / f"work-{number}"
            work.mkdir()
            orders = [probe(path), measure(path)] + [extend(path, work)] * (number % _EXTENDED_EVERY == 0)
            words = ""
            for order in orders:
                words = await _try(pool, order, tally)
                row.check(not words.startswith("BUG"), f"{path.name}, {type(order).__name__}: {words}")
                if words:
                    break
            tally.decoded, tally.refused = tally.decoded + (not words), tally.refused + bool(words)
            tally.extended += not words and len(orders) == 3
            row.check(number or not words, f"the control: {words}")
            shutil.rmtree(work)
            path.unlink()

    try:
        async with asyncio.TaskGroup() as group:
            for number, raw in enumerate(raws):
                group.create_task(one(number, raw))
    finally:
        await pool.close()
    return tally


async def _try(pool: WorkerPool, order: Order[object], tally: _Tally) -> str:
    """Have an order carried out; returns what the worker said against it, beginning with BUG where that is one."""
    began = time.monotonic()

    def begin(share: float, _step: str) -> None:
        nonlocal began
        began = began if share else time.monotonic()  # waiting for a turn does not count

    try:
        await pool.run(order, on_progress=begin, timeout_seconds=2 * _HANGS_AFTER_SECONDS)
    except (errors.SourceError, errors.GenerationFailed, errors.InvalidRequest) as exc:
        return f"{type(exc).__name__}: {exc}"
    except errors.OutpaintError as exc:  # a crash, a hang, an exception that nobody foresaw
        return f"BUG: {type(exc).__name__}: {exc}"
    finally:
        tally.seconds.append(time.monotonic() - began)
    return ""


def _written(path: Path, write: Callable[[Path], object]) -> bytes:
    write(path)
    return path.read_bytes()


def mutant(good: bytes, rng: random.Random, *, other: bytes) -> bytes:
    """Return a recording that was good once, damaged as disks and networks do, and as nothing does by chance."""
    raw = bytearray(good)
    for _ in range(rng.randint(1, 3)):
        near = rng.random() < _NEAR_SHARE  # headers decide what a decoder does
        at = rng.randrange(min(len(raw), 400) if near else len(raw))
        rng.choice(_DAMAGES)(raw, at, rng.randint(1, _BLOCK_BYTES), rng, other)
        if len(raw) < _LEAST_BYTES:
            raw += good[:_BLOCK_BYTES]
    if raw.startswith(_PAGE) and rng.random() < 0.5:
        mend_pages(raw)
    return bytes(raw)


def _flip(raw: bytearray, at: int, size: int, rng: random.Random, _: bytes) -> None:
    for _number in range(rng.randint(1, 64)):
        raw[(at + rng.randrange(size)) % len(raw)] ^= 1 << rng.randrange(8)


def _blank(raw: bytearray, at: int, size: int, _rng: random.Random, _: bytes) -> None:
    raw[at : at + size] = bytes(len(raw[at : at + size]))


def _repeat(raw: bytearray, at: int, size: int, rng: random.Random, _: bytes) -> None:
    raw[at:at] = raw[at : at + size] * rng.choice([1, 2, 50])


def _cut(raw: bytearray, at: int, _size: int, _rng: random.Random, _: bytes) -> None:
    del raw[max(at, 16) :]


def _drop(raw: bytearray, at: int, size: int, _rng: random.Random, _: bytes) -> None:
    del raw[at : at + size]


def _lie(raw: bytearray, at: int, _size: int, rng: random.Random, _: bytes) -> None:
    """A size, a count or an offset that is none."""
    width = rng.choice([1, 2, 4, 8])
    raw[at : at + width] = rng.choice([b"\0", b"\xff", b"\x7f"]) * width


def _graft(raw: bytearray, at: int, size: int, rng: random.Random, other: bytes) -> None:
    """Something of another format, its header at times."""
    at = rng.choice([0, at, at])
    raw[at : at + size // 4] = other[at : at + size // 4]


_DAMAGES = (_flip, _blank, _repeat, _cut, _drop, _lie, _lie, _graft)
