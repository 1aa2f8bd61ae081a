"""What was heard in a recording, as an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from outpaint_mcp.reports.models import AnalysisReport

if TYPE_CHECKING:
    from outpaint_mcp.results import Outcome
    from outpaint_mcp.storage.records import Delivery

_SURE_OF_TEMPO, _SURE_OF_KEY = 0.6, 0.25
"""With less confidence they are guesses, and are not among the tags either."""
_OFFSET = 0.01
_CLIPPED = 1e-4
"""Share of frames at full scale; a few peaks that just reach it are nothing to speak of."""


def report(heard: dict[str, Any], *, title: str, details: bool) -> AnalysisReport:
    """Put what `audio.hear.Heard` tells, in JSON, into a short answer; all of it where `details` are wanted."""
    tempo, key, ending = heard["tempo"] or {}, heard["key"] or {}, heard["ending"]
    fade = f" over {ending['fade_seconds']:.1f} s" if ending["fade_seconds"] else ""
    return AnalysisReport(
        title=title,
        duration_seconds=round(heard["seconds"], 3),
        format=f"{heard['container']} {heard['subtype']}, {heard['sample_rate']} Hz, {heard['channels']} ch",
        loudness_lufs=_rounded(heard["lufs"], 1),
        true_peak_dbtp=round(heard["true_peak_dbtp"], 1),
        tempo_bpm=_rounded(tempo.get("bpm"), 1),
        tempo_confidence=_rounded(tempo.get("confidence"), 2),
        beat_stray_ms=_rounded(tempo.get("stray_ms"), 1),
        key=key.get("name"),
        key_confidence=_rounded(key.get("confidence"), 2),
        sounds_from_seconds=_rounded(heard["starts_at_seconds"], 2),
        sounds_to_seconds=_rounded(heard["ends_at_seconds"], 2),
        beginning=heard["beginning"]["kind"],
        ending=f"{ending['kind']}{fade}",
        sections=[
            f"{_clock(each['start_seconds'])} {each['letter']} {each['level']}" for each in heard["sections"]
        ],
        tags=", ".join(heard["tags"]),
        details=heard if details else None,
        message=_message(heard, tempo, key),
    )


def seams_seconds(delivery: Delivery | Outcome) -> tuple[float, ...]:
    """Where the source begins and ends in a longer file, where there is music before or after it."""
    end = delivery.duration_seconds - delivery.after_seconds
    seams = ((delivery.before_seconds, delivery.before_seconds), (delivery.after_seconds, end))
    return tuple(at for added, at in seams if added)


def _message(heard: dict[str, Any], tempo: dict[str, Any], key: dict[str, Any]) -> str:
    """What has to be said beside the figures."""
    told = (
        "" if heard["intact"] else "The file is damaged: this is what can be decoded of it.",
        "All of it is silent." if heard["starts_at_seconds"] is None else "",
        "No steady beat." if not tempo else "",
        "The tempo is a guess; it may be felt half or twice as fast."
        if tempo and tempo["confidence"] < _SURE_OF_TEMPO
        else "",
        "No clear key." if not key else "The key is a guess." if key["confidence"] < _SURE_OF_KEY else "",
        f"{heard['full_scale_frames']} frames are at full scale: it may be clipped."
        if heard["full_scale_frames"] > _CLIPPED * heard["frames"]
        else "",
        f"It has a DC offset of {heard['dc_offset']:.2f}." if abs(heard["dc_offset"]) >= _OFFSET else "",
        "Genre, instruments and voices cannot be measured: add them to the tags yourself.",
    )
    return " ".join(filter(None, told))


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
