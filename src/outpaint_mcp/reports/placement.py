"""Where new music will go, and why, in a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outpaint_mcp.audio.clock import clock

if TYPE_CHECKING:
    from outpaint_mcp.audio.surroundings import EdgeName, FullMusic
    from outpaint_mcp.models import SubmitRequest
    from outpaint_mcp.reports.wording import Vocabulary

_ENDS: dict[EdgeName, str] = {
    "fades": "The source fades out from {at}: the music carries on from there, and its fade ends the longer file",
    "rings out": "The source rings out from {at}: the music carries on from there, and its own ending comes last again",
    "silence": "The music of the source ends at {at}, and silence follows: the music carries on from there",
    "own": "The music carries on from {at}, where the source's own ending begins, which comes last again",
    "ours": "The music carries on from {at}, before the ending that was added last time",
}
_BEGINS: dict[EdgeName, str] = {
    "fades": "The source fades in until {at}: the new music leads to there, and its fade-in begins the longer file",
    "rings out": "The source begins softly, until {at}: the new music leads to there, and its beginning comes first",
    "silence": "The music of the source begins at {at}: the new music leads to there",
    "own": "The new music leads to {at}, where the source's own beginning ends, which comes first again",
    "ours": "The new music leads to {at}, behind the beginning that was added last time",
}
_SOFT: frozenset[EdgeName] = frozenset({"fades", "rings out", "silence"})


def placement_words(
    music: FullMusic, request: SubmitRequest, vocabulary: Vocabulary, *, is_generative: bool
) -> str:
    """Say where the music goes on, if that is not at the source's very edge.

    Args:
        music: where the full music of what is extended begins and ends.
        request: what is asked.
        vocabulary: the words of the surface that shows it.
        is_generative: whether a model makes the ending itself, so that the source's own does not come again.
    """
    if request.placement != "natural":
        return ""
    adds_before = request.extend_before_duration > 0
    sides = (
        (adds_before, _BEGINS.get(music.beginning), music.start_seconds, request.beginning),
        (request.adds_after, _ENDS.get(music.ending), music.stop_seconds, request.ending),
    )
    found = []
    for is_extended, sentence, at_seconds, wish in sides:
        if is_extended and sentence is not None:
            words = sentence.format(at=clock(request.source_start_seconds + at_seconds))
            comes_again = wish == "natural" and not is_generative
            found.append(words if comes_again else _without_what_comes_again(words))
    outside = vocabulary.input("placement", "outside")
    return f"{'. '.join(found)} ({outside} leaves it where it is)." if found else ""


def loop_words(music: FullMusic, request: SubmitRequest, vocabulary: Vocabulary) -> str:
    """Say that a file cannot loop without a seam, where its beginning is the source's own and no full music."""
    if request.ending != "loop" or request.extend_before_duration or music.beginning not in _SOFT:
        return ""
    at_seconds = request.source_start_seconds + music.start_seconds
    start = vocabulary.input("source_start_seconds", round(at_seconds, 2))
    return (
        f"The source begins softly, until {clock(at_seconds)}, and stays as it is, so the end of the file cannot join"
        f" its beginning unheard: {start} leaves that out."
    )


def _without_what_comes_again(sentence: str) -> str:
    return sentence.partition(", and its")[0].partition(", which comes")[0]
