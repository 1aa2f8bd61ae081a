"""The errors are one tree, and its picture is true."""

from __future__ import annotations

import inspect
import re

import pytest

from outpaint_mcp import errors
from outpaint_mcp.cli import main as cli

CLASSES: dict[str, type[Exception]] = {
    name: of for name, of in vars(errors).items() if inspect.isclass(of) and issubclass(of, Exception)
}


def test_every_error_stems_from_one_root() -> None:
    assert all(issubclass(each, errors.OutpaintError) for each in CLASSES.values())
    assert all(each.__module__ == errors.__name__ for each in CLASSES.values())
    assert errors.OutpaintError.__base__ is Exception


def test_the_docstring_draws_the_tree_as_it_is() -> None:
    drawn = re.findall(r"^( *)\* (\w+)", errors.__doc__ or "", flags=re.MULTILINE)
    assert {name for _, name in drawn} == set(CLASSES)
    above: list[str] = []
    for indent, name in drawn:
        depth = len(indent) // 2
        if depth:
            assert CLASSES[name].__base__ is CLASSES[above[depth - 1]]
        above[depth:] = [name]


def test_the_module_imports_nothing_of_ours() -> None:
    assert not re.findall(r"^(?:from|import) (?:[.]|outpaint)", inspect.getsource(errors), flags=re.MULTILINE)


@pytest.mark.parametrize("name", CLASSES)
def test_every_error_says_what_it_is(name: str) -> None:
    assert CLASSES[name].__doc__
    assert str(CLASSES[name]("What happened. What to do.")) == "What happened. What to do."


def test_every_error_ends_the_command_line_with_a_code_of_its_kind() -> None:
    leaves = [each for each in CLASSES.values() if each is not errors.OutpaintError]
    for each in leaves:
        assert any(issubclass(each, kind) for kind in cli._EXIT_CODES), each
    assert 0 not in cli._EXIT_CODES.values()
    assert 1 not in cli._EXIT_CODES.values()  # a crash
