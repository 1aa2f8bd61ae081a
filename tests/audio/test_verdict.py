from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
import soxr
from pydantic import TypeAdapter
from tests.audio.composing import sequenced, with_melody

from outpaint_mcp.audio.engine.analysis import analyse
from outpaint_mcp.audio.engine.continuation import extend
from outpaint_mcp.audio.engine.outpaint import outpaint_file
from outpaint_mcp.audio.sides import Side
from outpaint_mcp.audio.verdict.judge import judge
from outpaint_mcp.audio.verdict.records import Asked, FaultKind, Verdict
from outpaint_mcp.audio.verdict.spikes import measure_bends, spike_share
from outpaint_mcp.errors import SourceTooLarge, SourceUnreachable, UnsupportedAudio

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from outpaint_mcp.audio.types import Samples
from outpaint_mcp.wishes import Wishes

RATE = 22_050
BEFORE, SOURCE, AFTER = 7.8, 40, 14.2
"""The seams are off the beat."""
START, STOP = round(BEFORE * RATE), round((BEFORE + SOURCE) * RATE)


@pytest.fixture(scope="module")
def music() -> Samples:
    """A minute with a melody that nobody loops: its notes are drawn once."""
    song, _ = sequenced(bpm=120, beats=round(2 * (BEFORE + SOURCE + AFTER)), sample_rate=RATE)
    return with_melody(song, RATE)


def judged(  # noqa: PLR0913 - a case
    folder: Path,
    source: Samples,
    made: Samples,
    *,
    rate: int = RATE,
    before: float = BEFORE,
    after: float = AFTER,
    mp3: bool = False,
) -> Verdict:
    original, path = folder / "source.wav", folder / ("made.mp3" if mp3 else "made.wav")
    soundfile.write(original, source, RATE, "PCM_16")
    soundfile.write(path, made, rate, "MPEG_LAYER_III" if mp3 else "PCM_16")
    return judge(original, path, Asked(before_seconds=before, after_seconds=after), max_source_seconds=600)


def kinds(verdict: Verdict) -> set[FaultKind]:
    return {fault.kind for fault in verdict.faults}


@pytest.mark.smoke
def test_music_that_really_goes_on_like_that_has_no_fault(tmp_path: Path, music: Samples) -> None:
    verdict = judged(tmp_path, music[START:STOP], music)
    assert verdict.faults == ()
    assert verdict.survival.bit_exact
    assert [seam.at_seconds for seam in verdict.seams] == pytest.approx([BEFORE, BEFORE + SOURCE])
    assert [part.actual_seconds for part in verdict.additions] == pytest.approx([BEFORE, AFTER], abs=1e-3)


@pytest.mark.smoke
def test_a_lossy_rendering_at_another_rate_is_recoded_and_nothing_else(
    tmp_path: Path, music: Samples
) -> None:
    verdict = judged(tmp_path, music[START:STOP], soxr.resample(music, RATE, 48_000), rate=48_000, mp3=True)
    assert kinds(verdict) == {FaultKind.SOURCE_RECODED}
    assert verdict.survival.correlation > 0.95
    assert abs(verdict.survival.offset_seconds) < 0.001


def test_what_the_built_in_provider_makes_is_kept_bit_for_bit(tmp_path: Path, music: Samples) -> None:
    source, made = tmp_path / "source.wav", tmp_path / "made.wav"
    soundfile.write(source, music[START:STOP], RATE, "PCM_16")
    wishes = Wishes(before_seconds=5.0, after_seconds=10.0, placement="outside")
    outpaint_file(
        source, made, wishes, seed=1, max_source_seconds=600.0, on_progress=lambda _done, _step: None
    )
    verdict = judge(source, made, Asked(before_seconds=5.0, after_seconds=10.0), max_source_seconds=600)
    assert verdict.survival.bit_exact
    assert verdict.survival.crossfaded_seconds == 0
    assert [part.actual_seconds for part in verdict.additions] == [5, 10]


def click(music: Samples) -> Samples:
    music[STOP : STOP + 3] = [[1], [-1], [1]]
    return music


def jump(music: Samples) -> Samples:
    music[STOP:] *= 10 ** (-6 / 20)
    return music


def slip(music: Samples) -> Samples:
    return np.concatenate([music[:STOP], music[STOP + round(0.04 * RATE) :]])


def faster(music: Samples) -> Samples:
    return np.concatenate([music[:STOP], np.asarray(soxr.resample(music, 1.1, 1.0))[: len(music) - STOP]])


def silence(music: Samples) -> Samples:
    music[-2 * RATE :] = 0
    return music


def gap(music: Samples) -> Samples:
    music[STOP + 5 * RATE : STOP + 7 * RATE] = 0
    return music


def late(music: Samples) -> Samples:
    return np.concatenate([music[: round(0.093 * RATE)], music])


def slower(music: Samples) -> Samples:
    return np.asarray(soxr.resample(music, 1.0, 1.001))


def softer(music: Samples) -> Samples:
    music[START:STOP] *= 10 ** (-2 / 20)
    return music


def again(music: Samples) -> Samples:
    music[STOP:] = music[STOP - len(music) + STOP : STOP]
    return music


def short(music: Samples) -> Samples:
    return music[: -2 * RATE]


def long(music: Samples) -> Samples:
    return np.concatenate([music, music[START : START + 2 * RATE]])


def clipped(music: Samples) -> Samples:
    music[STOP:] = np.clip(8 * music[STOP:], -1, 1)
    return music


def damaged(music: Samples) -> Samples:
    music[START + 12 * RATE : START + 24 * RATE] = music[START + 2 * RATE : START + 14 * RATE]
    return music


def fading(music: Samples) -> Samples:
    music[-8 * RATE :] *= np.geomspace(1, 0.001, 8 * RATE)[:, None]
    return music


@pytest.mark.parametrize(
    ("fault", "kind", "amount", "within"),
    [
        (click, FaultKind.CLICK, None, None),
        (jump, FaultKind.LOUDNESS_JUMP, -6, 2),
        (slip, FaultKind.BEAT_SLIP, -40, 12),
        (faster, FaultKind.TEMPO_CHANGE, 10, 0.5),
        (silence, FaultKind.SILENCE, 2, 0.1),
        (gap, FaultKind.SILENCE, 2, 0.1),
        (late, FaultKind.SOURCE_SHIFTED, 0.093, 0.0001),
        (slower, FaultKind.SOURCE_RESAMPLED, 0.1, 0.001),
        (softer, FaultKind.SOURCE_GAIN, -2, 0.05),
        (again, FaultKind.REPETITION, 1, 0.1),
        (short, FaultKind.TOO_SHORT, 2, 0.001),
        (long, FaultKind.TOO_LONG, 2, 0.001),
        (clipped, FaultKind.CLIPPING, None, None),
        (damaged, FaultKind.SOURCE_DAMAGED, 0.3, 0.05),
        (fading, FaultKind.FADE, None, None),
    ],
)
def test_a_fault_is_named_with_its_amount(  # noqa: PLR0913 - a row
    tmp_path: Path,
    music: Samples,
    fault: Callable[[Samples], Samples],
    kind: FaultKind,
    amount: float | None,
    within: float | None,
) -> None:
    verdict = judged(tmp_path, music[START:STOP], fault(music.copy()))
    (found,) = [each for each in verdict.faults if each.kind is kind]
    if amount is not None:
        assert found.amount == pytest.approx(amount, abs=within)


def test_a_source_that_moved_value_by_value_is_still_bit_exact(tmp_path: Path, music: Samples) -> None:
    verdict = judged(tmp_path, music[START:STOP], late(music))
    assert verdict.survival.bit_exact
    assert FaultKind.SOURCE_RECODED not in kinds(verdict)


def test_a_crossfade_at_each_seam_is_told_and_is_no_damage(tmp_path: Path, music: Samples) -> None:
    made = music.copy()
    for at in (START, STOP - RATE // 20):
        made[at : at + RATE // 20] *= 0.98
    verdict = judged(tmp_path, music[START:STOP], made)
    assert verdict.survival.bit_exact
    assert 0.06 < verdict.survival.crossfaded_seconds <= 0.1


def test_other_music_is_not_the_source(tmp_path: Path, music: Samples) -> None:
    other, _ = sequenced(bpm=97, beats=110, sample_rate=RATE, seed=9)
    verdict = judged(tmp_path, music[START:STOP], other)
    assert FaultKind.SOURCE_NOT_FOUND in kinds(verdict)
    assert verdict.seams == ()


@pytest.mark.parametrize(
    "source",
    [
        np.zeros((5 * RATE, 2), np.float32),
        np.full((1, 1), 0.5, np.float32),
        np.full((3 * RATE, 1), 0.25, np.float32),
        np.sin(np.arange(6 * RATE, dtype=np.float32) * 0.05)[:, None] * np.float32(0.5),
        np.random.default_rng(1).normal(0, 0.1, (2 * RATE, 6)).astype(np.float32),
    ],
    ids=["silence", "one sample", "a constant", "a drone", "noise in 5.1"],
)
def test_odd_sources_made_longer_are_no_error_and_survive(tmp_path: Path, source: Samples) -> None:
    made = np.concatenate([source, np.tile(source, (3, 1))])
    after = 3 * len(source) / RATE
    verdict = judged(tmp_path, source, made, before=0, after=after)
    assert verdict.survival.bit_exact
    assert verdict.additions == () or verdict.additions[0].actual_seconds == pytest.approx(after, abs=1e-3)


@pytest.mark.parametrize("frames", [1, 100, 30 * RATE])
def test_a_result_that_ends_early_is_no_error(tmp_path: Path, music: Samples, frames: int) -> None:
    verdict = judged(tmp_path, music[START:STOP], music[:frames])
    assert verdict.faults


def test_a_result_that_is_no_audio_is_told(tmp_path: Path, music: Samples) -> None:
    soundfile.write(tmp_path / "source.wav", music, RATE)
    (tmp_path / "made").write_bytes(b"nothing to be heard here at all")
    verdict = judge(
        tmp_path / "source.wav",
        tmp_path / "made",
        Asked(before_seconds=0, after_seconds=9),
        max_source_seconds=600,
    )
    assert kinds(verdict) == {FaultKind.UNREADABLE}


def test_values_that_are_not_numbers_are_no_error(tmp_path: Path, music: Samples) -> None:
    broken = music[:STOP].copy()
    broken[RATE : RATE + 50] = np.nan
    broken[2 * RATE] = np.inf
    for name, samples in (("source", broken), ("made", np.concatenate([broken, music[STOP:]]))):
        soundfile.write(tmp_path / name, samples, RATE, "FLOAT", format="WAV")
    verdict = judge(
        tmp_path / "source",
        tmp_path / "made",
        Asked(before_seconds=0, after_seconds=AFTER),
        max_source_seconds=600,
    )
    assert verdict.survival.found
    assert not verdict.survival.bit_exact  # what is no number is silent in it
    json.dumps(asdict(verdict), allow_nan=False)


def test_a_verdict_comes_back_from_json_as_it_was(tmp_path: Path, music: Samples) -> None:
    verdict = judged(tmp_path, music[START:STOP], again(music.copy()))
    text = json.dumps(asdict(verdict), allow_nan=False)
    assert TypeAdapter(Verdict).validate_json(text, strict=True) == verdict


def test_what_cannot_be_read_is_refused_in_the_houses_words(tmp_path: Path, music: Samples) -> None:
    asked = Asked(before_seconds=0.0, after_seconds=5.0)
    soundfile.write(tmp_path / "a.wav", music, RATE)
    (tmp_path / "b.wav").write_bytes(b"no audio")
    with pytest.raises(UnsupportedAudio):
        judge(tmp_path / "b.wav", tmp_path / "a.wav", asked, max_source_seconds=600)
    with pytest.raises(SourceUnreachable):
        judge(tmp_path / "a.wav", tmp_path / "c.wav", asked, max_source_seconds=600)
    with pytest.raises(SourceTooLarge):
        judge(tmp_path / "a.wav", tmp_path / "a.wav", asked, max_source_seconds=10)


def test_a_click_is_told_from_the_attacks_around_it_however_loud_they_are() -> None:
    rng = np.random.default_rng(3)
    t = np.arange(10 * 44_100) / 44_100
    hiss = np.convolve(rng.normal(0, 2, len(t)), np.hanning(24) / 12, "same")
    drums = hiss * np.minimum((t % 0.125) / 0.003, 1) * np.exp(-60 * (t % 0.125))
    seam = 5 * 44_100  # on an attack
    limit = measure_bends(drums, 44_100).limit
    assert spike_share(limit, drums, seam, 44_100) < 1
    clicked = drums.copy()
    clicked[seam + 40 : seam + 128] += 0.8 * np.exp(-np.linspace(0, 5, 88))
    assert spike_share(limit, clicked, seam, 44_100) > 1
    assert spike_share(limit, clicked, seam + 4_000, 44_100) < 1
    assert spike_share(measure_bends(drums[:2], 44_100).limit, clicked, seam, 44_100) == 0


def test_what_opus_spoils_at_a_sources_edges_is_no_click_of_the_join(tmp_path: Path) -> None:
    rate = 48_000
    time = np.arange(16 * rate) / rate
    rng = np.random.default_rng(4)
    wave = sum((0.12 * np.sin(2 * np.pi * hertz * time) for hertz in (220, 277.2, 329.6)), 0 * time)
    for beat in range(0, len(wave), rate // 2):
        wave[beat : beat + rate // 20] += (
            0.2 * rng.standard_normal(rate // 20) * np.linspace(1, 0, rate // 20)
        )
    original = tmp_path / "source.opus"
    with soundfile.SoundFile(original, "w", rate, 1, format="OGG", subtype="OPUS") as written:
        for start in range(0, len(wave) - 5_000, 65_536):
            written.write(wave[start : min(start + 65_536, len(wave) - 5_000)])
    source = soundfile.read(original, dtype="float32", always_2d=True)[0]
    material = analyse(source, rate)
    before, after = (extend(material, side, 4 * rate, seed=1).samples for side in Side)
    made = tmp_path / "made.wav"
    soundfile.write(made, np.concatenate([before, source, after]), rate, "FLOAT")
    verdict = judge(original, made, Asked(before_seconds=4, after_seconds=4), max_source_seconds=600)
    assert FaultKind.CLICK not in {fault.kind for fault in verdict.faults}
