"""What a model returns is joined to the music where it really goes on, and what it is sent is what it can take."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.audio.composing import sequenced
from tests.audio.fake_model import read, returned, with_other_phases, write

from outpaint_mcp.audio.files.conversion import SampleSpec, remix
from outpaint_mcp.audio.files.decode import probe
from outpaint_mcp.audio.files.measure import measure
from outpaint_mcp.audio.files.tail_buffer import TailBuffer
from outpaint_mcp.audio.joining import contexts
from outpaint_mcp.audio.joining.contexts import Context, write_context
from outpaint_mcp.audio.joining.joins import EDGE_SECONDS
from outpaint_mcp.audio.joining.model_output import ModelOutput
from outpaint_mcp.audio.joining.strips import DAMAGED_SECONDS, join_each, outwards, read_edge
from outpaint_mcp.audio.levels import correlation
from outpaint_mcp.audio.loudness import loudness_of
from outpaint_mcp.audio.sides import Side
from outpaint_mcp.errors import GenerationFailed, SourceTooLarge, SourceUnreachable, UnsupportedAudio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outpaint_mcp.audio.joining.joins import Join
    from outpaint_mcp.audio.types import Samples

RATE = 44_100
SKEW = np.array([0.8, 0.5], np.float32)
ANTIPHASE = np.array([1, -1], np.float32)
SECONDS, SENT_SECONDS, NEW_SECONDS = 4, 3.5, 1


@cache
def song(rate: int = RATE) -> Samples:
    """A little over five seconds; outwards, on either side, the first four are the source."""
    samples, _ = sequenced(bpm=133.0, beats=12, sample_rate=rate, channels=2, jitter_seconds=0.004)
    return samples * SKEW + 0.2 * np.roll(samples, 37, axis=0) * SKEW[::-1]


def source_and_new(side: Side, rate: int = RATE, seconds: float = SECONDS) -> tuple[Samples, Samples]:
    """A source and how it really goes on."""
    music = outwards(song(rate), side)
    cut, end = round(seconds * rate), round((seconds + NEW_SECONDS) * rate)
    return outwards(music[:cut], side), outwards(music[cut:end], side)


def sent(
    folder: Path, source: Samples, side: Side, rate: int = RATE, seconds: float = SENT_SECONDS
) -> Context:
    path = write(folder / "source", source, rate)
    return write_context(path, side, (), folder / "context", seconds=seconds, max_bytes=None)


class Strip(NamedTuple):
    """One side, outward.

    Attributes:
        samples: the source's edge as it was passed in, followed by all new music.
        joins: one for each model output.
    """

    samples: Samples
    joins: tuple[Join, ...]


def join_outputs(
    edge: Samples, outputs: Sequence[ModelOutput], side: Side, spec: SampleSpec, *, more_follow: bool
) -> Strip:
    """Join model outputs to the edge of a source, each to the one before it, as `join_each` does."""
    joined = list(join_each(edge, outputs, side, spec, more_follow=more_follow))
    return Strip(np.concatenate([edge, *(new for new, _ in joined)]), tuple(each for _, each in joined))


def joined(folder: Path, side: Side, *pieces: ModelOutput) -> Strip:
    found = probe(folder / "source")
    spec = SampleSpec(found.sample_rate, found.channels)
    return join_outputs(read_edge(folder / "source", side, spec, 240), pieces, side, spec, more_follow=False)


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("shift", [1_105, -4_096])
@pytest.mark.parametrize(
    ("gain_db", "sample_rate", "as_mp3"), [(-2.0, None, False), (0.0, 48_000, False), (-2.0, 48_000, True)]
)
def test_where_the_context_ends_is_found_to_the_sample(  # noqa: PLR0913
    tmp_path: Path, side: Side, shift: int, gain_db: float, sample_rate: int | None, *, as_mp3: bool
) -> None:
    source, new = source_and_new(side)
    context = sent(tmp_path, source, side)
    piece = returned(context, side, new, shift=shift, gain_db=gain_db, sample_rate=sample_rate, as_mp3=as_mp3)
    strip = joined(tmp_path, side, piece)
    (join,) = strip.joins
    assert (join.aligned, join.exact) == (True, True)
    assert join.agreement > (0.7 if as_mp3 else 0.99)
    assert round(join.offset_seconds * RATE) == shift
    assert join.gain_db == pytest.approx(-gain_db + (0.6 if as_mp3 else 0), abs=0.2)  # LAME takes as much
    assert abs(join.new_frames - NEW_SECONDS * RATE) <= 1
    truth = np.concatenate([outwards(source, side), outwards(new, side)])
    assert correlation(strip.samples[len(source) :], truth[len(source) :]) > (0.9 if as_mp3 else 0.99)


@settings(max_examples=20, deadline=None)
@given(
    shift=st.integers(-6_000, 6_000),
    gain_db=st.floats(-6, 5.9),
    side=st.sampled_from(Side),
    seed=st.integers(0, 9),
)
def test_any_shift_and_gain_within_reach_are_undone(
    shift: int, gain_db: float, side: Side, seed: int
) -> None:
    source, new = source_and_new(side, 22_050)
    noise = np.random.default_rng(seed).normal(0, 0.001, source.shape)
    with TemporaryDirectory() as folder:
        context = sent(Path(folder), 0.4 * source, side, 22_050)
        write(Path(folder) / "source", (0.4 * source + noise).astype(np.float32), 22_050)
        strip = joined(Path(folder), side, returned(context, side, 0.4 * new, shift=shift, gain_db=gain_db))
    (join,) = strip.joins
    assert (round(join.offset_seconds * 22_050), join.exact) == (shift, True)
    assert join.gain_db == pytest.approx(-gain_db, abs=0.05)


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("shift", [0, 4_096, -2_000])
def test_music_whose_phases_are_invented_is_aligned_by_its_levels(
    tmp_path: Path, side: Side, shift: int
) -> None:
    source, new = source_and_new(side)
    context = sent(tmp_path, source, side)
    piece = returned(context, side, new, shift=shift)
    write(piece.path, with_other_phases(read(piece.path)), RATE)
    (join,) = joined(tmp_path, side, piece).joins
    assert (join.aligned, join.exact) == (True, False)
    assert join.agreement > 0.6
    assert join.offset_seconds == pytest.approx(shift / RATE, abs=0.012)


def test_more_than_twelve_decibels_are_not_made_up_for(tmp_path: Path) -> None:
    source, new = source_and_new(Side.AFTER)
    context = sent(tmp_path, source, Side.AFTER)
    (join,) = joined(tmp_path, Side.AFTER, returned(context, Side.AFTER, new, gain_db=-20)).joins
    assert join.gain_db == pytest.approx(12)


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("level", [0.0, 0.2])
def test_where_nothing_agrees_the_nominal_place_is_taken_and_that_is_told(
    tmp_path: Path, side: Side, level: float
) -> None:
    rng = np.random.default_rng(4)
    source, again, new = (level * rng.normal(0, 1, (4 * RATE, 2)).astype(np.float32) for _ in range(3))
    context = sent(tmp_path, source, side, seconds=3)
    write(context.path, again[: 3 * RATE], RATE)
    strip = joined(tmp_path, side, returned(context, side, new))
    (join,) = strip.joins
    assert (join.aligned, join.exact, join.offset_seconds, join.gain_db) == (False, False, 0.0, 0.0)
    assert abs(join.agreement) < 0.1
    assert (join.new_frames, len(strip.samples)) == (len(new), len(source) + len(new))


def test_a_silent_edge_after_music_does_not_lead_astray(tmp_path: Path) -> None:
    source, new = source_and_new(Side.AFTER)
    source = source.copy()
    source[-3 * RATE // 2 :] = 0
    context = sent(tmp_path, source, Side.AFTER)
    (join,) = joined(tmp_path, Side.AFTER, returned(context, Side.AFTER, new, shift=-1_105)).joins
    assert (join.exact, round(join.offset_seconds * RATE)) == (True, -1_105)


@pytest.mark.parametrize(
    ("channels", "came_back"), [(1, 2), (2, 1), (6, 2), (1, 6), (8, 1)], ids=lambda count: f"{count} channels"
)
def test_whatever_the_channels_those_of_the_source_go_on(
    tmp_path: Path, channels: int, came_back: int
) -> None:
    source, new = (remix(part, channels) for part in source_and_new(Side.AFTER))
    context = sent(tmp_path, source, Side.AFTER)
    piece = returned(context, Side.AFTER, remix(new, min(channels, 2)))
    write(piece.path, remix(read(piece.path), came_back), RATE)
    strip = joined(tmp_path, Side.AFTER, piece)
    assert strip.samples.shape == (len(source) + len(new), channels)
    assert strip.joins[0].aligned
    heard = np.abs(strip.samples[len(source) :]).max(axis=0)
    assert ((heard > 0.05) | (np.arange(channels) == 3) & (channels > 4)).all()  # all but the deep effects


def test_antiphase_stereo_is_aligned_and_stays_so(tmp_path: Path) -> None:
    source, new = (part[:, :1] * ANTIPHASE for part in source_and_new(Side.AFTER))
    context = sent(tmp_path, source, Side.AFTER)
    strip = joined(tmp_path, Side.AFTER, returned(context, Side.AFTER, new, shift=1_105))
    assert strip.joins[0].exact
    assert np.abs(strip.samples.sum(axis=1)).max() < 1e-3


def test_two_that_cancel_out_become_one_that_is_heard() -> None:
    assert np.abs(remix(song()[:, :1] * ANTIPHASE, 1)).max() > 0.1


@pytest.mark.parametrize("side", Side)
def test_a_side_grows_step_by_step_and_each_step_is_joined_to_the_last(tmp_path: Path, side: Side) -> None:
    source, _ = source_and_new(side, seconds=1.5)
    music = outwards(song(), side)
    pieces: list[ModelOutput] = []
    for step in range(3):
        cut = round((1.5 + step * (1 - DAMAGED_SECONDS)) * RATE)
        context = write_context(
            write(tmp_path / "source", source, RATE),
            side,
            pieces,
            tmp_path / f"context {step}",
            seconds=2,
            max_bytes=None,
        )
        assert context.seconds == min(2, cut / RATE)
        new = outwards(music[cut : cut + RATE], side)
        pieces.append(returned(context, side, new, shift=700 * step, gain_db=-step))
    strip = joined(tmp_path, side, *pieces)
    assert [round(join.offset_seconds * RATE) for join in strip.joins] == [0, 700, 1_400]
    assert [join.gain_db for join in strip.joins] == pytest.approx([0, 1, 2], abs=0.05)
    assert len(strip.samples) == cut + RATE
    assert np.abs(strip.samples - music[: len(strip.samples)]).max() < 0.01


@pytest.mark.parametrize("side", Side)
def test_what_a_piece_differs_by_at_the_edge_fades_out_and_does_not_step(tmp_path: Path, side: Side) -> None:
    t = np.arange((SECONDS + NEW_SECONDS) * RATE)[:, None] / RATE
    swelling = 0.1 * np.sin(2 * np.pi * 90 * t * (1 + 0.1 * t)) * np.ones(2)
    music = outwards(swelling.astype(np.float32), side)
    cut = SECONDS * RATE if side is Side.AFTER else NEW_SECONDS * RATE
    source, new = (music[:cut], music[cut:])[:: 1 if side is Side.AFTER else -1]
    piece = returned(sent(tmp_path, source, side), side, new)
    write(piece.path, read(piece.path) + np.float32(0.05), RATE)
    strip = joined(tmp_path, side, piece)
    steps = np.abs(np.diff(strip.samples[:, 0]))
    assert steps[len(source) - 10 : len(source) + 2_000].max() < 1.5 * steps[: len(source) - 10].max()
    assert np.abs(strip.samples[len(source) + 2_000 :].mean()) == pytest.approx(0.05, abs=0.01)


@pytest.mark.parametrize("seconds", [0.0, 0.1, 2.0, 3.4, 3.5, 3.6])
def test_a_piece_without_anything_new_is_a_failed_generation(tmp_path: Path, seconds: float) -> None:
    source, new = source_and_new(Side.AFTER)
    context = sent(tmp_path, source, Side.AFTER)
    piece = returned(context, Side.AFTER, new)
    write(piece.path, read(piece.path)[: round(seconds * RATE)], RATE)
    with pytest.raises(GenerationFailed, match=rf"received 3\.5 s .* after it and returned {seconds:.1f} s"):
        joined(tmp_path, Side.AFTER, piece)


def test_a_piece_that_is_a_web_page_is_a_failed_generation(tmp_path: Path) -> None:
    sent(tmp_path, source_and_new(Side.AFTER)[0], Side.AFTER)
    (tmp_path / "page").write_text("<html>502 Bad Gateway</html>")
    with pytest.raises(GenerationFailed, match="web page"):
        joined(tmp_path, Side.AFTER, ModelOutput(tmp_path / "page", 6))
    with pytest.raises(SourceUnreachable):
        joined(tmp_path, Side.AFTER, ModelOutput(tmp_path / "gone", 6))


@settings(max_examples=40, deadline=None)
@given(
    frames=st.integers(1, 9_000),
    sent_frames=st.integers(1, 9_000),
    came_back=st.integers(0, 14_000),
    channels=st.integers(1, 3),
    side=st.sampled_from(Side),
    kind=st.sampled_from(["silence", "noise", "constant", "loud"]),
)
def test_whatever_comes_back_is_joined_or_a_failed_generation(  # noqa: PLR0913
    frames: int, sent_frames: int, came_back: int, channels: int, side: Side, kind: str
) -> None:
    rng = np.random.default_rng(frames)
    edge, music = (
        {
            "silence": np.zeros(shape),
            "noise": rng.normal(0, 0.2, shape),
            "constant": np.full(shape, 0.5),
            "loud": rng.uniform(-9, 9, shape),
        }[kind]
        for shape in ((frames, channels), (came_back, 2))
    )
    edge = np.clip(edge, -1, 1).astype(np.float32)
    spec = SampleSpec(8_000, channels)
    with TemporaryDirectory() as folder:
        path = write(Path(folder) / "piece", music, 8_000)
        piece = ModelOutput(path, min(frames, sent_frames) / 8_000)
        try:
            strip = join_outputs(edge, [piece], side, spec, more_follow=False)
        except GenerationFailed:
            assert came_back < min(frames, sent_frames) + 0.2 * 8_000 + 0.5 * 8_000
            return
    assert strip.samples[:frames].tobytes() == edge.tobytes()
    assert len(strip.samples) == frames + strip.joins[0].new_frames
    assert np.abs(strip.samples).max() <= 1


def test_peaks_beyond_full_scale_are_scaled_down_and_what_is_far_from_them_is_not(tmp_path: Path) -> None:
    source, new = source_and_new(Side.AFTER)
    new = new.copy()
    loud = RATE // 2
    new[loud : loud + 30] = 1.7
    context = sent(tmp_path, source, Side.AFTER)
    strip = joined(tmp_path, Side.AFTER, returned(context, Side.AFTER, new))
    made = strip.samples[len(source) :]
    assert np.abs(made).max() <= 1
    assert loudness_of(made, RATE, true_peak=True).true_peak_dbtp < -1
    assert np.abs(made[loud : loud + 30]).min() > 0.75
    assert np.abs(made - new)[: loud - 4_000].max() < 1e-4
    assert np.abs(made - new)[loud + 4_000 :].max() < 1e-4


def test_of_a_stream_no_more_is_kept_than_asked_and_a_block() -> None:
    recent = TailBuffer(10)
    passed = [part for first in range(0, 99, 3) for part in recent.add(np.arange(first, first + 3))]
    held = recent.unroll()
    assert np.array_equal(np.concatenate([*passed, held]), np.arange(99))
    assert 10 <= len(held) < 13


# What is sent


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize(
    ("container", "subtype", "sent_as"),
    [
        ("WAV", "PCM_U8", "PCM_16"),
        ("WAV", "PCM_16", "PCM_16"),
        ("FLAC", "PCM_24", "PCM_24"),
        ("WAV", "PCM_32", "PCM_24"),
        ("WAV", "FLOAT", "PCM_24"),
        ("MP3", "MPEG_LAYER_III", "PCM_24"),
    ],
)
def test_the_outermost_seconds_are_sent_as_flac_as_deep_as_the_source(
    tmp_path: Path, side: Side, container: str, subtype: str, sent_as: str
) -> None:
    source = write(tmp_path / "source", song(), RATE, container, subtype)
    context = write_context(source, side, (), tmp_path / "context", seconds=2.00001, max_bytes=None)
    found = probe(context.path)
    assert (context.media_type, found.container, found.subtype) == ("audio/flac", "FLAC", sent_as)
    assert context.seconds == found.frames / RATE == 2.0
    assert context.size_bytes == context.path.stat().st_size
    whole = read(source)
    expected = whole[: found.frames] if side is Side.BEFORE else whole[-found.frames :]
    step = 2.0 ** -(int(sent_as[4:]) - 1)
    assert np.abs(read(context.path) - expected).max() <= (step / 2 if subtype != "PCM_U8" else 0)


def test_all_of_a_source_is_sent_where_it_is_shorter_and_never_more_than_a_canvas(tmp_path: Path) -> None:
    source = write(tmp_path / "source", song(), RATE)
    context = write_context(source, Side.AFTER, (), tmp_path / "context", seconds=np.inf, max_bytes=None)
    assert context.seconds == len(song()) / RATE
    with patch.object(contexts, "CANVAS_SECONDS", 2.5):
        context = write_context(source, Side.AFTER, (), tmp_path / "context", seconds=np.inf, max_bytes=None)
    assert context.seconds == 2.5


@pytest.mark.parametrize(
    ("sample_rate", "channels", "spec"),
    [
        (8_000, 1, (8_000, 1)),
        (96_000, 6, (48_000, 2)),
        (96_000, 1, (48_000, 1)),
        (37_800, 2, (48_000, 2)),
        (44_100, 5, (44_100, 2)),
    ],
)
@pytest.mark.parametrize("side", Side)
def test_what_not_every_format_can_carry_is_sent_as_stereo_at_48_khz_and_joined_as_it_was(
    tmp_path: Path, sample_rate: int, channels: int, spec: tuple[int, int], side: Side
) -> None:
    source, new = (remix(part, channels) for part in source_and_new(side, sample_rate, 3))
    context = sent(tmp_path, source, side, sample_rate, seconds=2)
    found = probe(context.path)
    assert (found.sample_rate, found.channels, context.seconds) == (*spec, 2.0)
    music = song(spec[0])
    cut = round(3 * spec[0])
    new = outwards(remix(outwards(music, side)[cut : cut + 2 * spec[0]], min(channels, 2)), side)
    strip = joined(tmp_path, side, returned(context, side, new, shift=500))
    assert strip.samples.shape[1] == channels
    assert strip.joins[0].exact
    assert strip.joins[0].offset_seconds == pytest.approx(500 / spec[0], abs=2 / sample_rate)


def test_the_file_gets_smaller_step_by_step_until_it_may_be_sent(tmp_path: Path) -> None:
    noise = 0.3 * np.random.default_rng(0).normal(0, 1, (2 * RATE, 2)).astype(np.float32)
    source = write(tmp_path / "source", noise, RATE)
    kinds = []
    limit: int | None = None
    for _ in range(7):
        context = write_context(source, Side.AFTER, (), tmp_path / "context", seconds=9, max_bytes=limit)
        found = probe(context.path)
        kinds.append((context.media_type, found.subtype, round(context.size_bytes * 8 / 2_000, -1)))
        assert limit is None or context.size_bytes <= limit
        assert (context.seconds, found.frames) == (2.0, 2 * RATE)
        limit = context.size_bytes - 1
    assert [kind[:2] for kind in kinds[:2]] == [("audio/flac", "PCM_24"), ("audio/flac", "PCM_16")]
    assert [kind[0] for kind in kinds[2:]] == ["audio/mpeg"] * 5
    assert [kind[2] for kind in kinds[2:]] == pytest.approx([320, 256, 192, 160, 128], rel=0.08)
    with pytest.raises(SourceTooLarge, match=f"2 s of the source exceed the {limit} bytes"):
        write_context(source, Side.AFTER, (), tmp_path / "context", seconds=9, max_bytes=limit)


@pytest.mark.parametrize("sample_rate", [8_000, 11_025, 16_000, 48_000])
@pytest.mark.parametrize("kilobytes", [20, 8])
def test_at_every_rate_the_length_is_told_exactly(tmp_path: Path, sample_rate: int, kilobytes: int) -> None:
    noise = 0.3 * np.random.default_rng(0).normal(0, 1, (sample_rate, 1)).astype(np.float32)
    source = write(tmp_path / "source", noise, sample_rate)
    try:
        context = write_context(
            source, Side.AFTER, (), tmp_path / "context", seconds=9, max_bytes=kilobytes * 1_000
        )
    except SourceTooLarge:
        assert sample_rate >= 16_000
        assert kilobytes < 20
    else:
        assert measure(context.path, 9).frames == sample_rate


def test_the_same_files_make_the_same_bytes(tmp_path: Path) -> None:
    source, new = source_and_new(Side.BEFORE)
    piece = returned(sent(tmp_path, source, Side.BEFORE), Side.BEFORE, new)
    for limit in (None, 200_000):
        contents = {
            write_context(
                tmp_path / "source", Side.BEFORE, [piece], tmp_path / name, seconds=4, max_bytes=limit
            ).path.read_bytes()
            for name in ("one", "two.wav")
        }
        assert len(contents) == 1


def test_what_is_louder_than_full_scale_is_sent_softer_and_comes_back_as_it_was(tmp_path: Path) -> None:
    source, new = source_and_new(Side.AFTER)
    factor = 1.5 / np.abs(source).max()
    context = sent(tmp_path, source * factor, Side.AFTER)
    assert np.abs(read(context.path)).max() == pytest.approx(1, abs=1e-6)
    factor /= 1.5
    strip = joined(tmp_path, Side.AFTER, returned(context, Side.AFTER, new * factor))
    assert strip.joins[0].gain_db == pytest.approx(20 * np.log10(1.5), abs=0.05)
    assert np.abs(strip.samples).max() == pytest.approx(1.5, abs=0.01)


def test_values_that_are_no_numbers_are_sent_as_silence(tmp_path: Path) -> None:
    source = song().copy()
    source[[50, -50], 0] = np.nan, np.inf
    context = sent(tmp_path, source, Side.AFTER, seconds=99)
    assert read(context.path)[[50, -50], 0].tolist() == [0, 0]


# What comes back is measured


def test_a_file_is_measured_by_decoding_it(tmp_path: Path) -> None:
    path = write(tmp_path / "file", song(), RATE, "FLAC", "PCM_16")
    assert measure(path, 60) == (len(song()) / RATE, len(song()), RATE, 2, "FLAC", True)
    broken = tmp_path / "broken"
    broken.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert not measure(broken, 60).intact
    assert 0 < measure(broken, 60).frames < len(song())
    with pytest.raises(SourceTooLarge):
        measure(path, 2)


def test_what_is_no_audio_is_not_measured(tmp_path: Path) -> None:
    empty = write(tmp_path / "empty", song()[:0], RATE)
    (tmp_path / "page").write_text("<html>")
    for path in (empty, tmp_path / "page"):
        with pytest.raises(UnsupportedAudio):
            measure(path, 60)
    with pytest.raises(UnsupportedAudio):
        read_edge(empty, Side.AFTER, SampleSpec(RATE, 2), EDGE_SECONDS)
