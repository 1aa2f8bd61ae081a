"""The sides of a source; numpy is not loaded for this."""

from __future__ import annotations

from enum import StrEnum


class Side(StrEnum):
    """The side of the source on which music is added."""

    BEFORE = "before"
    AFTER = "after"
