"""The house rules that tools can check; they are tests so that one command checks everything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    "command",
    [
        ("ruff", "check"),
        ("ruff", "format", "--check"),
        ("mypy",),
        ("importlinter.cli", "lint_imports_command"),
    ],
    ids=["lint", "format", "types", "imports"],
)
def test_the_tree_is_clean(command: tuple[str, ...]) -> None:
    module, *arguments = command
    if module == "importlinter.cli":
        run = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()"]
    else:
        run = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
