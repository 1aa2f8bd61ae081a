"""A file comes out longer: the source in it bit for bit, the lengths exact, whatever the source is like."""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np
import pytest
import soundfile

from outpaint_mcp.audio.engine import regions
from outpaint_mcp.audio.engine.outpaint import Outpainted, outpaint_file
from outpaint_mcp.audio.files.decode import probe
from outpaint_mcp.audio.files.decoder import BLOCK_FRAMES
from outpaint_mcp.audio.files.encode import delivery_format
from outpaint_mcp.audio.files.sound_file import SequentialFile
from outpaint_mcp.errors import SourceTooLarge, SourceUnreachable, UnsupportedAudio
from outpaint_mcp.wishes import Wishes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt

    from outpaint_mcp.audio.engine.step_progress import Report

    Wave = npt.NDArray[np.float64]

RATE = 22_050


def times(seconds: float, rate: int = RATE) -> Wave:
    return np.arange(round(seconds * rate)) / rate


def groove(seconds: float, rate: int = RATE) -> Wave:
    """Two channels of bass and clicks at 120 bpm, `[frames, 2]`."""
    t = times(seconds, rate)
    bass = np.sin(2 * np.pi * np.array([55, 65, 49, 73])[(t // 2).astype(int) % 4] * t)
    click = np.random.default_rng(1).normal(0, 1, len(t)) * np.exp(-60 * (t % 0.5))
    return np.stack([0.3 * bass + 0.2 * click, 0.3 * bass - 0.1 * click], axis=1)


def tone(seconds: float, *partials_hz: float) -> Wave:
    t = times(seconds)
    chord: Wave = np.mean([0.5 * np.sin(2 * np.pi * hz * t) for hz in partials_hz], axis=0)
    return chord[:, None]


def write(
    path: Path,
    samples: npt.NDArray[Any],
    sample_rate: int = RATE,
    container: str = "WAV",
    subtype: str = "PCM_16",
) -> Path:
    """Write in blocks; libsndfile crashes where Vorbis is written at once."""
    with soundfile.SoundFile(
        path, "w", sample_rate, samples.shape[1], format=container, subtype=subtype
    ) as file:
        for first in range(0, len(samples), BLOCK_FRAMES):
            file.write(samples[first : first + BLOCK_FRAMES])
    return path


def decoded(path: Path, dtype: str) -> npt.NDArray[Any]:
    with SequentialFile(path) as file:
        values: npt.NDArray[Any] = file.read(out=np.empty((file.frames, file.channels), dtype))
    return values


def as_delivered(source: Path) -> npt.NDArray[Any]:
    """What of the source must be found in the result, in the terms in which that is decoded."""
    subtype = delivery_format(probe(source)).subtype
    if subtype in {"FLOAT", "DOUBLE"}:
        return decoded(source, "float64")
    if probe(source).container in {"MP3", "OGG"}:
        return np.rint(decoded(source, "float32") * 2.0**23).clip(-(2**23), 2**23 - 1).astype(np.int32) << 8
    return decoded(source, "int32")


def extend(
    source: Path,
    before_seconds: float = 0.5,
    after_seconds: float = 0.7,
    *,
    seed: int = 1,
    on_progress: Report = lambda _fraction, _step: None,
) -> tuple[Outpainted, Path]:
    destination = source.with_name("result")
    outpainted = outpaint_file(
        source,
        destination,
        Wishes(before_seconds=before_seconds, after_seconds=after_seconds, placement="outside"),
        seed=seed,
        max_source_seconds=60,
        on_progress=on_progress,
    )
    return outpainted, destination


def check(source: Path, before_seconds: float = 0.5, after_seconds: float = 0.7) -> npt.NDArray[Any]:
    """Extend and hold what must always hold; returns the result."""
    told, destination = extend(source, before_seconds, after_seconds)
    middle = as_delivered(source)
    result = decoded(destination, middle.dtype.name)
    before, after = round(before_seconds * told.sample_rate), round(after_seconds * told.sample_rate)
    assert (told.before_frames, told.source_frames, told.after_frames) == (before, len(middle), after)
    assert len(result) == before + len(middle) + after
    assert result[before : before + len(middle)].tobytes() == middle.tobytes()
    assert np.isfinite(result[:before]).all()
    assert np.isfinite(result[len(result) - after :]).all()
    assert (told.container, told.subtype) == delivery_format(probe(source))[:2]
    assert told.duration_seconds == len(result) / probe(source).sample_rate
    assert told.size_bytes == destination.stat().st_size
    return result


def fading() -> Wave:
    return groove(5) * np.linspace(1, 0, 5 * RATE)[:, None] ** 2


def half_silent() -> Wave:
    return groove(6) * (times(6) < 3)[:, None]


ODD: dict[str, Callable[[], Wave]] = {
    "one frame": lambda: np.array([[0.5, -0.5]]),
    "10 ms": lambda: groove(0.01),
    "1.4 s, three beats": lambda: groove(1.4),
    "3 s": lambda: groove(3),
    "mono": lambda: groove(5)[:, :1],
    "5.1": lambda: np.tile(groove(5), (1, 3)),
    "silence": lambda: np.zeros((3 * RATE, 2)),
    "silence but for one frame": lambda: np.eye(3 * RATE, 2),
    "DC": lambda: np.full((3 * RATE, 1), 0.4),
    "music on DC": lambda: 0.5 * groove(4) + 0.3,
    "white noise": lambda: np.random.default_rng(2).normal(0, 0.2, (4 * RATE, 2)),
    "a pure tone": lambda: tone(4, 440),
    "a drone": lambda: tone(6, 110, 164.8, 220.3, 329.1),
    "antiphase": lambda: groove(5)[:, :1] * (1, -1),
    "one channel silent": lambda: groove(5) * (1, 0),
    "clipped to full scale": lambda: np.clip(9 * groove(5), -1, 1),
    "a fade-out": fading,
    "a hard cut in mid-note": lambda: groove(5)[: -RATE // 7],
    "leading silence": lambda: half_silent()[::-1],
    "half silent": half_silent,
    "three-four time": lambda: groove(6) * (1 + (times(6) % 1.5 < 0.5))[:, None] / 2,
    "slowing down": lambda: groove(8)[(np.linspace(0, 1, 6 * RATE) ** 0.8 * (8 * RATE - 1)).astype(int)],
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_source_comes_out_longer_and_otherwise_untouched(tmp_path: Path, name: str) -> None:
    check(write(tmp_path / "source", ODD[name]()))


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("sample_rate", "container", "subtype"),
    [
        (44_100, "FLAC", "PCM_24"),
        (48_000, "WAV", "DOUBLE"),
        (44_100, "AIFF", "PCM_24"),
        (48_000, "AIFF", "FLOAT"),
        (96_000, "CAF", "PCM_32"),
        (44_100, "CAF", "ALAC_24"),
        (22_050, "MP3", "MPEG_LAYER_III"),
    ],
)
def test_integers_floats_and_lossy_formats_come_out_longer_and_otherwise_untouched(  # all: test_codec
    tmp_path: Path, sample_rate: int, container: str, subtype: str
) -> None:
    check(write(tmp_path / "source", groove(3, sample_rate), sample_rate, container, subtype))


def test_values_that_are_no_numbers_are_silent_in_the_source_and_out_of_the_music(tmp_path: Path) -> None:
    samples = groove(4).astype(np.float32)
    samples[[0, 9_000, -1], 0] = np.nan, np.inf, -np.inf
    told, destination = extend(write(tmp_path / "source", samples, subtype="FLOAT"))
    samples[[0, 9_000, -1], 0] = 0
    result = decoded(destination, "float32")
    assert np.isfinite(result).all()
    assert np.array_equal(result[told.before_frames :][: len(samples)], samples)


def test_an_mp3_with_a_wrong_length_in_its_header_comes_out_right(tmp_path: Path) -> None:
    source = write(tmp_path / "source", groove(4), RATE, "MP3", "MPEG_LAYER_III")
    content = bytearray(source.read_bytes())
    place = max(content.find(b"Xing"), content.find(b"Info")) + 8
    struct.pack_into(">I", content, place, 3 * struct.unpack_from(">I", content, place)[0])
    source.write_bytes(content)
    told, destination = extend(source)
    assert 4 * RATE <= told.source_frames < 4.2 * RATE
    assert probe(destination).frames == told.before_frames + told.source_frames + told.after_frames


def test_of_a_truncated_flac_what_can_be_decoded_is_extended_and_that_is_said(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole", groove(8), RATE, "FLAC", "PCM_16")
    broken = tmp_path / "source"
    broken.write_bytes(whole.read_bytes()[: whole.stat().st_size * 3 // 5])
    told, destination = extend(broken)
    assert 3 * RATE < told.source_frames < 6 * RATE
    assert "damaged" in told.source_remark
    middle = decoded(destination, "int32")[told.before_frames :][: told.source_frames]
    assert np.array_equal(middle, decoded(whole, "int32")[: told.source_frames])


def test_four_minutes_go_on_either_side_of_two_seconds(tmp_path: Path) -> None:
    check(write(tmp_path / "source", groove(2, 8_000)[:, :1], 8_000), 240, 240)


@pytest.mark.parametrize(("before_seconds", "after_seconds"), [(0, 1.00003), (1.00003, 0), (0, 0)])
def test_a_side_may_be_left_alone_and_lengths_are_rounded_to_a_frame(
    tmp_path: Path, before_seconds: float, after_seconds: float
) -> None:
    check(write(tmp_path / "source", groove(4)), before_seconds, after_seconds)
    told, _ = extend(tmp_path / "source", before_seconds, after_seconds)
    assert (told.method_before is None) == (before_seconds == 0)
    assert (told.method_after is None) == (after_seconds == 0)


def test_a_source_longer_than_what_is_kept_in_memory_is_extended_at_both_ends(tmp_path: Path) -> None:
    source = write(tmp_path / "source", groove(20))
    with patch.object(regions, "_REGION_SECONDS", 6.0):
        check(source)


@pytest.mark.parametrize("container", ["WAV", "AIFF", "CAF"])
def test_the_same_seed_makes_the_same_bytes_and_another_seed_others(tmp_path: Path, container: str) -> None:
    # no whole bars: no loop
    source = write(tmp_path / "source", groove(12.2), container=container, subtype="FLOAT")
    told = [extend(source, 0, 20, seed=seed)[0] for seed in (7, 7, 8)]
    assert told[0] == told[1]
    assert told[0].sha256 != told[2].sha256
    assert told[2].sha256 == hashlib.sha256((tmp_path / "result").read_bytes()).hexdigest()


def test_a_tempo_is_told_where_there_is_a_beat(tmp_path: Path) -> None:
    assert extend(write(tmp_path / "source", groove(12)))[0].tempo_bpm == pytest.approx(120, rel=0.01)
    assert extend(write(tmp_path / "source", tone(4, 440)))[0].tempo_bpm is None


def test_progress_only_grows_and_names_each_step_in_turn(tmp_path: Path) -> None:
    told: list[tuple[float, str]] = []
    extend(
        write(tmp_path / "source", groove(12)),
        on_progress=lambda fraction, step: told.append((fraction, step)),
    )
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    assert (fractions[0], told[-1]) == (0.0, (1.0, "writing"))
    assert list(dict.fromkeys(step for _, step in told)) == ["decoding", "listening", "composing", "writing"]


@pytest.mark.parametrize("at", ["decoding", "listening", "composing", "writing"])
def test_progress_that_raises_stops_the_work(tmp_path: Path, at: str) -> None:
    class Stopped(Exception):
        pass

    def stop(_fraction: float, step: str) -> None:
        if step == at:
            raise Stopped

    with pytest.raises(Stopped):
        extend(write(tmp_path / "source", groove(4)), on_progress=stop)


@pytest.mark.parametrize("now", [groove(3), groove(5), groove(4)[:, :1]])
def test_a_source_that_changes_meanwhile_is_not_delivered(tmp_path: Path, now: Wave) -> None:
    source = write(tmp_path / "source", groove(4))

    def swap(_fraction: float, step: str) -> None:
        if step == "composing":
            write(source, now)

    with pytest.raises(SourceUnreachable, match="changed while it was read"):
        extend(source, on_progress=swap)


def test_a_picture_that_is_called_mp3_is_refused(tmp_path: Path) -> None:
    (tmp_path / "song.mp3").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(9_000))
    with pytest.raises(UnsupportedAudio, match=r"song\.mp3 is a PNG image"):
        extend(tmp_path / "song.mp3")


def test_a_source_over_the_limit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceTooLarge, match="60 seconds"):
        extend(write(tmp_path / "source", np.zeros((61 * 8_000, 1)), 8_000))
