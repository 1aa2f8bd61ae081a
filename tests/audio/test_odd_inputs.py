"""Odd recordings come through everything that is done with a file: a clear answer, or a clear refusal."""

from __future__ import annotations

import gzip
import io
import tracemalloc
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile

from outpaint_mcp.audio.files.crop import crop
from outpaint_mcp.audio.files.decode import AudioReader, probe
from outpaint_mcp.audio.files.formats import FORMATS, write_as
from outpaint_mcp.audio.hearing.analyze import analyze
from outpaint_mcp.audio.tags.carrying import carry_over
from outpaint_mcp.audio.verdict.judge import judge
from outpaint_mcp.audio.verdict.records import Asked
from outpaint_mcp.errors import SourceTooLarge, UnsupportedAudio

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt

    Wave = npt.NDArray[np.float64]

RATE = 22_050


def noise(frames: int, channels: int = 1) -> Wave:
    return np.random.default_rng(5).normal(0, 0.1, (frames, channels))


def tone(seconds: float, hertz: float = 220.0, rate: int = RATE) -> Wave:
    return np.asarray(0.4 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate))[:, None]


def speech(seconds: float) -> Wave:
    """Syllables of buzz and hiss, of uneven length, with pauses."""
    rng = np.random.default_rng(11)
    parts: list[Wave] = []
    while sum(map(len, parts)) < seconds * RATE:
        long = rng.uniform(0.08, 0.3)
        buzz = np.sign(tone(long, rng.uniform(90, 160))) * 0.2
        hiss = noise(round(rng.uniform(0.03, 0.12) * RATE))
        parts += [
            buzz * np.hanning(len(buzz))[:, None],
            hiss,
            np.zeros((round(rng.exponential(0.1) * RATE), 1)),
        ]
    return np.concatenate(parts)[: round(seconds * RATE)]


def broken(samples: Wave) -> Wave:
    samples = samples.copy()
    samples[1_000:1_200] = np.nan
    samples[2_000] = np.inf
    samples[3_000] = -1e30
    return samples


def wav(samples: Wave, rate: int = RATE, subtype: str = "PCM_16") -> Callable[[Path], None]:
    return lambda path: soundfile.write(path, samples, rate, subtype, format="WAV")


def truncated_mp3(path: Path) -> None:
    soundfile.write(path, noise(3 * RATE, 2), RATE, "MPEG_LAYER_III", format="MP3")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3 + 7])


def truncated_flac(path: Path) -> None:
    soundfile.write(path, noise(3 * RATE, 2), RATE, "PCM_16", format="FLAC")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])


ODD: dict[str, Callable[[Path], None]] = {
    "speech": wav(speech(4)),
    "a drone": wav(tone(4) + tone(4, 220.5)),
    "silence": wav(np.zeros((2 * RATE, 2))),
    "one sample": wav(np.full((1, 2), 0.5)),
    "ten milliseconds": wav(tone(0.01)),
    "8 kHz mono": wav(tone(2, rate=8_000), 8_000, "ULAW"),
    "192 kHz": wav(tone(1, rate=192_000), 192_000, "PCM_24"),
    "5.1": wav(noise(2 * RATE, 6), subtype="PCM_24"),
    "clipped": wav(np.clip(20 * noise(2 * RATE, 2), -1, 1)),
    "beyond full scale": wav(40 * noise(2 * RATE, 2), subtype="FLOAT"),
    "a DC offset": wav(np.full((2 * RATE, 1), 0.6) + 0.1 * tone(2)),
    "no numbers": wav(broken(noise(2 * RATE, 2)), subtype="FLOAT"),
    "no number in one channel": wav(np.hstack([tone(2), np.full((2 * RATE, 1), np.nan)]), subtype="FLOAT"),
    "antiphase": wav(np.hstack([tone(2), -tone(2)])),
    "a truncated MP3": truncated_mp3,
    "a truncated FLAC": truncated_flac,
}
NO_AUDIO: dict[str, tuple[bytes, str]] = {
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(999), "a PNG image"),
    "an archive": (b"PK\3\4" + bytes(999), "a ZIP archive"),
    "a compressed file": (gzip.compress(bytes(999)), "a gzip archive"),
    "a tag that claims 256 MB": (b"ID3\4\0\0\x7f\x7f\x7f\x7f" + bytes(999), "not audio|no audio"),
    "a header that claims 4 GB": (
        b"RIFF\xff\xff\xff\xffWAVEfmt \xff\xff\xff\xff" + bytes(99),
        "not audio|no audio",
    ),
}


@pytest.mark.smoke
@pytest.mark.parametrize("make", ODD.values(), ids=ODD)
def test_an_odd_recording_is_cut_rewritten_tagged_heard_and_judged(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    source, part, made = tmp_path / "source", tmp_path / "part", tmp_path / "made"
    make(source)
    before = source.read_bytes()
    heard = analyze(source, max_seconds=60)
    cut = crop(source, part, start_seconds=0, end_seconds=0, max_seconds=60)
    assert (heard.frames, heard.remark) == (cut.frames, cut.source_remark)
    for name in FORMATS:
        told = write_as(part, made, format=name, on_progress=lambda _: None)
        least = 513 if told.subtype == "AAC" else 0
        frames = max(least, cut.frames * told.sample_rate / cut.sample_rate)
        assert told.frames == pytest.approx(frames, abs=1)
        assert not carry_over(source, made, comment="Extended.")
        if name not in {"source", "wav_float"}:
            assert finite(made)
    verdict = judge(source, made, Asked(before_seconds=0, after_seconds=1), max_source_seconds=60)
    assert verdict.faults
    assert verdict.seconds == pytest.approx(told.frames / told.sample_rate, abs=1e-3)
    assert source.read_bytes() == before


def finite(path: Path) -> bool:
    with AudioReader(path) as source:
        return all(np.isfinite(block).all() for block in source.blocks(np.float32))


@pytest.mark.parametrize(("content", "words"), NO_AUDIO.values(), ids=NO_AUDIO)
def test_what_only_has_the_name_of_a_recording_is_refused_by_everything_in_the_same_words(
    tmp_path: Path, content: bytes, words: str
) -> None:
    source = tmp_path / "song.mp3"
    source.write_bytes(content)
    for refuse in attempts(source, max_seconds=60):
        with pytest.raises(UnsupportedAudio, match=words):
            refuse()


def attempts(source: Path, max_seconds: float) -> list[Callable[[], Any]]:
    made = source.with_name("made")
    return [
        lambda: analyze(source, max_seconds=max_seconds),
        lambda: crop(source, made, start_seconds=1, end_seconds=0, max_seconds=max_seconds),
        lambda: write_as(source, made, format="mp3", on_progress=lambda _: None),
        lambda: judge(
            source, source, Asked(before_seconds=1, after_seconds=1), max_source_seconds=max_seconds
        ),
    ]


def test_hours_of_silence_in_a_small_file_cost_no_more_than_may_be_decoded(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.flac"
    with soundfile.SoundFile(bomb, "w", 8_000, 8, "PCM_16", format="FLAC") as file:
        for _ in range(60):
            file.write(np.zeros((8 * 60_000, 8), np.int16))
    assert bomb.stat().st_size < 300_000
    assert probe(bomb).seconds == 3_600
    hear_it, cut_it, _, judge_it = attempts(bomb, max_seconds=30)
    for give_up in (hear_it, cut_it, judge_it):
        tracemalloc.start()
        with pytest.raises(SourceTooLarge, match="30 seconds"):
            give_up()
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert most < 100 << 20
    kept = crop(bomb, tmp_path / "made", start_seconds=5, end_seconds=6, max_seconds=30)
    assert kept.frames == 8_000


def test_an_archive_of_a_gigabyte_called_a_recording_is_not_opened(tmp_path: Path) -> None:
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("song.wav", bytes(50 << 20))
    (tmp_path / "song.wav").write_bytes(bomb.getvalue())
    tracemalloc.start()
    with pytest.raises(UnsupportedAudio, match="a ZIP archive"):
        analyze(tmp_path / "song.wav", max_seconds=60)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1 << 20
