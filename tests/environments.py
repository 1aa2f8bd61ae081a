"""The smoke part of the suite in environments of their own: the lowest versions, the highest, the built wheel.

`python tests/environments.py lowest highest wheel`; needs Python with pip, and the package index.
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
class Environment:
    """A fresh virtual environment and the folder that the tests run in."""

    folder: Path
    python: str

    def run(self, *command: str | Path, cwd: Path = ROOT, **variables: str) -> None:
        """Run a program of this environment, with these environment variables besides ours.

        Raises:
            subprocess.CalledProcessError: it failed.
        """
        program = self.folder / "bin" / command[0]
        subprocess.run([program, *command[1:]], cwd=cwd, check=True, env=os.environ | variables)

    def create(self) -> None:
        """Make the environment, with the newest pip."""
        subprocess.run([self.python, "-m", "venv", self.folder], check=True)
        self.pip("--upgrade", "pip")

    def pip(self, *arguments: str | Path) -> None:
        """Install what is named, and the smoke part's own tools."""
        self.run("python", "-m", "pip", "install", "--quiet", *arguments)

    def versions(self, *options: str) -> dict[str, dict[str, str]]:
        """Return what pip says of each installed requirement of the package."""
        command: list[str | Path] = [self.folder / "bin" / "python", "-m", "pip", "list", "--format=json"]
        command += options
        listed = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        names = {_name(each) for each in REQUIREMENTS}
        return {each["name"].lower(): each for each in listed if each["name"].lower() in names}

    def smoke(self, root: Path) -> None:
        """Run the smoke part of the tests below a folder."""
        versions = " ".join(f"{name} {each['version']}" for name, each in self.versions().items())
        print(f"   {versions}", flush=True)
        files = sorted(
            each for each in (root / "tests").rglob("test_*.py") if "mark.smoke" in each.read_text()
        )
        self.run("python", "-m", "pytest", "-q", "-n", "2", "-m", "smoke", *files, cwd=root)


def lowest(environment: Environment, _scratch: Path) -> None:
    """Every requirement at its lower bound."""
    pins = [each.split(",")[0].replace(">=", "==") for each in REQUIREMENTS]
    environment.pip("--group", "smoke", "-e", ".[upload]", *pins)
    environment.smoke(ROOT)


def highest(environment: Environment, _scratch: Path) -> None:
    """Every requirement at the newest version that there is."""
    upgrade = ("--upgrade", "--upgrade-strategy", "eager")
    environment.pip(*upgrade, "--group", "smoke", "-e", ".[upload]")
    for name, each in environment.versions("--outdated").items():
        print(
            f"   not the newest: {name} {each['version']}, since something refuses {each['latest_version']}"
        )
    environment.smoke(ROOT)


def wheel(environment: Environment, scratch: Path) -> None:
    """The wheel as it is built from the source distribution, tested by the latter's tests and without a checkout."""
    environment.pip("build")
    environment.run("python", "-m", "build", "--outdir", scratch)
    (archive,) = scratch.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(scratch, filter="data")
    root = scratch / archive.name.removesuffix(".tar.gz")
    (root / "src").rename(scratch / "not to be imported")
    (built,) = scratch.glob("*.whl")
    environment.pip("--group", f"{root}/pyproject.toml:smoke", f"{built}[upload]")
    environment.run("outpaint-mcp", "--version", cwd=scratch)
    data = str(scratch / "data")
    environment.run("outpaint-mcp", "demo", "--output", scratch / "demo", cwd=scratch, OUTPAINT_DATA_DIR=data)
    environment.smoke(root)


def main() -> int:
    """Run the environments that are asked for; the exit code is 1 where one failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    known = {each.__name__: each for each in (lowest, highest, wheel)}
    parser.add_argument("environments", nargs="+", choices=known)
    parser.add_argument("--python", default=sys.executable, help="the interpreter (%(default)s)")
    asked = parser.parse_args()
    failed = []
    for name in asked.environments:
        since = time.monotonic()
        print(f"== {name}, {asked.python}: {known[name].__doc__}", flush=True)
        with tempfile.TemporaryDirectory() as scratch:
            environment = Environment(Path(scratch, "environment"), asked.python)
            try:
                environment.create()
                known[name](environment, Path(scratch))
            except subprocess.CalledProcessError as error:
                print(f"   {Path(error.cmd[0]).name} ended with {error.returncode}", flush=True)
                failed.append(name)
        print(f"== {name} took {time.monotonic() - since:.0f} s", flush=True)
    print(f"{len(asked.environments) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


def _name(requirement: str) -> str:
    found = _NAME.match(requirement)
    assert found, requirement
    return found[0].lower()


if __name__ == "__main__":
    sys.exit(main())
