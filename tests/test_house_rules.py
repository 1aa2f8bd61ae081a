"""How large the code may grow, and which shortcuts it may not take."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
ROOT = REPOSITORY / "src" / "outpaint_mcp"
MODULES = {path.relative_to(ROOT): path.read_text("utf-8") for path in ROOT.rglob("*.py")}


def test_the_root_stays_small() -> None:
    assert len([path for path in ROOT.iterdir() if path.is_file()]) <= 12
    assert len([*ROOT.glob("*/__init__.py")]) <= 12


def test_modules_can_be_read_in_one_go() -> None:
    assert {str(path): n for path, text in MODULES.items() if (n := len(text.splitlines())) > 300} == {}


def test_untyped_mappings_stay_at_the_edges() -> None:
    lines = [line for text in MODULES.values() for line in text.splitlines()]
    assert len([line for line in lines if re.search(r"\b(dict|Mapping)\[str, Any\]", line)]) <= 15


def test_names_and_prose_use_the_words_of_the_trade() -> None:
    assert sum(len(re.findall(r"\b(told|heard|made|said|kept)\b", text)) for text in MODULES.values()) <= 60


def test_the_picture_of_the_layers_is_that_of_the_import_contract() -> None:
    contracts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    picture = (REPOSITORY / "CONTRIBUTING.md").read_text("utf-8").split("```\n")[1]
    assert [re.split(r"  +", line)[0] for line in picture.splitlines()] == contracts[0]["layers"]
