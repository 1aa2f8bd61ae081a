"""Whether a longer file is what it is said to be."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile

if TYPE_CHECKING:
    from tests.e2e.rpc import Json


def check_longer_file(result: Json, source: Path) -> None:
    """Check a result's file: there, whole, as long as it is said to be, the source in it sample by sample.

    Args:
        result: a completed answer of get_outpaint_result.
        source: the 16-bit file that was extended.

    Raises:
        AssertionError: it is not.
    """
    path = Path(result["path"])
    assert hashlib.sha256(path.read_bytes()).hexdigest() == result["sha256"]
    longer, sample_rate = soundfile.read(path, dtype="int32", always_2d=True)
    original, source_rate = soundfile.read(source, dtype="int32", always_2d=True)
    assert sample_rate == source_rate
    first = round(result["before_seconds"] * sample_rate)
    added = first + round(result["after_seconds"] * sample_rate)
    assert len(longer) == len(original) + added
    assert np.array_equal(longer[first : first + len(original)], original)
