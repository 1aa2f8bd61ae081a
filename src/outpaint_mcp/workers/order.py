"""What every order for a worker process has in common.

An order and its answer travel as JSON and are checked on both sides; neither side loads numpy for that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Generic, TypeVar

AnswerT_co = TypeVar("AnswerT_co", covariant=True)

ReportProgress = Callable[[float, str], None]
"""Called with the share done, 0 to 1, and the step in a word or two."""


class Order(Generic[AnswerT_co]):
    """One task for a worker process; its class names the task, its type argument the answer."""

    __slots__ = ()


def paths_in(value: object) -> Iterator[Path]:
    """Return all paths in an order or an answer."""
    if isinstance(value, Path):
        yield value
    elif isinstance(value, tuple):
        for each in value:
            yield from paths_in(each)
    elif is_dataclass(value):
        for part in fields(value):
            yield from paths_in(getattr(value, part.name))
