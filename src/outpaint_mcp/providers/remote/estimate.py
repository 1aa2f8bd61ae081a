"""What a request would cost and how it would be carried out, in figures and in words."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NamedTuple

from outpaint_mcp.providers.remote.plan import plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outpaint_mcp.providers.remote.model import Limits, Price
    from outpaint_mcp.providers.remote.target import Target
    from outpaint_mcp.storage.records import Step

_EXAMPLE_SONG_SECONDS, _EXAMPLE_ADDED_SECONDS = 180.0, 30.0


class Estimate(NamedTuple):
    """The plan of one take, and its price.

    Attributes:
        steps: in the order in which they are sent.
        cost_usd: the most that they cost, as far as the price is certain.
        basis: how that was computed and how the request is carried out, in sentences.
    """

    steps: tuple[Step, ...]
    cost_usd: float
    basis: str


def estimate(limits: Limits, price: Price, target: Target) -> Estimate:
    """Plan the steps of one take and estimate their cost; raises as `plan` does."""
    planned = plan(
        limits, target.music_seconds, before_seconds=target.before_seconds, after_seconds=target.after_seconds
    )
    steps = at_price(price, planned)
    seconds = sum(step.context_seconds + step.seconds for step in steps)
    cost_usd = sum(step.estimated_cost_usd for step in steps)
    basis = (
        _cost_words(price, cost_usd, seconds, len(steps)),
        _plan_words(limits, steps, target.music_seconds),
    )
    return Estimate(steps, cost_usd, " ".join(filter(None, basis)))


def at_price(price: Price, steps: Sequence[Step]) -> tuple[Step, ...]:
    """Return steps with the most that each costs at a price."""
    return tuple(
        dataclasses.replace(
            step, estimated_cost_usd=price.at_most_usd(step.context_seconds + step.seconds, outputs=1)
        )
        for step in steps
    )


def price_words(price: Price, title: str = "It") -> str:
    """Say what a model costs, with an example where that is not obvious; `title` is what it is called."""
    most = "" if price.is_certain else "about "
    if price.unit == "output":
        return f"Each step costs {most}${price.usd:g} ({price.origin})."
    example_usd = price.at_most_usd(_EXAMPLE_SONG_SECONDS + _EXAMPLE_ADDED_SECONDS, 1)
    return (
        f"{title} costs {most}${price.usd:g} a second, the source's own seconds included: about ${example_usd:.2f} for"
        f" {_EXAMPLE_ADDED_SECONDS:.0f} s after a song of {_EXAMPLE_SONG_SECONDS / 60:.0f} minutes ({price.origin})."
    )


def _cost_words(price: Price, cost_usd: float, seconds: float, outputs: int) -> str:
    how = f"{outputs} x ${price.usd:g}" if price.unit == "output" else f"{seconds:.0f} s x ${price.usd:g}"
    counted = (
        "" if price.unit == "output" else ", including the source's own seconds, which may not be billed"
    )
    most = "At most" if price.is_certain else "About"
    return f"{most} ${cost_usd:.4f}: {how} ({price.origin}{counted})."


def _plan_words(limits: Limits, steps: Sequence[Step], source_seconds: float) -> str:
    """Explain how the request is carried out, where that is not just one step."""
    reasons = []
    if len({step.side for step in steps}) > 1:
        reasons.append("one side at a time, since the model is unreliable with both at once")
    if any(step.context_seconds < source_seconds for step in steps):
        reasons.append(
            f"from the music nearest the edge, since the model handles {limits.canvas_seconds:.0f} s in all; the rest"
            " of the recording is joined on again"
        )
    if len(steps) > len({step.side for step in steps}):
        reasons.append("in stages, since no extension may be longer than what it is built on")
    if not reasons:
        return ""
    count = f"In {len(steps)} paid steps: " if len(steps) > 1 else "Generated "
    return f"{count}{'; '.join(reasons)}."
