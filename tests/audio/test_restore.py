"""A source is put back bit for bit into what a model made of it, or it is said why not and nothing is written."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soxr
from tests.audio.composing import sequenced
from tests.audio.fake_model import flux, jumps, read, with_other_phases, write

from outpaint_mcp.audio.files.decode import probe
from outpaint_mcp.audio.files.encode import delivery_format, quantise
from outpaint_mcp.audio.joining.drift import measure_drift
from outpaint_mcp.audio.joining.new_music import Shape
from outpaint_mcp.audio.joining.restore import Restored, restore

if TYPE_CHECKING:
    from pathlib import Path

    from outpaint_mcp.audio.types import Samples

RATE = 44_100
BEFORE, LASTS, AFTER = 3, 9, 4
SKEW = np.array([0.8, 0.5], np.float32)
AS_IT_CAME = Shape()


@cache
def song(seed: int = 0) -> Samples:
    samples, _ = sequenced(bpm=127.0, beats=36, sample_rate=RATE, jitter_seconds=0.004, seed=seed)
    return (samples[: (BEFORE + LASTS + AFTER) * RATE] * SKEW).astype(np.float32)


def remake(  # noqa: PLR0913 - all that can happen to it
    path: Path,
    music: Samples,
    *,
    shift_seconds: float = 0.0,
    gain_db: float = 0.0,
    drift: float = 0.0,
    sample_rate: int = 48_000,
    as_mp3: bool = False,
) -> Path:
    frames = round(shift_seconds * RATE)
    music = np.pad(music, ((frames, 0), (0, 0))) if frames > 0 else music[-frames:]
    music = soxr.resample(music, RATE, sample_rate * (1 + drift)) * np.float32(10 ** (gain_db / 20))
    if as_mp3:
        how = {"compression_level": 0.667, "bitrate_mode": "CONSTANT"}
        return write(path, music, sample_rate, "MP3", "MPEG_LAYER_III", **how)
    return write(path, music, sample_rate)


def put_back(
    folder: Path, made: Path, before: float = BEFORE, after: float = AFTER, shape: Shape = AS_IT_CAME
) -> Restored:
    return restore(
        folder / "source",
        made,
        folder / "whole",
        before_seconds=before,
        after_seconds=after,
        shape=shape,
        max_source_seconds=60,
        on_progress=lambda _fraction, _step: None,
    )


def source(folder: Path, container: str = "WAV", subtype: str = "PCM_16") -> Path:
    cut = song()[BEFORE * RATE : (BEFORE + LASTS) * RATE]
    return write(folder / "source", cut, RATE, container, subtype)


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("shift_seconds", "gain_db", "drift", "sample_rate", "as_mp3"),
    [
        (0.0, 0.0, 0.0, 44_100, False),
        (0.093, -2.0, 0.0, 48_000, True),
        (-0.093, 3.0, 0.001, 48_000, True),
        (0.15, -11.0, -0.005, 32_000, True),
    ],
)
def test_the_source_is_all_its_own_again_and_its_surroundings_fit(  # noqa: PLR0913
    tmp_path: Path, shift_seconds: float, gain_db: float, drift: float, sample_rate: int, *, as_mp3: bool
) -> None:
    path = source(tmp_path)
    how = {"shift_seconds": shift_seconds, "gain_db": gain_db, "drift": drift}
    made = remake(tmp_path / "made", song(), sample_rate=sample_rate, as_mp3=as_mp3, **how)
    told = put_back(tmp_path, made)
    assert told.assembled
    whole, own = read(tmp_path / "whole", "int16"), read(path, "int16")
    first = told.assembled.before_frames
    assert whole[first : first + len(own)].tobytes() == own.tobytes()
    assert (told.trusted, told.reason, told.assembled.sample_rate) == (True, "", RATE)
    for join, away in zip(told.assembled.joins, (-1, 1), strict=True):
        assert join.exact
        assert join.drift == pytest.approx(drift, abs=1e-5)
        assert join.gain_db == pytest.approx(-gain_db + 0.45 * as_mp3, abs=0.3)  # LAME takes so much
        edge_seconds = BEFORE if away < 0 else BEFORE + LASTS
        true_seconds = (edge_seconds + shift_seconds) * (1 + drift) - edge_seconds
        assert away * join.offset_seconds == pytest.approx(true_seconds, abs=1.5 / RATE)
    truth = song()[: len(whole)] if shift_seconds >= 0 else song()[round(0.093 * RATE) :]
    lead = max(0, round(shift_seconds * RATE))
    after = whole[first + len(own) :][:RATE] / 2**15
    expected = truth[len(truth) - AFTER * RATE :][:RATE]
    assert np.corrcoef(after.ravel(), expected.ravel())[0, 1] > 0.9
    assert first == pytest.approx(len(truth) - (LASTS + AFTER) * RATE + lead, abs=3)


def test_it_is_as_long_as_asked_to_the_frame_however_long_the_model_made_it(tmp_path: Path) -> None:
    path = source(tmp_path)
    made = remake(tmp_path / "made", song(), shift_seconds=0.093, as_mp3=True)
    content = made.read_bytes()
    frames = (BEFORE - 1) * RATE, (AFTER - 1) * RATE + 7
    told = put_back(tmp_path, made, shape=Shape(before_frames=frames[0], after_frames=frames[1]))
    assert told.assembled
    assert (told.assembled.before_frames, told.assembled.after_frames) == frames
    whole, own = read(tmp_path / "whole", "int16"), read(path, "int16")
    assert len(whole) == len(own) + sum(frames)
    assert whole[frames[0] : frames[0] + len(own)].tobytes() == own.tobytes()
    assert made.read_bytes() == content


@pytest.mark.parametrize(("container", "subtype"), [("FLAC", "PCM_24"), ("MP3", "MPEG_LAYER_III")])
def test_every_source_comes_back_as_it_decodes(tmp_path: Path, container: str, subtype: str) -> None:
    path = source(tmp_path, container, subtype)
    told = put_back(tmp_path, remake(tmp_path / "made", song(), shift_seconds=0.05, as_mp3=True))
    assert told.assembled
    own = quantise(read(path), "PCM_24") if container == "MP3" else read(path, "int32")
    whole = read(tmp_path / "whole", "int32")
    first = told.assembled.before_frames
    assert whole[first : first + len(own)].tobytes() == own.tobytes()
    kept = delivery_format(probe(path))
    assert (told.assembled.container, told.assembled.subtype) == kept[:2]


def test_the_seams_are_no_louder_in_flux_than_the_source_itself_unlike_a_hard_cut(tmp_path: Path) -> None:
    path = source(tmp_path)
    made = remake(tmp_path / "made", song(), shift_seconds=0.093, gain_db=3, as_mp3=True)
    told = put_back(tmp_path, made)
    assert told.assembled
    own, whole = read(path), read(tmp_path / "whole")
    naive = soxr.resample(read(made), 48_000, RATE)
    hard = np.concatenate([naive[: BEFORE * RATE], own, naive[(BEFORE + LASTS) * RATE :]])
    usual, most = np.percentile(flux(own, RATE), 95), np.percentile(jumps(own), 99)
    first = told.assembled.before_frames
    for at, other in ((first, BEFORE * RATE), (first + len(own), (BEFORE + LASTS) * RATE)):
        near, cut = (
            samples[place - 1_000 : place + 1_500] for samples, place in ((whole, at), (hard, other))
        )
        assert jumps(near).max() <= 1.5 * most
        truth = song()[other - 1_000 : other + 1_500]
        assert flux(near, RATE).max() <= max(usual, flux(truth, RATE).max() + 0.5)
        assert np.sqrt(np.mean((near - truth) ** 2)) < 0.5 * np.sqrt(np.mean((cut - truth) ** 2))


@pytest.mark.parametrize(("before", "after"), [(BEFORE, 0), (0, AFTER), (BEFORE, AFTER)])
@pytest.mark.parametrize("off_seconds", [-0.8, 0.0, 0.7])
def test_lengths_that_are_wrong_do_not_mislead(
    tmp_path: Path, before: int, after: int, off_seconds: float
) -> None:
    source(tmp_path)
    music = song()[(BEFORE - before) * RATE : (BEFORE + LASTS + after) * RATE]
    wrong_before = before and not after
    told = put_back(
        tmp_path,
        remake(tmp_path / "made", music),
        before + off_seconds * bool(wrong_before or (before and after)),
        after + off_seconds * bool(after and not before),
    )
    assert told.assembled
    assert told.assembled.before_frames == pytest.approx(before * RATE, abs=2)
    assert told.assembled.after_frames == pytest.approx(after * RATE, abs=2)


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("other music", "nothing in the model output matches its"),
        ("silence", "nothing in the model output matches its"),
        ("too short", "too short"),
        ("cut in the middle", "appears to contain"),
    ],
)
def test_where_it_is_not_found_that_is_said_and_nothing_is_written(
    tmp_path: Path, kind: str, why: str
) -> None:
    source(tmp_path)
    noise = np.random.default_rng(1).normal(0, 0.1, song().shape).astype(np.float32)
    middle = (BEFORE + LASTS // 2) * RATE
    music = {
        "other music": noise,
        "silence": 0 * noise,
        "too short": song()[: 6 * RATE],
        "cut in the middle": np.concatenate([song()[:middle], song()[middle + RATE // 4 :]]),
    }[kind]
    told = put_back(tmp_path, remake(tmp_path / "made", music))
    assert not told.trusted
    assert why in told.reason
    assert not (tmp_path / "whole").exists()


def test_a_source_whose_phases_were_invented_is_put_back_by_its_levels(tmp_path: Path) -> None:
    path = source(tmp_path)
    told = put_back(tmp_path, write(tmp_path / "made", with_other_phases(song()), RATE))
    assert told.assembled
    assert not any(join.exact for join in told.assembled.joins)
    assert all(abs(join.offset_seconds) < 0.012 for join in told.assembled.joins)
    first = told.assembled.before_frames
    own = read(path, "int16")
    assert read(tmp_path / "whole", "int16")[first : first + len(own)].tobytes() == own.tobytes()


def test_of_other_music_no_drift_is_told() -> None:
    other = np.random.default_rng(2).normal(0, 0.1, (11 * RATE, 2)).astype(np.float32)
    assert measure_drift(song()[: 10 * RATE], other, RATE // 2, RATE) == 0
