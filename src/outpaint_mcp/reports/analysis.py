"""The analysis of a recording, as an answer."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from outpaint_mcp.reports.models import AnalysisReport

if TYPE_CHECKING:
    from outpaint_mcp.audio.hearing.records import Analysis
    from outpaint_mcp.results import Outcome
    from outpaint_mcp.storage.records import Delivery

_SURE_OF_TEMPO, _SURE_OF_KEY = 0.6, 0.25
"""With less confidence they are guesses, and are not among the tags either."""
_OFFSET = 0.01
_CLIPPED = 1e-4
"""Share of frames at full scale; a few peaks that just reach it are not worth a word."""


def report(analysis: Analysis, *, title: str, details: bool) -> AnalysisReport:
    """Put an analysis into a short answer; all of it where `details` are wanted."""
    tempo, key, ending = analysis.tempo, analysis.key, analysis.ending
    fade = f" over {ending.fade_seconds:.1f} s" if ending.fade_seconds else ""
    return AnalysisReport(
        title=title,
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
        sections=[f"{_clock(each.start_seconds)} {each.letter} {each.level}" for each in analysis.sections],
        tags=", ".join(analysis.tags),
        details=_details(analysis) if details else None,
        message=_message(analysis),
    )


def seams_seconds(delivery: Delivery | Outcome) -> tuple[float, ...]:
    """Where the source begins and ends in an extended file, where there is music before or after it."""
    end = delivery.duration_seconds - delivery.after_seconds
    seams = ((delivery.before_seconds, delivery.before_seconds), (delivery.after_seconds, end))
    return tuple(at for added, at in seams if added)


def _details(analysis: Analysis) -> dict[str, object]:
    """All that was measured, with the key's name."""
    key = analysis.key
    return asdict(analysis) | {"key": None if key is None else asdict(key) | {"name": key.name}}


def _message(analysis: Analysis) -> str:
    """What the figures alone do not say."""
    tempo, key = analysis.tempo, analysis.key
    sentences = (
        "" if analysis.intact else "The file is damaged: this is what can be decoded of it.",
        "All of it is silent." if analysis.starts_at_seconds is None else "",
        "No steady beat." if tempo is None else "",
        "The tempo is a guess; it may be felt half or twice as fast."
        if tempo is not None and tempo.confidence < _SURE_OF_TEMPO
        else "",
        "No clear key." if key is None else "The key is a guess." if key.confidence < _SURE_OF_KEY else "",
        f"{analysis.full_scale_frames} frames are at full scale: it may be clipped."
        if analysis.full_scale_frames > _CLIPPED * analysis.frames
        else "",
        f"It has a DC offset of {analysis.dc_offset:.2f}." if abs(analysis.dc_offset) >= _OFFSET else "",
        "Genre, instruments and voices cannot be measured: add them to the tags yourself.",
    )
    return " ".join(filter(None, sentences))


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
