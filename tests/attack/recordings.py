"""Recordings that are malformed: seeded mutants of every container and codec that can be written here."""

from __future__ import annotations

import io
import threading
import time
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import soundfile
from tests.attack.target import measuring, memory_mib, wait_until, write_song

if TYPE_CHECKING:
    import random

    from tests.attack.target import Attack, Lines, Target

_IN_FLIGHT = 3
_SECONDS = 0.4
_HANGS_AFTER_SECONDS = 30.0
_EXTENDED_EVERY = 6
_RATE = 48_000
_FORMS = (
    ("WAV", "PCM_16"),
    ("WAV", "PCM_24"),
    ("WAV", "FLOAT"),
    ("WAV", "DOUBLE"),
    ("WAV", "ULAW"),
    ("WAV", "IMA_ADPCM"),
    ("WAV", "MS_ADPCM"),
    ("WAV", "GSM610"),
    ("WAVEX", "PCM_16"),
    ("RF64", "PCM_16"),
    ("W64", "PCM_16"),
    ("FLAC", "PCM_16"),
    ("FLAC", "PCM_24"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("MP3", "MPEG_LAYER_III"),
    ("AIFF", "PCM_16"),
    ("AIFF", "FLOAT"),
    ("AU", "PCM_16"),
    ("AU", "ALAW"),
    ("CAF", "PCM_16"),
    ("CAF", "ALAC_16"),
)
_NUMBERS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_PAGE = b"OggS"


def attack(attack: Attack) -> None:
    """Analyze and extend mutants, a few at a time."""
    seeds = {form: _seed(*form) for form in _FORMS}
    with attack.target() as target:
        server = target.start()
        write_song(target.music / "warm.wav", 1.0)
        server.outcome("analyze_audio", {"audio": "warm.wav"})
        title = f"seeded mutants of {len(seeds)} containers and codecs, analyzed; every {_EXTENDED_EVERY}th extended"
        with attack.book.row("recordings", title) as row:

            def one(number: int, raw: bytes, container: str) -> tuple[str, bool]:
                return _try(target, server, number, raw, container)

            with ThreadPoolExecutor(_IN_FLIGHT) as pool, measuring(server.process.pid) as most:
                asked = []
                for number in range(attack.count(900)):
                    form = _FORMS[number % len(_FORMS)]
                    raw = mutant(seeds[form], attack.rng, other=seeds[attack.rng.choice(_FORMS)])
                    asked.append(pool.submit(one, number, raw, form[0]))
                for each in asked:
                    what, held = each.result()
                    row.check(held, what)
            row.at_most(most[0], 400, "MiB", "a worker")
            row.at_most(memory_mib(server.process.pid), 200, "MiB", "server")
        with attack.book.row(
            "recordings", "what mutants left behind: server alive, nothing in a temporary folder"
        ) as row:
            row.check(server.serves(target.song), "a good recording is not analyzed any more")
            row.check(server.end() == 0, "it did not end in order")
            row.check(not target.leftovers(), f"left: {target.leftovers()[:3]}")
            row.check("Traceback" not in server.said, f"stderr has {server.said[-700:]!r}")
            row.check(not list(target.folder.glob("**/core*")), "a core file")
    _closes(attack)


def _closes(attack: Attack) -> None:
    title = "servers closed, and killed, while they listen to audio from a data: URI: what is left of it"
    with attack.book.row("recordings", title) as row, attack.target() as target:
        audio = f"data:audio/wav;base64,{b64encode(_seed('WAV', 'PCM_16') * 20).decode()}"
        for number in range(attack.count(10)):
            server = target.start()
            server.start_tool("analyze_audio", {"audio": audio})
            server.start_tool("submit_outpaint", {"audio": audio, "tags": "", "extend_after_duration": 1})
            threading.Event().wait(0.1 * (number % 5))
            if number % 2:
                server.kill()
            else:
                row.check(server.end() == 0, "it did not end in order")
            row.check(
                not list(target.scratch.iterdir()), f"left in the temporary folder: {target.leftovers()[:3]}"
            )
        server = target.start()
        for each in server.outcome("list_outpaints").data["requests"]:
            server.outcome("get_outpaint_result", {"request_id": each["request_id"], "wait_seconds": 45})
        row.check(server.serves(target.song), "a good recording is not analyzed any more")
        server.end()
        target.start().outcome("list_outpaints")
        row.check(wait_until(lambda: not target.leftovers()), f"left: {target.leftovers()[:3]}")


def _try(target: Target, server: Lines, number: int, raw: bytes, container: str) -> tuple[str, bool]:
    path = target.music / f"mutant-{number}.{container.lower()}"
    path.write_bytes(raw)
    began = time.monotonic()
    try:
        outcome = server.outcome("analyze_audio", {"audio": str(path)}, seconds=_HANGS_AFTER_SECONDS)
        if not outcome.is_error and number % _EXTENDED_EVERY == 0:
            outcome = server.outcome(
                "submit_outpaint",
                {"audio": str(path), "tags": "", "extend_after_duration": 1},
                seconds=_HANGS_AFTER_SECONDS,
            )
            if not outcome.is_error:
                asked = {"request_id": outcome.data["request_id"], "wait_seconds": 30}
                outcome = server.outcome("get_outpaint_result", asked)
        took = time.monotonic() - began
        held = not outcome.is_bug and took < 2 * _HANGS_AFTER_SECONDS
    except TimeoutError:
        held, outcome = False, None
    finally:
        path.unlink()
    return f"{path.name}: {'no answer' if outcome is None else outcome.words[:300]}", held


def _seed(container: str, subtype: str) -> bytes:
    rate = 8_000 if subtype == "GSM610" else _RATE
    t = np.arange(round(_SECONDS * rate)) / rate
    samples = 0.4 * np.sin(2 * np.pi * 330 * t)
    to = io.BytesIO()
    soundfile.write(to, samples, rate, format=container, subtype=subtype)
    return to.getvalue()


def mutant(good: bytes, rng: random.Random, *, other: bytes) -> bytes:
    """Return a recording that was good once; the checksums of OGG are mended in every other one."""
    raw = bytearray(good)
    for _ in range(rng.randint(1, 8)):
        # Headers decide what a decoder does.
        at = rng.randrange(min(len(raw), 200) if rng.random() < 0.6 else len(raw)) if raw else 0
        match rng.randrange(7):
            case 0:
                raw[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                width, order = rng.choice([1, 2, 4]), rng.choice(["little", "big"])
                number = rng.choice(_NUMBERS) & (1 << 8 * width) - 1
                raw[at : at + width] = number.to_bytes(width, "little" if order == "little" else "big")
            case 2:
                del raw[at : at + rng.randint(1, 64)]
            case 3:
                raw[at:at] = rng.randbytes(rng.randint(1, 64))
            case 4:
                del raw[max(at, 16) :]
            case 5:
                raw[at:at] = raw[at : at + rng.randint(1, 4096)]
            case _:
                raw[at:] = other[at : at + rng.randint(1, 4096)] + raw[at:]
    if raw[:4] == _PAGE and rng.random() < 0.5:
        mend_pages(raw)
    return bytes(raw)


def mend_pages(raw: bytearray) -> None:
    """Give every OGG page the checksum that it should have, so that what is wrong in it is read."""
    at = raw.find(_PAGE)
    while at >= 0 and at + 27 < len(raw):
        count = raw[at + 26]
        end = at + 27 + count + sum(raw[at + 27 : at + 27 + count])
        raw[at + 22 : at + 26] = bytes(4)
        raw[at + 22 : at + 26] = _checksum(raw[at:end]).to_bytes(4, "little")
        at = raw.find(_PAGE, at + 27)


def _entry(byte: int) -> int:
    value = byte << 24
    for _ in range(8):
        value = (value << 1 ^ 0x04C11DB7 if value & 0x80000000 else value << 1) & 0xFFFFFFFF
    return value


_ENTRIES = [_entry(byte) for byte in range(256)]


def _checksum(page: bytes | bytearray) -> int:
    value = 0
    for byte in page:
        value = (value << 8 & 0xFFFFFFFF) ^ _ENTRIES[value >> 24 ^ byte]
    return value
