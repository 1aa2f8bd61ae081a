"""A picture shows what is there, where it is, in a size that a message can carry."""

import io
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from outpaint_mcp.audio.hearing import picture
from outpaint_mcp.audio.hearing.analyze import analyze
from outpaint_mcp.audio.hearing.columns import read_columns
from outpaint_mcp.audio.types import Floats, Samples
from outpaint_mcp.errors import SourceUnreachable

RATE = 22_050
LEFT, RIGHT = picture._LEFT, picture._RIGHT
Pixels = np.ndarray[tuple[int, ...], np.dtype[np.int64]]


def write(folder: Path, samples: Floats | Samples, rate: int = RATE, name: str = "made.wav") -> Path:
    soundfile.write(folder / name, samples, rate, "FLOAT")
    return folder / name


def pixels(png: bytes) -> Pixels:
    return np.array(Image.open(io.BytesIO(png)).convert("RGB")).astype(np.int64)


def drawn(path: Path, *seams_seconds: float) -> Pixels:
    return pixels(picture.draw(path, analyze(path, max_seconds=600), seams_seconds=seams_seconds))


def tone(seconds: float, hertz: float, rate: int = RATE) -> Floats:
    return np.asarray(0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate))[:, None]


def row_of(hertz: float, rate: int = RATE) -> int:
    top, bottom = picture._SPECTRUM
    highest = min(16_000, 0.48 * rate)
    share = float(np.log(hertz / 40) / np.log(highest / 40))
    return bottom - round(share * (bottom - top))


def test_a_picture_is_a_small_png_even_of_noise(tmp_path: Path) -> None:
    path = write(tmp_path, np.random.default_rng(0).normal(0, 0.3, (20 * RATE, 2)))
    png = picture.draw(path, analyze(path, max_seconds=60))
    image = Image.open(io.BytesIO(png))
    assert (image.format, image.mode, image.size) == ("PNG", "P", (1200, 640))
    assert len(png) <= picture.MAX_BYTES < 75_000


@pytest.mark.smoke
@pytest.mark.parametrize("hertz", [110.0, 440.0, 3_000.0])
def test_a_tone_is_a_bright_line_at_its_pitch(tmp_path: Path, hertz: float) -> None:
    image = drawn(write(tmp_path, tone(4.0, hertz)))
    middle = image[slice(*picture._SPECTRUM), (LEFT + RIGHT) // 2].sum(axis=1)
    brightest = np.flatnonzero(middle == middle.max()).mean() + picture._SPECTRUM[0]
    assert abs(brightest - row_of(hertz)) <= 6


def test_what_happens_in_the_second_half_is_drawn_in_the_right_half(tmp_path: Path) -> None:
    path = write(tmp_path, np.concatenate([np.zeros((3 * RATE, 1)), tone(3.0, 440)]))
    image = drawn(path)
    top, bottom = picture._WAVE
    loud = (image[top:bottom, LEFT:RIGHT] == picture._LOUD).all(axis=2).sum(axis=0)
    assert loud[:560].max() <= 1
    assert loud[566:].min() > 20


@pytest.mark.smoke
@pytest.mark.parametrize("name", ["a" * 300 + ".wav", "Ünïcode ♫ 音楽.wav", "line\nbreak\x07.wav"])
def test_any_name_finds_its_place(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, tone(1.0, 440)).rename(tmp_path / name[-200:])
    image = drawn(path)
    assert (image[:, RIGHT + 1 :][: picture._SECTIONS[0]] == picture._GROUND).all()


def test_seams_are_marked_where_they_are(tmp_path: Path) -> None:
    path = write(tmp_path, np.random.default_rng(0).normal(0, 0.1, (10 * RATE, 1)))
    image = drawn(path, 2.5, 2.6, 9.99)[slice(*picture._SPECTRUM)]
    marked = (np.abs(image - picture._SEAM).max(axis=2) < 30).mean(axis=0)
    lines = [LEFT + round(seam / 10 * (RIGHT - LEFT - 1)) for seam in (2.5, 2.6, 9.99)]
    assert np.flatnonzero(marked > 0.5).tolist() == lines


def test_silence_is_dark(tmp_path: Path) -> None:
    image = drawn(write(tmp_path, np.zeros((RATE, 2))))
    assert image[slice(*picture._SPECTRUM), LEFT:RIGHT].max() < 60


@pytest.mark.parametrize(("frames", "rate"), [(1, 44_100), (50, 4_000), (3_000, 192_000)])
def test_the_shortest_recordings_are_drawn_too(tmp_path: Path, frames: int, rate: int) -> None:
    assert drawn(write(tmp_path, np.full((frames, 1), 0.5), rate)).shape == (640, 1200, 3)


def test_a_file_that_has_gone_meanwhile_is_said_to_be_unreachable(tmp_path: Path) -> None:
    path = write(tmp_path, tone(1.0, 440))
    heard = analyze(path, max_seconds=60)
    path.unlink()
    with pytest.raises(SourceUnreachable):
        picture.draw(path, heard)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 150_000), st.integers(1, 300), st.integers(0, 9))
def test_no_peak_is_lost_between_columns(
    tmp_path_factory: pytest.TempPathFactory, frames: int, count: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    samples = rng.normal(0, 0.1, (frames, 2)).astype(np.float32)
    at = int(rng.integers(0, frames))
    samples[at, 1] = 0.9
    path = write(tmp_path_factory.getbasetemp(), samples)
    columns = read_columns(path, frames, count=count, rows=20)
    drawn_in = min(count, frames)
    assert len(columns.highest) == drawn_in
    assert columns.spectrum_db.shape == (20, drawn_in)
    edges = np.arange(drawn_in + 1) * frames // drawn_in
    expected = [samples[start:stop].max(initial=0) for start, stop in pairwise(edges.tolist())]
    assert columns.highest == pytest.approx(np.array(expected), abs=1e-6)
    power = (columns.rms**2 * np.diff(edges)).sum() / frames
    assert power == pytest.approx(float((samples.astype(np.float64) ** 2).mean()), rel=1e-4)


@pytest.mark.parametrize(
    ("seconds", "step", "words"),
    [
        (0, 1, "0:00"), (59.96, 0.1, "1:00.0"), (62.5, 0.5, "1:02.5"), (3_723, 60, "1:02:03"), (0.05, 0.01, "0:00.05"),
    ],
)  # fmt: skip
def test_times_are_written_as_on_a_clock(seconds: float, step: float, words: str) -> None:
    assert picture._clock(seconds, step) == words
