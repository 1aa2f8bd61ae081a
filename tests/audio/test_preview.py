"""Previews: whichever decoder plays the pieces, they lie where they belong, to the frame."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest
import soundfile
import soxr

from outpaint_mcp.audio.files.preview import write_preview
from outpaint_mcp.audio.hearing.columns import read_swing
from outpaint_mcp.audio.preview_format import AFTER_MARK_FRAMES, MARK_WITHIN_FRAMES, PREVIEW_RATE_HZ
from outpaint_mcp.errors import InvalidRequest
from outpaint_mcp.reports.previews import MAX_PIECE_SECONDS, PIECE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt

    Wave = npt.NDArray[np.float64]

MAX_PREVIEW_BYTES = 700_000


def by_mpg123(content: bytes) -> Wave:
    samples, rate = soundfile.read(BytesIO(content), always_2d=True)
    assert rate == PREVIEW_RATE_HZ
    return np.asarray(samples)


def by_ffmpeg(content: bytes) -> Wave:
    with av.open(BytesIO(content), "r", format="mp3") as file:
        return np.concatenate([frame.to_ndarray() for frame in file.decode(audio=0)], axis=1).T


def without_header(content: bytes) -> Wave:
    """As a browser does that knows nothing of LAME's header, and takes no delay away."""
    header = max(content.find(b"Xing"), content.find(b"Info"))
    assert header > 0
    return by_ffmpeg(content[content.index(content[:2], header) :])


DECODERS = {"mpg123": by_mpg123, "FFmpeg": by_ffmpeg, "no header": without_header}


def put_together(decoded: Wave, frames: int) -> Wave:
    """What the page does."""
    mark = int(np.abs(decoded[:MARK_WITHIN_FRAMES, 0]).argmax())
    return decoded[mark + AFTER_MARK_FRAMES :][:frames]


def song(rate: int, seconds: float, channels: int = 2) -> Wave:
    """A melody that never repeats, below what the encoder cuts off."""
    t = np.arange(round(rate * seconds)) / rate
    glide = np.sin(2 * np.pi * (300 + 37 * t) * t)
    strokes = np.sin(2 * np.pi * 1_100 * t) * np.exp(-20 * (t % 0.37))
    return np.stack([0.3 * glide + 0.4 * strokes, 0.4 * glide - 0.3 * strokes], axis=1)[:, :channels]


def lag_of(found: Wave, wanted: Wave) -> int:
    """By how many frames one is later than the other."""
    inner = wanted[200:-200]
    lags = range(-100, 101)
    return max(lags, key=lambda lag: float(np.sum(found[200 + lag :][: len(inner)] * inner)))


@pytest.mark.parametrize("decode", DECODERS.values(), ids=DECODERS)
@pytest.mark.parametrize(
    ("rate", "channels", "start"), [(44_100, 2, 0), (44_100, 1, 2), (48_000, 2, 3), (16_000, 2, 1)]
)
def test_a_piece_is_where_it_belongs_in_every_decoder(
    tmp_path: Path, decode: Callable[[bytes], Wave], rate: int, channels: int, start: int
) -> None:
    whole = song(rate, 6, channels)
    soundfile.write(tmp_path / "song.wav", whole, rate, subtype="PCM_24")
    frames = write_preview(tmp_path / "song.wav", tmp_path / "p.mp3", start_seconds=start, seconds=2)
    assert frames == 2 * PREVIEW_RATE_HZ
    found = put_together(decode((tmp_path / "p.mp3").read_bytes()), frames)
    resampled = soxr.resample(whole, rate, PREVIEW_RATE_HZ)
    wanted = resampled[start * PREVIEW_RATE_HZ :][:frames]
    assert found.shape == wanted.shape
    assert lag_of(found, wanted) == 0
    assert np.sqrt(np.mean((found - wanted) ** 2)) < 0.1 * np.sqrt(np.mean(wanted**2))


def test_pieces_join_without_a_gap(tmp_path: Path) -> None:
    whole = song(44_100, 5.5)
    soundfile.write(tmp_path / "song.wav", whole, 44_100, subtype="PCM_24")
    pieces = []
    for start in (0, 2, 4):
        frames = write_preview(tmp_path / "song.wav", tmp_path / "p.mp3", start_seconds=start, seconds=2)
        pieces.append(put_together(by_ffmpeg((tmp_path / "p.mp3").read_bytes()), frames))
    joined = np.concatenate(pieces)
    assert len(joined) == len(whole)
    for seam in (2 * 44_100, 4 * 44_100):
        near = slice(seam - 500, seam + 500)
        assert np.abs(joined[near] - whole[near]).max() < 0.1


def test_the_longest_piece_is_small_enough_for_every_client(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "noise.wav", rng.uniform(-0.9, 0.9, (44_100 * 3, 2)), 44_100)
    write_preview(tmp_path / "noise.wav", tmp_path / "p.mp3", start_seconds=0, seconds=3)
    in_base64 = (tmp_path / "p.mp3").stat().st_size * 4 / 3
    assert in_base64 * MAX_PIECE_SECONDS / 3 < MAX_PREVIEW_BYTES
    assert PIECE_SECONDS <= MAX_PIECE_SECONDS


def test_surround_sound_becomes_stereo_and_what_is_beyond_full_scale_is_still_behind_its_mark(
    tmp_path: Path,
) -> None:
    whole = np.tile(song(44_100, 2)[:, :1] * 3, 6)
    soundfile.write(tmp_path / "loud.wav", whole, 44_100, subtype="FLOAT")
    frames = write_preview(tmp_path / "loud.wav", tmp_path / "p.mp3", start_seconds=0, seconds=1)
    decoded = by_ffmpeg((tmp_path / "p.mp3").read_bytes())
    assert decoded.shape[1] == 2
    assert lag_of(put_together(decoded, frames)[:, :1], whole[:frames, :1]) == 0


def test_nothing_begins_behind_the_end(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "song.wav", song(8_000, 2), 8_000)
    with pytest.raises(InvalidRequest, match="ends before 3 s"):
        write_preview(tmp_path / "song.wav", tmp_path / "p.mp3", start_seconds=3, seconds=2)


def test_a_waveform_has_the_extremes_of_each_column(tmp_path: Path) -> None:
    samples = np.zeros((1_000, 2))
    samples[105, 0], samples[250, 1], samples[999, 0] = 0.5, -1.0, 0.001
    soundfile.write(tmp_path / "clicks.wav", samples, 8_000, subtype="FLOAT")
    swing = read_swing(tmp_path / "clicks.wav", 1_000, count=10)
    assert swing.shape == (10, 2)
    assert swing.tolist() == [[0, 0], [0, 64], [-127, 0], *[[0, 0]] * 6, [0, 1]]
