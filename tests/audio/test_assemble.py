"""The whole has the source in it bit for bit, and nobody hears where it begins and ends."""

from __future__ import annotations

import hashlib
import tracemalloc
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.audio.composing import sequenced
from tests.audio.fake_model import flux, jumps, read, returned, write

from outpaint_mcp.audio.files.decode import probe
from outpaint_mcp.audio.files.encode import delivery_format, quantise
from outpaint_mcp.audio.joining.assemble import Assembled, assemble
from outpaint_mcp.audio.joining.contexts import write_context
from outpaint_mcp.audio.joining.model_output import ModelOutput
from outpaint_mcp.audio.joining.new_music import Shape
from outpaint_mcp.audio.joining.strips import DAMAGED_SECONDS, outwards
from outpaint_mcp.audio.layout import Part, PartKind
from outpaint_mcp.audio.sides import Side
from outpaint_mcp.errors import GenerationFailed, SourceTooLarge, SourceUnreachable

if TYPE_CHECKING:
    from outpaint_mcp.audio.engine.step_progress import Report
    from outpaint_mcp.audio.types import Samples


RATE = 22_050
FADE = 1_102
AS_IT_CAME = Shape()


@cache
def song(seconds: float, rate: int = RATE, seed: int = 0) -> Samples:
    beats = int(seconds * 2) + 2
    return sequenced(beats=beats, sample_rate=rate, jitter_seconds=0.003, seed=seed)[0][
        : round(seconds * rate)
    ]


@cache
def pads(seconds: float) -> Samples:
    """Held chords that swell and fade, without a single attack."""
    t = np.arange(round(seconds * RATE))[:, None] / RATE
    rng = np.random.default_rng(5)
    partials = [
        np.sin(
            2 * np.pi * rng.uniform(80, 2_000) * t + rng.uniform(0, 6, 2) + 3 * np.sin(rng.uniform(1, 5) * t)
        )
        * (1 + np.sin(rng.uniform(0.5, 4) * t + rng.uniform(0, 6)))
        for _ in range(20)
    ]
    return np.asarray(0.02 * np.sum(partials, axis=0), np.float32)


class Song(NamedTuple):
    """Music of which a source was cut out, and pieces that know how it goes on."""

    music: Samples
    source: Path
    pieces: dict[Side, list[ModelOutput]]

    def assemble(
        self,
        *sides: Side,
        name: str = "whole",
        shape: Shape = AS_IT_CAME,
        on_progress: Report = lambda _fraction, _step: None,
    ) -> tuple[Assembled, Path]:
        destination = self.source.with_name(name)
        before, after = (self.pieces[side] if side in sides else [] for side in Side)
        told = assemble(
            self.source,
            before,
            after,
            destination,
            shape=shape,
            max_source_seconds=60,
            on_progress=on_progress,
        )
        return told, destination


def compose(  # noqa: PLR0913 - a song
    folder: Path,
    container: str = "WAV",
    subtype: str = "PCM_16",
    *,
    steps: int = 1,
    shift: int = 0,
    gain_db: float = 0.0,
    as_mp3: bool = False,
    music: Samples | None = None,
) -> Song:
    """Eight seconds, of which the middle six are the source, or less where there are more steps."""
    music = song(8) if music is None else music
    kept = RATE - round(DAMAGED_SECONDS * RATE)
    added = (steps - 1) * kept + RATE
    source = write(folder / "source", music[added : len(music) - added], RATE, container, subtype)
    pieces: dict[Side, list[ModelOutput]] = {side: [] for side in Side}
    for side in Side:
        out = outwards(music, side)
        for step in range(steps):
            path = folder / f"context {side} {step}"
            context = write_context(source, side, pieces[side], path, seconds=2.5, max_bytes=None)
            cut = len(music) - added + step * kept
            new = outwards(out[cut : cut + RATE], side)
            piece = returned(context, side, new, shift=shift, gain_db=gain_db, as_mp3=as_mp3)
            pieces[side].append(piece)
    return Song(music, source, pieces)


@pytest.mark.parametrize(
    ("container", "subtype", "sides"),
    [
        ("WAV", "PCM_16", ()),
        ("WAV", "PCM_16", (Side.BEFORE,)),
        ("WAV", "PCM_16", (Side.AFTER,)),
        ("WAV", "PCM_16", tuple(Side)),
        ("WAV", "PCM_24", tuple(Side)),
        ("WAV", "PCM_32", tuple(Side)),
        ("WAV", "FLOAT", tuple(Side)),
        ("WAV", "DOUBLE", tuple(Side)),
        ("FLAC", "PCM_16", tuple(Side)),
        ("FLAC", "PCM_24", tuple(Side)),
        ("MP3", "MPEG_LAYER_III", tuple(Side)),
        ("OGG", "VORBIS", tuple(Side)),
    ],
)
def test_the_source_is_in_it_bit_for_bit_to_its_last_frame(
    tmp_path: Path, container: str, subtype: str, sides: tuple[Side, ...]
) -> None:
    played = compose(tmp_path, container, subtype)
    told, path = played.assemble(*sides)
    found, kept = probe(played.source), delivery_format(probe(played.source))
    exact = "float64" if kept.subtype in {"FLOAT", "DOUBLE"} else "int32"
    source, whole = read(played.source, exact), read(path, exact)
    if container in {"MP3", "OGG"}:
        source = quantise(read(played.source), "PCM_24")
    before, after = (RATE if side in sides else 0 for side in Side)
    assert (told.container, told.subtype) == kept[:2]
    assert (told.before_frames, told.source_frames, told.after_frames) == (before, len(source), after)
    assert len(whole) == before + len(source) + after
    assert told.duration_seconds == len(whole) / found.sample_rate
    assert (told.sample_rate, told.channels, told.source_remark) == (RATE, 2, "")
    assert whole[before : before + len(source)].tobytes() == source.tobytes()
    assert [join.side for join in told.joins] == list(sides)


@pytest.mark.parametrize(
    ("shift", "gain_db", "as_mp3"),
    [(0, 0.0, False), (1_105, -2.0, False), (-4_096, 1.0, False), (700, -2.0, True)],
)
def test_the_whole_is_the_music_that_the_model_knew(
    tmp_path: Path, shift: int, gain_db: float, *, as_mp3: bool
) -> None:
    played = compose(tmp_path, steps=2, shift=shift, gain_db=gain_db, as_mp3=as_mp3)
    told, path = played.assemble(*Side)
    whole = read(path)
    assert len(whole) == len(played.music)
    assert [join.side for join in told.joins] == [Side.BEFORE] * 2 + [Side.AFTER] * 2
    assert all(join.exact and round(join.offset_seconds * RATE) == shift for join in told.joins)
    error = whole - played.music
    if as_mp3:
        assert np.sqrt(np.mean(error**2)) < 0.2 * np.sqrt(np.mean(played.music**2))
    else:
        assert np.abs(error).max() < 0.01


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("steps", [1, 2])
def test_what_is_too_much_is_cut_off_to_the_frame_without_a_click(
    tmp_path: Path, side: Side, steps: int
) -> None:
    played = compose(tmp_path, steps=steps, music=pads(8))
    frames = (steps - 1) * (RATE - round(DAMAGED_SECONDS * RATE)) + RATE // 2 + 1
    shape = Shape(before_frames=frames, after_frames=frames)
    told, path = played.assemble(side, shape=shape)
    full = outwards(read(played.assemble(side, name="full")[1]), side)
    whole, source = outwards(read(path), side), outwards(read(played.source), side)
    added = told.before_frames + told.after_frames
    assert added == frames == sum(join.new_frames for join in told.joins)
    assert (len(whole), len(told.joins)) == (len(source) + frames, steps)
    closing = round(0.008 * RATE)
    assert np.array_equal(whole[:-closing], full[: len(whole) - closing])
    assert np.abs(whole[-1]).max() < 0.01 * np.abs(source).max()
    assert jumps(whole[-FADE:]).max() <= 1.5 * jumps(source).max()
    assert (told.lead_in_frames, told.ring_out_frames) == (0, 0)


def test_a_total_leaves_what_it_leaves_for_the_music_after_the_source(tmp_path: Path) -> None:
    played = compose(tmp_path)
    total = len(read(played.source)) + RATE
    told, path = played.assemble(*Side, shape=Shape(before_frames=RATE // 3, total_frames=total))
    assert (told.before_frames, told.after_frames) == (RATE // 3, RATE - RATE // 3)
    assert len(read(path)) == total


def test_less_than_is_to_be_used_is_used_as_it_is(tmp_path: Path) -> None:
    played = compose(tmp_path)
    shape = Shape(before_frames=2 * RATE, after_frames=2 * RATE)
    told, path = played.assemble(*Side, shape=shape)
    assert (told.before_frames, told.after_frames) == (RATE, RATE)
    assert path.read_bytes() == played.assemble(*Side, name="full")[1].read_bytes()


def test_a_fade_that_is_asked_for_is_in_the_new_music_only_and_in_the_layout(tmp_path: Path) -> None:
    played = compose(tmp_path, steps=2)
    shape = Shape(before_frames=RATE, after_frames=RATE + 99, fades_in=True, fades_out=True)
    told, path = played.assemble(*Side, shape=shape)
    whole, source = read(path), read(played.source)
    assert np.array_equal(whole[RATE : RATE + len(source)], source)
    assert 0.4 * RATE < told.lead_in_frames <= RATE / 2
    assert 0.4 * RATE < told.ring_out_frames <= RATE / 2 + 50
    layout = told.layout((Part(PartKind.SOURCE, len(source), 0),))
    assert layout.frames == len(whole)
    kinds = [part.kind for part in layout.parts]
    assert kinds[0] is PartKind.LEAD_IN
    assert kinds[-1] is PartKind.RING_OUT
    assert (layout.full_from, layout.full_to) == (told.lead_in_frames, len(whole) - told.ring_out_frames)
    plain, _ = played.assemble(*Side, name="plain")
    seams = plain.layout((Part(PartKind.SOURCE, len(source), 0),)).seams()
    before, after = ([join.new_frames for join in plain.joins if join.side is side] for side in Side)
    added = plain.before_frames
    assert seams == (before[1], added, added + len(source), added + len(source) + after[0])


@pytest.mark.parametrize("as_mp3", [False, True])
@pytest.mark.parametrize("side", Side)
def test_no_seam_clicks_or_bursts_unlike_a_hard_cut(tmp_path: Path, side: Side, *, as_mp3: bool) -> None:
    played = compose(tmp_path, steps=2, shift=1_105, gain_db=-2, as_mp3=as_mp3, music=pads(8))
    source = outwards(read(played.source), side)
    whole = outwards(read(played.assemble(side)[1]), side)
    naive = [
        outwards(read(piece.path), side)[round(piece.context_seconds * RATE) :]
        for piece in played.pieces[side]
    ]
    hard = np.concatenate([source, *naive])
    clicks, bursts = np.percentile(jumps(source), 99), np.percentile(flux(source, RATE), 99)
    for at in (len(source), len(whole) - RATE):  # the source's edge, and that of the first piece
        around = whole[at - 2 * FADE : at + FADE]
        assert jumps(around).max() <= 1.5 * clicks
        assert flux(around, RATE).max() <= 1.5 * bursts
    cut = hard[len(source) - 2 * FADE : len(source) + FADE]
    assert jumps(cut).max() > 10 * clicks


@pytest.mark.parametrize("side", Side)
def test_silence_that_coding_adds_to_the_end_of_a_piece_is_no_gap_in_the_music(
    tmp_path: Path, side: Side
) -> None:
    played = compose(tmp_path, music=pads(8))
    (first,) = played.pieces[side]
    padded = np.concatenate([outwards(read(first.path), side), np.zeros((1_000, 2), np.float32)])
    write(first.path, outwards(padded, side), RATE)
    first = ModelOutput(first.path, first.context_seconds + (1_000 / RATE if side is Side.BEFORE else 0))
    context = write_context(played.source, side, [first], tmp_path / "context", seconds=2, max_bytes=None)
    sent = outwards(read(context.path), side)
    assert np.abs(sent[-100:]).max() > 0.01


def test_the_same_files_make_the_same_bytes(tmp_path: Path) -> None:
    played = compose(tmp_path, subtype="FLOAT", steps=2)
    (one, path), (two, _) = played.assemble(*Side), played.assemble(*Side, name="again.wav")
    assert one == two
    assert one.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert one.size_bytes == path.stat().st_size


@settings(max_examples=25, deadline=None)
@given(
    frames=st.one_of(st.integers(1, 2_000), st.just(80)),
    kind=st.sampled_from(["music", "silence", "constant"]),
    sides=st.sampled_from([(Side.BEFORE,), (Side.AFTER,), tuple(Side)]),
)
def test_however_short_the_source_is_it_goes_on_without_a_click(
    frames: int, kind: str, sides: tuple[Side, ...]
) -> None:
    rate, added = 8_000, 4_000
    t = np.arange(frames + 2 * added)[:, None] / rate
    music = {"music": 0.4 * np.sin(2 * np.pi * 110 * t), "silence": 0 * t, "constant": 0 * t + 0.3}[kind]
    source = music[added : added + frames]
    with TemporaryDirectory() as folder:
        path = write(Path(folder) / "source", source, rate, subtype="PCM_16")
        pieces = {}
        for side in sides:
            context = write_context(path, side, (), Path(folder) / side, seconds=99, max_bytes=None)
            assert context.seconds == frames / rate
            new = music[:added] if side is Side.BEFORE else music[added + frames :]
            pieces[side] = [returned(context, side, new.astype(np.float32))]
        told, whole = Song(
            music.astype(np.float32), path, {side: pieces.get(side, []) for side in Side}
        ).assemble(*sides)
        result = read(whole)
    assert told.source_frames == frames
    assert len(result) == frames + sum(join.new_frames for join in told.joins)
    if frames > 1:
        assert np.abs(np.diff(result[:, 0])).max() <= 2 * np.abs(np.diff(music[:, 0])).max() + 1e-4


def test_silence_is_joined_to_silence(tmp_path: Path) -> None:
    source = write(tmp_path / "source", np.zeros((3 * RATE, 2)), RATE, subtype="PCM_16")
    context = write_context(source, Side.AFTER, (), tmp_path / "context", seconds=2, max_bytes=None)
    piece = returned(context, Side.AFTER, np.zeros((RATE, 2), np.float32))
    told, whole = Song(song(1), source, {Side.BEFORE: [], Side.AFTER: [piece]}).assemble(Side.AFTER)
    assert (told.joins[0].aligned, told.after_frames) == (False, RATE)
    assert not read(whole).any()


def test_values_that_are_no_numbers_are_silent_in_the_source_and_reach_nothing_else(tmp_path: Path) -> None:
    played = compose(tmp_path, subtype="FLOAT")
    samples = read(played.source)
    samples[[0, 9_000, -1], 0] = np.nan, np.inf, -np.inf
    write(played.source, samples, RATE)
    whole = read(played.assemble(*Side)[1])
    samples[[0, 9_000, -1], 0] = 0
    assert np.isfinite(whole).all()
    assert np.array_equal(whole[RATE : RATE + len(samples)], samples)


def test_a_piece_with_nothing_new_or_that_is_no_audio_is_a_failed_generation(tmp_path: Path) -> None:
    played = compose(tmp_path)
    (piece,) = played.pieces[Side.AFTER]
    write(piece.path, read(piece.path)[: round(2.4 * RATE)], RATE)
    with pytest.raises(GenerationFailed, match=r"received 2\.5 s .* returned 2\.4 s"):
        played.assemble(Side.AFTER)
    piece.path.write_text("<html>")
    with pytest.raises(GenerationFailed, match="web page"):
        played.assemble(Side.AFTER)


def test_a_source_over_the_limit_is_refused(tmp_path: Path) -> None:
    source = write(tmp_path / "source", np.zeros((61 * 8_000, 1)), 8_000, subtype="PCM_16")
    with pytest.raises(SourceTooLarge, match="60 seconds"):
        Song(song(1), source, {side: [] for side in Side}).assemble()


@pytest.mark.parametrize("now", [song(2), song(5), song(6)[:, :1], song(5, 16_000)])
def test_a_source_that_changes_meanwhile_is_not_delivered(tmp_path: Path, now: Samples) -> None:
    played = compose(tmp_path, steps=2)  # four seconds, all of which are known at once

    def swap(_fraction: float, step: str) -> None:
        if step == "writing":
            write(played.source, now, RATE, subtype="PCM_16")

    with pytest.raises(SourceUnreachable, match="changed while it was read"):
        played.assemble(*Side, on_progress=swap)


def test_progress_only_grows_and_may_stop_the_work(tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    played = compose(tmp_path)
    told: list[tuple[float, str]] = []
    played.assemble(*Side, on_progress=lambda fraction, step: told.append((fraction, step)))
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    assert (fractions[0], told[-1]) == (0.0, (1.0, "writing"))
    assert {step for _, step in told} == {"joining", "writing"}

    def stop(_fraction: float, _step: str) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        played.assemble(*Side, on_progress=stop)


def test_a_long_source_takes_no_more_memory_than_a_short_one(tmp_path: Path) -> None:
    peaks = []
    for seconds in (60, 900):
        samples = np.zeros((seconds * 8_000, 1), np.int16)
        samples[-8_000:, 0] = np.arange(8_000) % 97 * 99
        source = write(tmp_path / "source", samples, 8_000, subtype="PCM_16")
        context = write_context(source, Side.AFTER, (), tmp_path / "context", seconds=8, max_bytes=None)
        piece = returned(context, Side.AFTER, np.zeros((8_000, 1), np.float32))
        tracemalloc.start()
        assemble(source, [], [piece], tmp_path / "whole", max_source_seconds=999, on_progress=lambda *_: None)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.05 * peaks[0]
