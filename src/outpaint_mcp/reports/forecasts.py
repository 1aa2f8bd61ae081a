"""Reports on requests that were only asked about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outpaint_mcp.errors import Hint
from outpaint_mcp.reports.models import DryRun
from outpaint_mcp.reports.requests import dollars, rounded
from outpaint_mcp.reports.wording import explain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outpaint_mcp.providers.base import Forecast, ProviderDescription
    from outpaint_mcp.reports.wording import Vocabulary


def dry_run(  # noqa: PLR0913 - what there is to say of it
    provider: ProviderDescription,
    vocabulary: Vocabulary,
    forecast: Forecast,
    *,
    takes: int,
    duration_seconds: float | None,
    notes: Sequence[str] = (),
) -> DryRun:
    """Report what would become of a request.

    Args:
        provider: who would carry it out.
        vocabulary: the words of the surface that shows it.
        forecast: what that provider says.
        takes: how many would be generated.
        duration_seconds: the extended file's length, where it is known.
        notes: what else should be known of it, in sentences.
    """
    cost_usd = None if forecast.cost_usd is None else takes * forecast.cost_usd
    each = f"For each of {takes} takes: " if takes > 1 and forecast.basis else ""
    wait = forecast.wait_seconds
    message = (
        f"Dry run: nothing was started. {provider.title[0].upper()}{provider.title[1:]} would carry it out"
        + (f" ({takes} takes)." if takes > 1 else "."),
        "" if duration_seconds is None else f"The extended file would last {duration_seconds:.0f} s.",
        f"{each}{forecast.basis}" if provider.is_paid else "It is free.",
        f"All takes together: ${cost_usd:.4f}." if cost_usd is not None and takes > 1 else "",
        "" if wait is None else f"It takes about {wait:.0f} s, once it is its turn.",
        *notes,
        *forecast.warnings,
        vocabulary.advise(Hint.START)
        if forecast.obstacle is None
        else explain(forecast.obstacle, vocabulary),
    )
    return DryRun(
        provider=provider.name,
        expected_duration_seconds=rounded(duration_seconds),
        expected_wait_seconds=None if wait is None else round(wait),
        estimated_cost_usd=dollars(cost_usd),
        message=" ".join(filter(None, message)),
    )
