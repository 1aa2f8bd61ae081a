"""Recordings that say they are more than they are, or that become more than they look."""

from __future__ import annotations

import io
import os
import struct
import time
import wave
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import soundfile
from tests.attack.container_bombs import container_bombs
from tests.attack.target import measuring, memory_mib

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.attack.target import Attack, Lines, Target

_PATIENCE_SECONDS = 100.0
_IN_FLIGHT = 3
_MAX_32 = 0xFFFFFFFF


def attack(attack: Attack) -> None:
    """Analyze, and plan an extension of, each of them."""
    with attack.target() as target:
        server = target.start()
        title = (
            "crafted bombs (rates, channels, frames, sizes, marks, covers, comments), analyzed and planned"
        )
        with attack.book.row("recordings", title) as row, measuring(server.process.pid) as most:
            every = [*bombs(), *container_bombs(target.folder)]
            with ThreadPoolExecutor(_IN_FLIGHT) as pool:
                for tries in pool.map(partial(_try, target, server), attack.some(every)):
                    for held, what in tries:
                        row.check(held, what)
            row.at_most(most[0], 1024, "MiB", "a worker")
            row.at_most(memory_mib(server.process.pid), 200, "MiB", "server")
            row.check(server.serves(target.song), "a good recording is not analyzed any more")
        with attack.book.row(
            "recordings", "NaN, infinity and 1e300 in a source: said, and no verdict of good"
        ) as row:
            for number, value in enumerate((np.nan, np.inf, -np.inf, 1e300)):
                samples = np.zeros(16_000)
                samples[4_000:12_000] = value
                path = target.music / f"odd-{number}.wav"
                soundfile.write(path, samples, 16_000, subtype="DOUBLE")
                outcome = server.outcome("analyze_audio", {"audio": str(path)})
                words = outcome.words.lower()
                row.check(
                    "infin" in words or "not a number" in words or "finite" in words,
                    f"{value}: {words[:300]}",
                )


def _try(target: Target, server: Lines, bomb: tuple[str, bytes | int]) -> list[tuple[bool, str]]:
    name, raw = bomb
    path = _write(target.music / name, raw)
    tries = []
    plan = {"tags": "", "extend_after_duration": 1, "dry_run": True}
    for tool, more in (("analyze_audio", {}), ("submit_outpaint", plan)):
        began = time.monotonic()
        outcome = server.outcome(tool, {"audio": str(path)} | more, seconds=_PATIENCE_SECONDS)
        took = time.monotonic() - began
        tries.append((not outcome.is_bug, f"{name}, {tool}, {took:.0f} s: {outcome.words[:200]}"))
    path.unlink()
    return tries


def bombs() -> Iterator[tuple[str, bytes | int]]:
    """Return names and bytes; a number is the size of a file that is all holes behind a WAV's head."""
    for rate in (0, 1, 7, 655_350, 2**31 - 1, _MAX_32):
        yield f"rate-{rate}.wav", wav(rate=rate)
    for channels in (0, 3, 255, 1024, 65_535):
        yield f"channels-{channels}.wav", wav(channels=channels)
    for bits in (0, 1, 7, 64, 65_535):
        yield f"bits-{bits}.wav", wav(bits=bits)
    for size in (0, 1, 2**31 - 1, 2**31, _MAX_32):
        yield f"data-{size}.wav", wav(sizes=(-1, size))
        yield f"riff-{size}.wav", wav(sizes=(size, -1))
    for tag in (0, 2, 0x11, 0x31, 0x55, 0xFFFE, 0xFFFF):
        yield f"format-{tag}.wav", wav(tag=tag)
    yield "holes.wav", 6 << 30
    good = encoded("FLAC")
    for total in (0, 1, 2**31, 2**36 - 1):
        yield f"total-{total}.flac", flac(good, total=total)
    yield "rate.flac", flac(good, rate=655_350)
    yield "no-rate.flac", flac(good, rate=0)
    yield "cover.flac", with_cover(good)
    yield "padding.flac", good[:4] + b"\x01\xff\xff\xff" + good[4:]
    yield "silence.flac", encoded("FLAC", seconds=600, rate=192_000)
    song = encoded("MP3")
    yield "id3-200-mib.mp3", b"ID3\x04\x00\x00" + bytes([0x64, 0, 0, 0]) + song
    yield "id3-empty.mp3", b"ID3\x04\x00\x00\x00\x00\x00\x00" * 400_000 + song
    yield "id3-nested.mp3", (b"ID3\x04\x00\x00\x00\x00\x00\x0aAPIC\x00\x00\x00\x7f\x00\x00") * 50_000 + song
    yield "ape.mp3", song + b"APETAGEX" + struct.pack("<IIII8x", 2000, _MAX_32, _MAX_32, 0)
    yield "xing.mp3", song.replace(b"Xing", b"Xing\x00\x00\x00\x0f\xff\xff\xff\xff", 1)
    vorbis = encoded("OGG")
    yield "chain.ogg", vorbis * 500
    yield "granule.ogg", vorbis.replace(b"OggS\x00\x04", b"OggS\x00\x04" + b"\xff" * 8, 1)
    yield "comments.ogg", vorbis.replace(b"\x03vorbis", b"\x03vorbis" + b"\xff" * 64, 1)
    sound = encoded("AIFF")
    yield (
        "rate.aiff",
        sound.replace(sound[sound.find(b"COMM") + 16 : sound.find(b"COMM") + 26], b"\x7f" * 10, 1),
    )
    yield "frames.aiff", sound.replace(b"COMM\x00\x00\x00\x12\x00\x01", b"COMM\x00\x00\x00\x12\x7f\xff", 1)
    sound = encoded("AU")
    yield "offset.au", sound[:4] + b"\xff\xff\xff\xf0" + sound[8:]
    yield "size.au", sound[:8] + b"\x7f\xff\xff\xff" + sound[12:]
    sound = encoded("CAF")
    yield "chunks.caf", sound[:8] + b"free" + b"\xff" * 8 + sound[8:]
    yield "page.wav", b"<!DOCTYPE html>" * 1000
    yield "zip.wav", b"PK\x03\x04" + bytes(1000)
    yield "list.m3u8", b"#EXTM3U\nfile:///etc/passwd\n"
    yield "list.wav", b"ffconcat version 1.0\nfile /etc/passwd\n"
    yield "empty.wav", b""


def wav(
    *, tag: int = 1, channels: int = 1, rate: int = 16_000, bits: int = 16, sizes: tuple[int, int] = (-1, -1)
) -> bytes:
    """Return a WAV whose head says this of a second of samples; the sizes of file and data, -1 for the true ones."""
    riff_size, data_size = sizes
    data = (np.sin(np.arange(16_000) / 12) * 9_000).astype("<i2").tobytes()
    block = channels * bits // 8 & 0xFFFF
    form = struct.pack("<HHIIHH", tag, channels, rate, rate * block & _MAX_32, block, bits)
    body = b"fmt " + struct.pack("<I", len(form)) + form
    body += b"data" + struct.pack("<I", len(data) if data_size < 0 else data_size) + data
    return b"RIFF" + struct.pack("<I", len(body) + 4 if riff_size < 0 else riff_size) + b"WAVE" + body


def encoded(container: str, *, seconds: float = 1.0, rate: int = 44_100) -> bytes:
    """Return a recording; long ones are silent."""
    frames = round(seconds * rate)
    samples = np.sin(np.arange(frames) / 20) * 0.3 if seconds < 10 else np.zeros(frames, np.int16)
    to = io.BytesIO()
    soundfile.write(to, samples, rate, format=container)
    return to.getvalue()


def flac(good: bytes, *, total: int | None = None, rate: int | None = None) -> bytes:
    """Return a FLAC whose stream information says this."""
    raw = bytearray(good)
    information = int.from_bytes(raw[18:26], "big")
    if total is not None:
        information = information >> 36 << 36 | total
    if rate is not None:
        information = information & (1 << 44) - 1 | (rate & (1 << 20) - 1) << 44
    raw[18:26] = information.to_bytes(8, "big")
    return bytes(raw)


def with_cover(good: bytes) -> bytes:
    """Return a FLAC with a picture of 30,000 by 30,000 that is small as a file."""
    rows = zlib.compress(bytes(30_000 * 4_000), 9)
    head = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in ((b"IHDR", head), (b"IDAT", rows), (b"IEND", b""))
    )
    block = (
        struct.pack(">II", 3, 9)
        + b"image/png"
        + struct.pack(">IIIIII", 0, 30_000, 30_000, 8, 0, len(png))
        + png
    )
    return good[:42] + b"\x06" + len(block).to_bytes(3, "big") + block + good[42:]


def _write(path: Path, raw: bytes | int) -> Path:
    if isinstance(raw, bytes):
        path.write_bytes(raw)
    else:
        with wave.open(str(path), "wb") as file:
            file.setparams((2, 2, 48_000, 0, "NONE", ""))
            file.writeframes(bytes(4_000))
        os.truncate(path, raw)
    return path
