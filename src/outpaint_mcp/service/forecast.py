"""Dry runs: what would become of a request, found out without starting anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outpaint_mcp.reports import forecasts as reports
from outpaint_mcp.service.planning import find_music, length_note, plan_words
from outpaint_mcp.sources import LocalFile

if TYPE_CHECKING:
    from outpaint_mcp.audio.surroundings import FullMusic
    from outpaint_mcp.models import SubmitRequest
    from outpaint_mcp.providers.base import Forecast, Provider
    from outpaint_mcp.reports.models import DryRun
    from outpaint_mcp.reports.wording import Vocabulary
    from outpaint_mcp.service.references import ResolvedSource
    from outpaint_mcp.service.rooms import Room

_UNHEARD = "The source was not listened to: how it begins and ends shows once it is carried out."


async def paid_plan(room: Room, request: SubmitRequest, resolved: ResolvedSource, provider: Provider) -> str:
    """Say what a request of several paid steps costs, for the person to agree to; empty for any other.

    Raises as `foresee`.
    """
    _, forecast = await _forecast(room, request, resolved, provider)
    if forecast.obstacle is not None or forecast.cost_usd is None or forecast.steps <= 1:
        return ""
    takes = f", {request.takes} takes" if request.takes > 1 else ""
    return (
        f"{provider.description.title} generates this in {forecast.steps} paid steps{takes}: up to"
        f" ${request.takes * forecast.cost_usd:.4f} in all. {forecast.basis}"
    )


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
    expected_seconds = None if source_seconds is None else request.expected_seconds(source_seconds)
    about = await length_note(room.prober, request, resolved)
    music, forecast = await _forecast(room, request, resolved, provider)
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


async def _forecast(
    room: Room, request: SubmitRequest, resolved: ResolvedSource, provider: Provider
) -> tuple[FullMusic | None, Forecast]:
    """Return where the full music of a source is, as far as it matters, and what the provider would do."""
    probed = await room.prober.look(resolved.source)
    used_seconds = None if probed is None else request.used_seconds(probed.seconds)
    music = await find_music(room.prober, request, resolved)
    return music, await provider.foresee(room.principal, request, used_seconds, music)
