"""Every provider there is. A new one is one line here, and a package of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from outpaint_mcp.providers import local, runcomfy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from outpaint_mcp.providers.base import Provider, ProviderContext, ProviderDescription


class _Registered(NamedTuple):
    description: ProviderDescription
    open: Callable[[ProviderContext], Provider]


PROVIDERS: Mapping[str, _Registered] = {
    "local": _Registered(local.DESCRIPTION, local.open_provider),
    "runcomfy": _Registered(runcomfy.DESCRIPTION, runcomfy.open_provider),
}


def describe(name: str) -> ProviderDescription:
    """Return what a provider says of itself; nothing is opened for that."""
    return PROVIDERS[name].description
