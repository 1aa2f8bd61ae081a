"""Providers: each says of itself whatever others need to know, so that no other module has to name one."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import outpaint_mcp
from outpaint_mcp.config import Settings
from outpaint_mcp.errors import ConfigError
from outpaint_mcp.providers.base import Provider
from outpaint_mcp.providers.registry import PROVIDERS, check_provider, describe
from outpaint_mcp.providers.remote.model import ModelClient

if TYPE_CHECKING:
    from outpaint_mcp.providers.base import ProviderDescription

SOURCE = Path(outpaint_mcp.__file__).parent
ROOT = Path(__file__).parent.parent

HOMES = ("providers/runcomfy/", "cli/", "config/")
"""Where RunComfy may be named: its own package, the settings, and help for a terminal."""

EXCEPTIONS = {
    "__init__.py": "its client is part of the public interface",
    "models.py": "the request's schema is that of its model",
    "providers/registry.py": "the list of all providers",
}


def files_that_name(word: str) -> set[str]:
    """The source files with a word in them, in any case."""
    return {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        if word in path.read_text(encoding="utf-8").lower()
    }


@pytest.mark.parametrize("name", PROVIDERS)
def test_every_provider_describes_itself(name: str) -> None:
    description: ProviderDescription = describe(name)
    assert description.name == name
    for field in fields(description):
        text = getattr(description, field.name)
        assert not isinstance(text, str) or text.strip() == text != "", field.name
    assert description.accepts_within_seconds >= 0
    assert description.accepts_within_seconds < 5  # agents' frameworks give up on a call after that
    assert f"rovider {name}" in description.tool_text


def test_a_line_in_the_registry_is_all_it_takes_to_choose_a_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PROVIDERS, "acestep", PROVIDERS["local"])
    for name in PROVIDERS:
        settings = Settings.from_env({"OUTPAINT_PROVIDER": name})
        check_provider(settings.provider)
        assert settings.provider == name


def test_a_provider_that_is_not_offered_is_refused_with_those_that_are() -> None:
    settings = Settings.from_env({"OUTPAINT_PROVIDER": "cloud"})
    with pytest.raises(ConfigError) as refused:
        check_provider(settings.provider)
    assert str(refused.value) == "OUTPAINT_PROVIDER is 'cloud'; use one of auto, runcomfy, local."


def test_hosts_that_read_the_registry_entry_offer_every_provider() -> None:
    (package,) = json.loads((ROOT / "server.json").read_text(encoding="utf-8"))["packages"]
    (choices,) = (each["choices"] for each in package["environmentVariables"] if "PROVIDER" in each["name"])
    assert set(choices) == {"auto", *PROVIDERS}


@pytest.mark.parametrize("protocol", [Provider, ModelClient])
def test_whoever_adds_a_provider_is_shown_everything_it_needs(protocol: type) -> None:
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    shown = re.findall(r"`(\w+)`", guide.split("## Adding a provider")[1].split("\n## ")[0])
    members = {name for name in (*protocol.__annotations__, *vars(protocol)) if not name.startswith("_")}
    assert members <= {*shown}


def test_no_other_module_names_a_paid_provider() -> None:
    paid = [name for name in PROVIDERS if describe(name).is_paid]
    assert paid
    for name in paid:
        elsewhere = {file for file in files_that_name(name) if not file.startswith(HOMES)}
        assert elsewhere <= set(EXCEPTIONS), elsewhere - set(EXCEPTIONS)
        assert len(elsewhere) <= 3
