"""The analysis of a recording, as an answer."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from outpaint_mcp.audio.clock import clock
from outpaint_mcp.models import Status
from outpaint_mcp.reports.models import AnalysisReport
from outpaint_mcp.reports.progress import in_words

if TYPE_CHECKING:
    from outpaint_mcp.audio.hearing.records import Analysis
    from outpaint_mcp.reports.wording import Vocabulary
    from outpaint_mcp.storage.records import RequestProgress

_SURE_OF_TEMPO = 0.6
"""With less confidence it is a guess, and is not among the tags either."""
_STREAMING_LUFS, _NEAR_LU = -14.0, 0.5
"""What Spotify, YouTube, Tidal and Amazon Music play at; a smaller difference is not heard."""
_OFFSET = 0.01
_CLIPPED = 1e-4
"""Share of frames at full scale; a few peaks that just reach it are not worth a word."""


def report(
    analysis: Analysis, *, title: str, details: bool, carry_on_from_seconds: float | None = None
) -> AnalysisReport:
    """Put an analysis into a short answer.

    Args:
        analysis: what was measured.
        title: of the recording.
        details: whether to report all of it.
        carry_on_from_seconds: where an ending of ours begins, for a result; None for what was measured.
    """
    carry_on = analysis.carry_on_from_seconds if carry_on_from_seconds is None else carry_on_from_seconds
    tempo, key, ending = analysis.tempo, analysis.key, analysis.ending
    fade = f" over {ending.fade_seconds:.1f} s" if ending.fade_seconds else ""
    return AnalysisReport(
        title=title,
        status=Status.COMPLETED,
        duration_seconds=round(analysis.seconds, 3),
        format=f"{analysis.container} {analysis.subtype}, {analysis.sample_rate} Hz, {analysis.channels} ch",
        loudness_lufs=_rounded(analysis.lufs, 1),
        true_peak_dbtp=round(analysis.true_peak_dbtp, 1),
        tempo_bpm=_rounded(tempo.bpm, 1) if tempo else None,
        tempo_confidence=_rounded(tempo.confidence, 2) if tempo else None,
        beat_stray_ms=_rounded(tempo.stray_ms, 1) if tempo else None,
        key=key.name if key else None,
        key_confidence=_rounded(key.confidence, 2) if key else None,
        sounds_from_seconds=_rounded(analysis.starts_at_seconds, 2),
        sounds_to_seconds=_rounded(analysis.ends_at_seconds, 2),
        beginning=analysis.beginning.kind,
        ending=f"{ending.kind}{fade}",
        carry_on_from_seconds=_rounded(carry_on, 3),
        sections=[f"{clock(each.start_seconds)} {each.letter} {each.level}" for each in analysis.sections],
        tags=", ".join(analysis.tags),
        details=_details(analysis) if details else None,
        message=_message(analysis, carry_on),
    )


def not_finished(title: str, progress: RequestProgress, vocabulary: Vocabulary) -> AnalysisReport:
    """Say how far an analysis is, and how to get it."""
    return AnalysisReport(
        title=title,
        status=progress.status,
        progress=_rounded(progress.progress, 3),
        message=f"{in_words(progress)}. It goes on: call {vocabulary.analysis} again with the same arguments.",
    )


def _details(analysis: Analysis) -> dict[str, object]:
    """All that was measured, with the key's name."""
    key = analysis.key
    return asdict(analysis) | {"key": None if key is None else asdict(key) | {"name": key.name}}


def _message(analysis: Analysis, carry_on_from_seconds: float | None) -> str:
    """What the figures alone do not say."""
    tempo, key = analysis.tempo, analysis.key
    sentences = (
        analysis.remark,
        f"{analysis.unreal_frames:,} frames hold values that are no sound (NaN, infinity): they count as silence."
        if analysis.unreal_frames
        else "",
        "All of it is silent." if analysis.starts_at_seconds is None else "",
        "No steady beat." if tempo is None else "",
        "The tempo is a guess; it may be felt half or twice as fast."
        if tempo is not None and tempo.confidence < _SURE_OF_TEMPO
        else "",
        "No clear key." if key is None else "",
        _carrying_on(analysis, carry_on_from_seconds),
        _loudness(analysis),
        f"{analysis.full_scale_frames} frames are at full scale: it may be clipped."
        if analysis.full_scale_frames > _CLIPPED * analysis.frames
        else "",
        f"It has a DC offset of {analysis.dc_offset:.2f}." if abs(analysis.dc_offset) >= _OFFSET else "",
        "Genre, instruments and voices cannot be measured: add them to the tags yourself.",
    )
    return " ".join(filter(None, sentences))


def _carrying_on(analysis: Analysis, from_seconds: float | None) -> str:
    """Say where the recording is carried on from, where that is not its end."""
    if from_seconds is None:
        return ""
    ends = {"fade-out": "fades out", "rings out": "rings out"}.get(analysis.ending.kind, "is silent")
    return f"It {ends} from {clock(from_seconds)}: an extension carries on from there."


def _loudness(analysis: Analysis) -> str:
    """Say what the loudness and the peaks mean for whoever uploads it."""
    if analysis.lufs is None:
        return ""
    off = round(analysis.lufs - _STREAMING_LUFS, 1)
    level = f"the {_STREAMING_LUFS:.0f} LUFS that streaming services play at".replace("-", "\N{MINUS SIGN}")
    if abs(off) < _NEAR_LU:
        loudness = f"About as loud as {level}."
    elif off < 0:
        loudness = f"{-off:.1f} dB quieter than {level}."
    else:
        loudness = f"{off:.1f} dB louder than {level}: they turn it down."
    over = round(analysis.true_peak_dbtp, 1)
    if over <= 0:
        return loudness
    return f"{loudness} Its peaks go {over:.1f} dB over full scale: lower it or limit it before uploading."


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
