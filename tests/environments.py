"""The smoke part of the suite on the built wheel, with the lowest versions of everything and with the highest.

`python tests/environments.py lowest highest`; needs Python with pip, and the package index. Each has an environment of
its own, and the tests of the source distribution: nothing comes from the checkout.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
REQUIREMENTS: list[str] = (
    PROJECT["project"]["dependencies"] + PROJECT["project"]["optional-dependencies"]["upload"]
)
_NAME = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Release:
    """What users get, built from the checkout, and the pip that installs it.

    Attributes:
        pip: the command of the newest pip, which installs into any environment.
        wheel: as it is built from the source distribution.
        root: the source distribution, unpacked, without the package itself.
    """

    pip: tuple[str | Path, ...]
    wheel: Path
    root: Path

    @classmethod
    def build(cls, scratch: Path, python: str) -> Release:
        """Build it in a folder, with an environment for that alone.

        Raises:
            subprocess.CalledProcessError: it cannot be built.
        """
        tools = scratch / "tools"
        _run(python, "-m", "venv", tools)
        pip = (tools / "bin" / "python", "-m", "pip")
        _run(*pip, "install", "--quiet", "--upgrade", "pip", "build")
        _run(tools / "bin" / "python", "-m", "build", "--outdir", scratch)
        (archive,) = scratch.glob("*.tar.gz")
        with tarfile.open(archive) as packed:
            packed.extractall(scratch, filter="data")
        root = scratch / archive.name.removesuffix(".tar.gz")
        (root / "src").rename(scratch / "not to be imported")
        (wheel,) = scratch.glob("*.whl")
        return cls(pip, wheel, root)


@dataclass(frozen=True, slots=True)
class Environment:
    """A fresh virtual environment with the wheel and the smoke part's own tools."""

    folder: Path
    release: Release

    def run(self, program: str, *arguments: str | Path, **variables: str) -> None:
        """Run a program of this environment beside the tests, with these environment variables besides ours.

        Raises:
            subprocess.CalledProcessError: it failed.
        """
        _run(self.folder / "bin" / program, *arguments, cwd=self.release.root, **variables)

    def create(self, python: str, *requirements: str) -> None:
        """Make the environment, with these requirements besides the wheel's own."""
        _run(python, "-m", "venv", "--without-pip", self.folder)
        # What is never imported need not be compiled.
        options = ("--quiet", "--no-compile", "--group", f"{self.release.root / 'pyproject.toml'}:smoke")
        _run(*self._pip, "install", *options, f"{self.release.wheel}[upload]", *requirements)

    def versions(self, *options: str) -> dict[str, dict[str, str]]:
        """Return what pip says of each installed requirement of the package."""
        command = (*self._pip, "list", "--format=json", *options)
        listed = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        names = {_name(each) for each in REQUIREMENTS}
        return {each["name"].lower(): each for each in listed if each["name"].lower() in names}

    def smoke(self) -> None:
        """Run the program, and the smoke part of the tests."""
        versions = " ".join(f"{name} {each['version']}" for name, each in self.versions().items())
        print(f"   {versions}", flush=True)
        self.run("outpaint-mcp", "--version")
        data, demo = self.folder / "data", self.folder / "demo"
        self.run("outpaint-mcp", "demo", "--output", demo, OUTPAINT_DATA_DIR=str(data))
        tests = (self.release.root / "tests").rglob("test_*.py")
        files = sorted(each for each in tests if "mark.smoke" in each.read_text(encoding="utf-8"))
        options = ("-q", "-n", "2", "--dist", "worksteal", "-m", "smoke")
        self.run("python", "-m", "pytest", *options, *files)

    @property
    def _pip(self) -> tuple[str | Path, ...]:
        return (*self.release.pip, "--python", self.folder / "bin" / "python")


def lowest(environment: Environment, python: str) -> None:
    """Every requirement at its lower bound."""
    environment.create(python, *(each.split(",")[0].replace(">=", "==") for each in REQUIREMENTS))
    environment.smoke()


def highest(environment: Environment, python: str) -> None:
    """Every requirement at the newest version that there is."""
    environment.create(python)  # pip takes the newest where nothing is installed
    for name, each in environment.versions("--outdated").items():
        print(
            f"   not the newest: {name} {each['version']}, since something refuses {each['latest_version']}"
        )
    environment.smoke()


def main() -> int:
    """Run the environments that are asked for; the exit code is 1 where one failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    known = {each.__name__: each for each in (lowest, highest)}
    parser.add_argument("environments", nargs="+", choices=known)
    parser.add_argument("--python", default=sys.executable, help="the interpreter (%(default)s)")
    asked = parser.parse_args()
    failed = []
    with tempfile.TemporaryDirectory() as scratch:
        release = Release.build(Path(scratch), asked.python)
        for name in asked.environments:
            since = time.monotonic()
            print(f"== {name}, {asked.python}: {known[name].__doc__}", flush=True)
            try:
                known[name](Environment(Path(scratch, name), release), asked.python)
            except subprocess.CalledProcessError as error:
                print(f"   {Path(error.cmd[0]).name} ended with {error.returncode}", flush=True)
                failed.append(name)
            print(f"== {name} took {time.monotonic() - since:.0f} s", flush=True)
    print(f"{len(asked.environments) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


def _run(program: str | Path, *arguments: str | Path, cwd: Path = ROOT, **variables: str) -> None:
    subprocess.run([program, *arguments], cwd=cwd, check=True, env=os.environ | variables)


def _name(requirement: str) -> str:
    found = _NAME.match(requirement)
    assert found, requirement
    return found[0].lower()


if __name__ == "__main__":
    sys.exit(main())
