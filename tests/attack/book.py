"""What was tried and what held: rows of a table, counted as the attack goes."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MOST_FAILURES_SHOWN = 5
_LOCK = threading.Lock()


@dataclass(slots=True)
class Row:
    """One kind of attack.

    Attributes:
        attacked: what was tried, as the table has it.
        failures: what did not hold, each in a line.
        figures: what was measured, such as the most memory.
        notes: what the terminal shows besides, and no table, since it is not the same in each run.
    """

    area: str
    attacked: str
    tried: int = 0
    failures: list[str] = field(default_factory=list)
    figures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def check(self, held: object, what: str) -> None:
        """Count one try; from any thread."""
        with _LOCK:
            self.tried += 1
            if not held:
                self.failures.append(what)

    def at_most(self, value: float, bound: float, unit: str, what: str) -> None:
        """Count a measured bound as one try; the bound stands in the table, so that each run writes the same."""
        self.check(value <= bound, f"{what}: {value:.0f} {unit}, more than {bound:.0f}")
        self.figures.append(f"{what} at most {bound:.0f} {unit}")

    @property
    def held(self) -> int:
        """How many tries held."""
        return self.tried - len(self.failures)

    def words(self) -> str:
        """Return it as a line for the terminal, with the first of its failures below."""
        lines = [
            f"{self.area}: {self.attacked}: {self.held} of {self.tried} held",
            *self.figures,
            *self.notes,
        ]
        shown = self.failures[:_MOST_FAILURES_SHOWN]
        lines += [f"DID NOT HOLD: {each[:700]}" for each in shown]
        if len(self.failures) > len(shown):
            lines.append(f"... and {len(self.failures) - len(shown)} more")
        return "\n    ".join(lines)

    def markdown(self) -> str:
        """Return the row of the table."""
        figures = f"; {'; '.join(self.figures)}" if self.figures else ""
        return f"| {self.area} | {self.attacked}{figures} | {self.tried:,} | {self.held:,} |"


class Book:
    """All rows, in the order in which they were begun; each is shown when it ends."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self.rows: list[Row] = []
        self._show = show

    @contextmanager
    def row(self, area: str, attacked: str) -> Iterator[Row]:
        """Begin a row; an error in the block is one more try that did not hold, and the attack goes on."""
        row = Row(area, attacked)
        self.rows.append(row)
        began = time.monotonic()
        try:
            yield row
        except Exception as exc:  # noqa: BLE001 - an attack that breaks its own client has been noticed, not stopped
            row.check(held=False, what=f"the attack itself ended: {type(exc).__name__}: {exc}"[:600])
        if not row.tried:
            row.check(held=False, what="nothing was tried")
        self._show(f"{row.words()} ({time.monotonic() - began:.0f} s)")

    @property
    def failures(self) -> int:
        """How many tries did not hold."""
        return sum(len(row.failures) for row in self.rows)

    def markdown(self) -> str:
        """Return the whole table."""
        head = ["| area | attacked | tried | held |", "|---|---|---|---|"]
        tried, held = sum(row.tried for row in self.rows), sum(row.held for row in self.rows)
        return "\n".join([*head, *(row.markdown() for row in self.rows), f"| | all | {tried:,} | {held:,} |"])
