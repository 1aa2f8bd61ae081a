"""Providers: each says of itself whatever others need to know, so that no other module has to name one."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import pytest

import outpaint_mcp
from outpaint_mcp.config import ProviderName
from outpaint_mcp.providers.registry import PROVIDERS, describe

if TYPE_CHECKING:
    from outpaint_mcp.providers.base import ProviderDescription

SOURCE = Path(outpaint_mcp.__file__).parent

HOMES = ("providers/runcomfy/", "cli/", "config.py")
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


def test_every_provider_can_be_chosen() -> None:
    assert set(get_args(ProviderName)) == set(PROVIDERS)


def test_no_other_module_names_a_paid_provider() -> None:
    paid = [name for name in PROVIDERS if describe(name).is_paid]
    assert paid
    for name in paid:
        elsewhere = {file for file in files_that_name(name) if not file.startswith(HOMES)}
        assert elsewhere <= set(EXCEPTIONS), elsewhere - set(EXCEPTIONS)
        assert len(elsewhere) <= 3
