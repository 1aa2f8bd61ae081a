"""SIGKILL of the server, of workers, and of both, at random moments: what becomes of the requests.

`python -m bench.kill_loop` from the project's root. All rounds share one data folder, as the servers of
a person's machine do; every second round's output folder lies on another disk, where there is one.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from tests.e2e.rounds import House, Round, Victim

from outpaint_mcp.cli.demo_music import compose_piece

if TYPE_CHECKING:
    from collections.abc import Iterator

_OTHER_DISK = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it


def main() -> int:
    """Play the rounds and print a table; exits with 1 at the first round that breaks a promise."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=50, help="how many (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of moments, victims and requests (%(default)s)")
    chosen = parser.parse_args()
    elsewhere = _OTHER_DISK if _OTHER_DISK.is_dir() else None
    played = []
    with TemporaryDirectory() as here, TemporaryDirectory(dir=elsewhere) as there:
        try:
            for each in _play(chosen.rounds, chosen.seed, Path(here), Path(there)):
                played.append(each)
                print(f"{len(played)}/{chosen.rounds} {each}", file=sys.stderr)
        except AssertionError as exc:
            print(f"Round {len(played) + 1} broke a promise: {exc}")
            return 1
    print(_table(played))
    return 0


def _play(rounds: int, seed: int, here: Path, there: Path) -> Iterator[Round]:
    music = here / "Music"
    music.mkdir()
    compose_piece(music / "piece.wav")
    environment = {
        "OUTPAINT_INPUT_DIRS": str(music),
        "OUTPAINT_OUTPUT_DIR": str(here / "Longer"),
        "OUTPAINT_DATA_DIR": str(here / "data"),
    }
    near = House(environment, music / "piece.wav")
    far = replace(near, environment=environment | {"OUTPAINT_OUTPUT_DIR": str(there / "Longer")})
    rng = random.Random(seed)  # noqa: S311 - the same moments each time
    for number in range(rounds):
        yield (near, far)[number % 2].play(tuple(Victim)[number % 3], rng)


def _table(played: list[Round]) -> str:
    lines = [
        "| killed | rounds | requests | not yet accepted | workers killed | started again | completed | failed |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for victim in Victim:
        rounds = [each for each in played if each.victim is victim]
        total = Counter[str]()
        for each in rounds:
            total.update(
                submitted=each.submitted,
                unanswered=each.unanswered,
                workers_killed=each.workers_killed,
                restarts=each.restarts,
                completed=each.completed,
                failed=each.failed,
            )
        counts = ("submitted", "unanswered", "workers_killed", "restarts", "completed", "failed")
        lines.append(f"| {victim} | {len(rounds)} | {' | '.join(str(total[each]) for each in counts)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
