"""Files of FFmpeg's formats that claim what they are not: M4A, MKV, ADTS, and WMA."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
from tests.audio.encoding import adts_frames, encode, music

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MANY = 1_000_000
_DEEP = 200_000
_COUNTED = (b"stts", b"stsz", b"stsc", b"stco", b"stsd", b"elst", b"ctts", b"sgpd", b"sbgp")
"""Tables of an M4A; each has its number of entries behind a byte of version and three of flags."""
_SIZES = (0, 7, 0xFFFFFFFF)


def container_bombs(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Return names and bytes; a folder to write in is needed for what they are made of."""
    yield from _of_m4a(encode(folder / "seed", music(1.0), "aac", "mp4").read_bytes())
    yield from _of_matroska(encode(folder / "seed", music(1.0), "aac", "matroska").read_bytes())
    yield from _of_webm(encode(folder / "seed", music(1.0, 48_000), "libopus", "webm", 48_000).read_bytes())
    yield from _of_adts(folder)
    wma = encode(folder / "seed", music(1.0), "wmav2", "asf", options={"b": "128000"}).read_bytes()
    at = wma.find(b"\x61\x01\x02\x00")  # its form: tag, channels, rate, bytes a second, and of a block
    for name, place, value in (("channels", 2, "ffff"), ("rate", 4, "ffffffff"), ("block", 12, "ffff")):
        raw = bytearray(wma)
        content = bytes.fromhex(value)
        raw[at + place : at + place + len(content)] = content
        yield f"{name}.wma", bytes(raw)


def _of_m4a(good: bytes) -> Iterator[tuple[str, bytes]]:
    for name in (b"ftyp", b"moov", b"trak", b"mdia", b"minf", b"stbl", b"mdat", b"esds", *_COUNTED):
        at = good.find(name)
        for size in _SIZES if at >= 4 else ():
            yield f"size-{name.decode()}-{size}.m4a", good[: at - 4] + struct.pack(">I", size) + good[at:]
    for name in _COUNTED:
        start = good.find(name) + (12 if name == b"stsz" else 8)
        for count in (0, 0x0FFFFFFF, 0xFFFFFFFF):
            raw = good[:start] + struct.pack(">I", count) + good[start + 4 :]
            yield f"count-{name.decode()}-{count}.m4a", raw
    yield from _of_m4a_heads(good)
    opening = good[: int.from_bytes(good[:4])]
    for name in (b"moov", b"trak", b"udta", b"meta"):
        sizes = range(8 * _DEEP, 0, -8)
        yield (
            f"deep-{name.decode()}.m4a",
            opening + b"".join(struct.pack(">I", size) + name for size in sizes),
        )
    yield "many-traks.m4a", opening + _atom(b"moov", _atom(b"trak", b"") * 100_000)
    for count in (_MANY, 16 * _MANY, 80 * _MANY, 160 * _MANY):
        yield f"tiny-{count}.m4a", m4a_of_tiny_packets(good, count)
        yield f"fragment-{count}.m4a", fragment_of_tiny_packets(good, count)


def _of_m4a_heads(good: bytes) -> Iterator[tuple[str, bytes]]:
    sound, clock = good.find(b"mp4a"), good.find(b"mdhd")
    for channels in (0, 3, 255, 0xFFFF):
        raw = good[: sound + 20] + struct.pack(">H", channels) + good[sound + 22 :]
        yield f"channels-{channels}.m4a", raw
    for rate in (0, 1, 0xFFFF):
        yield f"rate-{rate}.m4a", good[: sound + 28] + struct.pack(">HH", rate, 0) + good[sound + 32 :]
    for scale in (0, 1, 0xFFFFFFFF):
        for length in (0, 1, 0xFFFFFFFF):
            raw = good[: clock + 16] + struct.pack(">II", scale, length) + good[clock + 24 :]
            yield f"clock-{scale}-{length}.m4a", raw


def m4a_of_tiny_packets(good: bytes, count: int) -> bytes:
    """Return an M4A whose table says that it has so many samples of one byte, one after the other."""
    place = good.find(b"stsz")
    raw = bytearray(good)
    raw[place + 8 : place + 16] = struct.pack(">II", 1, count)
    tables = {b"stts": struct.pack(">III", 1, count, 1_024), b"stsc": struct.pack(">IIII", 1, 1, count, 1)}
    for name, entry in tables.items():
        at = raw.find(name) + 8
        raw[at : at + len(entry)] = entry
    return bytes(raw) + bytes(_MANY)


def fragment_of_tiny_packets(good: bytes, count: int) -> bytes:
    """Return an M4A with a fragment behind it that says the same in 40 bytes."""
    track = _atom(b"tfhd", struct.pack(">IIII", 0x020018, 1, 1_024, 1))
    run = _atom(b"trun", struct.pack(">II", 0, count))
    fragment = _atom(b"moof", _atom(b"mfhd", bytes(8)) + _atom(b"traf", track + run))
    at = good.find(b"moov") - 4
    size = int.from_bytes(good[at : at + 4])
    extends = _atom(b"mvex", _atom(b"trex", struct.pack(">IIIIII", 0, 1, 1, 1_024, 1, 0)))
    head = struct.pack(">I", size + len(extends)) + good[at + 4 : at + size] + extends
    return good[:at] + head + good[at + size :] + fragment + _atom(b"mdat", bytes(_MANY))


def _of_matroska(good: bytes) -> Iterator[tuple[str, bytes]]:
    head = good[: good.find(b"\x18\x53\x80\x67")]
    endless = b"\x01" + b"\xff" * 7
    segment, cluster = head + b"\x18\x53\x80\x67" + endless, b"\x1f\x43\xb6\x75" + endless
    yield "deep-clusters.mkv", segment + cluster * 100_000
    yield "deep-tags.mkv", segment + b"\x12\x54\xc3\x67" + endless + (b"\x67\xc8" + endless) * 100_000
    marks = {"segment": b"\x18\x53\x80\x67", "tracks": b"\x16\x54\xae\x6b", "cluster": cluster[:4]}
    for name, mark in marks.items():
        at = good.find(mark) + len(mark)
        for size in (b"\x80", endless, b"\x01\x7f" + b"\xff" * 6, b"\x08\xff\xff\xff\xff"):
            yield f"{name}-{size.hex()}.mkv", good[:at] + size + good[at:]
    channels = good.find(b"\x9f\x81\x02")
    for value in (0, 3, 255):
        yield f"channels-{value}.mkv", good[: channels + 2] + bytes([value]) + good[channels + 3 :]
    yield "channels-2e56.mkv", good[:channels] + b"\x9f\x87" + b"\xff" * 7 + good[channels + 3 :]
    rate = good.find(b"\xb5\x88")
    for hertz in (0.0, 1e-300, -1.0, 1e9, 1e300, float("nan"), float("inf")):
        yield f"rate-{hertz}.mkv", good[: rate + 2] + struct.pack(">d", hertz) + good[rate + 10 :]


def _of_webm(good: bytes) -> Iterator[tuple[str, bytes]]:
    """Blocks of one byte, each of which is a frame of Opus: 20 ms or 60 ms of nothing."""
    cluster = good.find(b"\x1f\x43\xb6\x75")
    opening = bytearray(good[:cluster])
    segment = opening.find(b"\x18\x53\x80\x67") + 4
    opening[segment : segment + 8] = b"\x01" + b"\xff" * 7
    for name, content in (
        ("silence", b"\xf8"),
        ("long", b"\x18"),
        ("empty", b""),
        ("noise", b"\x03\x3f\x01"),
    ):
        block = b"\xa3" + bytes([0x80 | 4 + len(content)]) + b"\x81\x00\x00\x80" + content
        body = b"\xe7\x81\x00" + block * (_MANY // 2)
        head = b"\x1f\x43\xb6\x75\x01" + len(body).to_bytes(7)
        yield f"tiny-{name}.webm", bytes(opening) + head + body


def _of_adts(folder: Path) -> Iterator[tuple[str, bytes]]:
    forms = ((44_100, 2), (8_000, 1), (96_000, 6), (48_000, 2))
    parts = [
        [*adts_frames(encode(folder / "seed", music(0.5, rate, channels), "aac", "adts", rate).read_bytes())]
        for rate, channels in forms
    ]
    turns = [part[number % len(part)] for number in range(2_500) for part in parts]
    yield "restless.aac", b"".join(turns)
    yield "loud-and-restless.aac", b"".join(turns[number ^ 3] for number in range(len(turns)))
    frame = parts[0][3]
    yield "headers.aac", frame + (frame[:3] + b"\x00\xff\xfc" + frame[6:7]) * (_MANY // 4)
    yield "long.aac", frame * 4_000
    noise = np.random.default_rng(1).bytes(_MANY)
    yield "noise.aac", frame * 2 + noise


def _atom(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + name + content
