"""The package as it is imported and installed."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import outpaint_mcp
from outpaint_mcp import sources

ROOT = Path(__file__).parent.parent


def loaded_by(statement: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}\nimport sys\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def test_starting_the_server_loads_nothing_heavy() -> None:
    loaded = loaded_by("from outpaint_mcp.server.app import build_server")
    assert "outpaint_mcp.providers.local.provider" in loaded
    assert not loaded & {"numpy", "soundfile", "soxr", "scipy", "librosa"}
    assert not {module for module in loaded if module.startswith("outpaint_mcp.audio")}


def test_we_load_httpx_no_earlier_than_the_protocols_own_library_does() -> None:
    by_sdk = loaded_by("import mcp.server")
    ours = loaded_by("from outpaint_mcp.server.app import build_server")
    assert "outpaint_mcp.sources.download" in ours
    assert "outpaint_mcp.sources.transfer" not in ours
    assert "httpx" in by_sdk or "httpx" not in ours


def test_the_command_line_answers_before_it_loads_the_protocol() -> None:
    assert not loaded_by("import outpaint_mcp.cli.main") & {"mcp", "pydantic", "httpx", "numpy", "sqlite3"}


def test_a_worker_loads_neither_the_protocol_nor_the_network() -> None:
    assert not loaded_by("import outpaint_mcp.workers.worker") & {"mcp", "httpx", "numpy"}


def test_the_installed_version_is_the_packages_own() -> None:
    assert metadata.version("outpaint-mcp") == outpaint_mcp.__version__


def test_the_registry_entry_has_the_packages_name_version_and_variables() -> None:
    record = json.loads((ROOT / "server.json").read_text(encoding="utf-8"))
    assert record["version"] == outpaint_mcp.__version__
    assert len(record["description"]) <= 100
    [package] = record["packages"]
    assert package["identifier"] == "outpaint-mcp"
    assert package["version"] == outpaint_mcp.__version__
    config = (ROOT / "src" / "outpaint_mcp" / "config.py").read_text(encoding="utf-8")
    for variable in package["environmentVariables"]:
        assert f'"{variable["name"]}"' in config


def test_the_package_is_typed() -> None:
    assert (Path(outpaint_mcp.__file__).parent / "py.typed").is_file()


def test_public_names_exist_and_are_sorted() -> None:
    assert sources.__all__ == sorted(sources.__all__)
    assert all(hasattr(sources, name) for name in sources.__all__)


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "outpaint_mcp", "--version"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, f"outpaint-mcp {outpaint_mcp.__version__}\n")
