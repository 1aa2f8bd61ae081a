"""The package as it is imported and installed."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import outpaint_mcp
from outpaint_mcp import sources

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parent.parent
RECORDS = {
    f"outpaint_mcp.audio{name}"
    for name in (
        *(
            "",
            ".sides",
            ".tonality",
            ".clock",
            ".layout",
            ".preview_format",
            ".surroundings",
            ".steering_words",
        ),
        *(".verdict", ".verdict.kinds", ".verdict.records", ".hearing", ".hearing.records"),
        *(".files", ".files.decoder", ".files.refusals", ".files.texts"),
    )
}
"""What the audio rooms' results are, without the means to compute them, and the words for what is no audio."""

SERVER = "from outpaint_mcp.server.stdio import run_stdio"
OPEN_SERVER = f"""{SERVER}
import outpaint_mcp.service.lifespan, outpaint_mcp.providers.local.provider, outpaint_mcp.providers.remote.provider
"""


def loaded_by(statement: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}\nimport sys\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def test_starting_the_server_loads_nothing_heavy() -> None:
    loaded = loaded_by(OPEN_SERVER)
    assert "outpaint_mcp.providers.local.provider" in loaded
    assert not loaded & {"numpy", "soundfile", "soxr", "scipy", "librosa"}
    assert {module for module in loaded if module.startswith("outpaint_mcp.audio")} <= RECORDS


def test_a_server_that_is_only_asked_for_its_tools_has_loaded_no_more_than_these() -> None:
    packages = {name.split(".")[1] for name in loaded_by(SERVER) if name.startswith("outpaint_mcp.")}
    assert not packages & {"jobs", "storage", "sources", "workers"}


def test_what_serves_http_is_loaded_for_that_alone() -> None:
    assert not {name for name in loaded_by(SERVER) if name.startswith("outpaint_mcp.server.http")}


def test_the_records_of_verdicts_and_analyses_load_no_numerics_and_no_schemas() -> None:
    loaded = loaded_by("\n".join(f"import {module}" for module in sorted(RECORDS)))
    assert {module for module in loaded if module.startswith("outpaint_mcp.audio")} == RECORDS
    assert not loaded & {"numpy", "soundfile", "soxr", "pydantic"}


@pytest.mark.smoke
def test_starting_the_server_loads_no_network_client_but_the_protocols_own() -> None:
    by_sdk = loaded_by("import mcp.server")
    ours = loaded_by(OPEN_SERVER)
    assert "outpaint_mcp.sources.download" in ours
    assert "outpaint_mcp.sources.transfer" not in ours
    clients = {"httpx", "httpcore", "requests", "urllib3", "aiohttp", "obstore"}
    assert not clients & (ours - by_sdk)
    assert not {"httpx", "httpcore"} & ours, "the protocol's library has a client of its own"


def test_the_command_line_answers_before_it_loads_the_protocol() -> None:
    assert not loaded_by("import outpaint_mcp.cli.main") & {"mcp", "pydantic", "httpx", "numpy", "sqlite3"}


def test_a_worker_loads_neither_the_protocol_nor_the_network() -> None:
    assert not loaded_by("import outpaint_mcp.workers.worker") & {"mcp", "httpx", "numpy"}


@pytest.mark.smoke
def test_the_installed_version_is_the_packages_own() -> None:
    assert metadata.version("outpaint-mcp") == outpaint_mcp.__version__


def test_the_registry_entry_has_the_packages_name_version_and_variables() -> None:
    record = json.loads((ROOT / "server.json").read_text(encoding="utf-8"))
    assert record["version"] == outpaint_mcp.__version__
    assert len(record["description"]) <= 100
    [package] = record["packages"]
    assert package["identifier"] == "outpaint-mcp"
    assert package["version"] == outpaint_mcp.__version__
    folder = ROOT / "src" / "outpaint_mcp" / "config"
    config = "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
    for variable in package["environmentVariables"]:
        assert f'"{variable["name"]}"' in config


@pytest.mark.smoke
def test_the_package_is_typed() -> None:
    assert (Path(outpaint_mcp.__file__).parent / "py.typed").is_file()


@pytest.mark.parametrize("package", [outpaint_mcp, sources], ids=lambda package: package.__name__)
def test_public_names_exist_and_are_sorted(package: ModuleType) -> None:
    assert package.__all__ == sorted(package.__all__)
    assert all(hasattr(package, name) for name in package.__all__)


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = outpaint_mcp.Nothing


@pytest.mark.smoke
def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "outpaint_mcp", "--version"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, f"outpaint-mcp {outpaint_mcp.__version__}\n")
