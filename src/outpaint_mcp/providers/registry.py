"""Every provider there is. A new one is one line here, and a package of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from outpaint_mcp.errors import ConfigError
from outpaint_mcp.providers import local, runcomfy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from outpaint_mcp.providers.base import Provider, ProviderContext, ProviderDescription


class _Registered(NamedTuple):
    description: ProviderDescription
    open: Callable[[ProviderContext], Provider]


PROVIDERS: Mapping[str, _Registered] = {
    "runcomfy": _Registered(runcomfy.DESCRIPTION, runcomfy.open_provider),
    "local": _Registered(local.DESCRIPTION, local.open_provider),
}


def describe(name: str) -> ProviderDescription:
    """Return what a provider says of itself; nothing is opened for that."""
    return PROVIDERS[name].description


def check_provider(name: str) -> None:
    """Check a provider's name as the settings have it, before anything is started for it.

    Raises:
        ConfigError: there is no such provider; the message lists all.
    """
    if name not in PROVIDERS:
        raise ConfigError(f"OUTPAINT_PROVIDER is {name!r}; use one of {', '.join(('auto', *PROVIDERS))}.")
