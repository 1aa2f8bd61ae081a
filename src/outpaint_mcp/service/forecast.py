"""Dry runs: what would become of a request, found out without starting anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outpaint_mcp.reports import forecasts as reports
from outpaint_mcp.service.planning import find_music, length_note, plan_words
from outpaint_mcp.sources import LocalFile

if TYPE_CHECKING:
    from outpaint_mcp.models import SubmitRequest
    from outpaint_mcp.providers.base import Provider
    from outpaint_mcp.reports.models import DryRun
    from outpaint_mcp.reports.wording import Vocabulary
    from outpaint_mcp.service.references import ResolvedSource
    from outpaint_mcp.service.rooms import Room

_UNHEARD = "The source was not listened to: how it begins and ends shows once it is carried out."


async def foresee(
    room: Room, vocabulary: Vocabulary, request: SubmitRequest, resolved: ResolvedSource, provider: Provider
) -> DryRun:
    """Say what a provider would do with a request.

    Args:
        room: of whoever asks.
        vocabulary: the words of the surface that asks.
        request: what would be asked.
        resolved: its source.
        provider: who would carry it out.

    Raises:
        InvalidRequest, SourceError: it cannot be carried out.
    """
    probed = await room.prober.look(resolved.source)
    source_seconds = None if probed is None else probed.seconds
    used_seconds = None if source_seconds is None else request.used_seconds(source_seconds)
    expected_seconds = None if source_seconds is None else request.expected_seconds(source_seconds)
    about = await length_note(room.prober, request, resolved)
    music = await find_music(room.prober, request, resolved)
    forecast = await provider.foresee(room.principal, request, used_seconds, music)
    plan = plan_words(music, vocabulary, request, is_generative=provider.description.is_generative)
    unheard = "" if isinstance(resolved.source, LocalFile) else _UNHEARD
    return reports.dry_run(
        provider.description,
        vocabulary,
        forecast,
        takes=request.takes,
        duration_seconds=expected_seconds,
        notes=tuple(filter(None, (about, resolved.note, plan, unheard))),
    )
