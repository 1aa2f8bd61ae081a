"""What will be done with a source, where that is worth a sentence."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from outpaint_mcp.audio.steering_words import describe_wish, read_wish
from outpaint_mcp.errors import OutpaintError
from outpaint_mcp.providers.registry import PROVIDERS
from outpaint_mcp.reports.placement import loop_words, placement_words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from outpaint_mcp.audio.surroundings import FullMusic
    from outpaint_mcp.models import SubmitRequest
    from outpaint_mcp.reports.wording import Vocabulary
    from outpaint_mcp.service.references import ResolvedSource
    from outpaint_mcp.workers.probing import Prober


async def find_music(prober: Prober, request: SubmitRequest, resolved: ResolvedSource) -> FullMusic | None:
    """Return where the full music of a source begins and ends, as far as that matters and is found in time."""
    if request.placement != "natural":
        return None
    outcome = resolved.parent.outcome if resolved.parent else None
    with suppress(OutpaintError, RuntimeError):  # the job says what is wrong with the source
        return await prober.full_music(resolved.source, request, outcome.layout if outcome else None)
    return None


async def length_note(prober: Prober, request: SubmitRequest, resolved: ResolvedSource) -> str:
    """Say that the length is an estimate, where it depends on a source whose own is only known once it is decoded.

    Raises:
        SourceError: the source cannot be used by anyone.
    """
    probed = await prober.look(resolved.source)
    if probed is None or probed.is_exact or request.total_seconds or request.source_end_seconds:
        return ""
    return f"That is about right: the source lasts about {probed.seconds:.0f} s, which is exact once it is decoded."


def plan_words(
    music: FullMusic | None, vocabulary: Vocabulary, request: SubmitRequest, *, is_generative: bool
) -> str:
    """Say where new music will go, and which inputs have no effect.

    Args:
        music: where the source's full music begins and ends, if that is known.
        vocabulary: the words of the surface that shows it.
        request: what is asked.
        is_generative: whether a model makes the music.
    """
    after, total = (vocabulary.input(each) for each in ("extend_after_duration", "total_seconds"))
    ignored = f"{after} is ignored, since {total} is given." if request.is_after_ignored else ""
    idle = "" if is_generative else _idle_words(request, vocabulary)
    ignored = " ".join(filter(None, (ignored, *_ends_without_music(request, vocabulary), idle)))
    if music is None:
        return ignored
    words = placement_words(music, request, vocabulary, is_generative=is_generative)
    return " ".join(filter(None, (words, loop_words(music, request, vocabulary), ignored)))


def _ends_without_music(request: SubmitRequest, vocabulary: Vocabulary) -> Iterator[str]:
    """Say which of the ends that were asked for have no effect, since nothing is added there."""
    if request.beginning != "natural" and not request.extend_before_duration:
        yield f"{vocabulary.input('beginning', request.beginning)} has no effect: nothing is added before the source."
    if request.ending != "natural" and not request.adds_after:
        yield f"{vocabulary.input('ending', request.ending)} has no effect: nothing is added after the source."


def _idle_words(request: SubmitRequest, vocabulary: Vocabulary) -> str:
    """Say what does not steer a provider without a model, and who follows it."""
    wish = read_wish(request.tags)
    lyrics = "Lyrics do not steer it." if request.lyrics.strip() else ""
    model = next((name for name, each in PROVIDERS.items() if each.description.is_generative), None)
    way = ""
    if model and (wish.idle or lyrics):
        provider, dry_run = vocabulary.input("provider", model), vocabulary.input("dry_run", True)
        way = f"A generative model follows them: {provider}; {dry_run} says what it needs and costs."
    return " ".join(filter(None, (describe_wish(wish), lyrics, way)))
