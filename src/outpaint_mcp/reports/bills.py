"""What there is to say of a bill that is not what was expected."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outpaint_mcp.providers.registry import describe

if TYPE_CHECKING:
    from outpaint_mcp.storage.records import RequestRecord


def bill_words(record: RequestRecord) -> str:
    """Report a cost that is in no sum, or one that is above its estimate; empty where there is neither."""
    title = describe(record.provider).title
    if record.odd_cost is not None:
        return (
            f"{title} reports a cost that cannot be believed ({record.odd_cost} dollars). It is not counted: look it up"
            " in the account there."
        )
    if record.cost_usd is not None and record.expected_cost_usd is not None:
        return f"{title} billed ${record.cost_usd:.4f}, where ${record.expected_cost_usd:.4f} was expected."
    return ""
