"""A recording that claims to be enormous does not fill the memory of the machine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from tests.attack.container_bombs import fragment_of_tiny_packets, m4a_of_tiny_packets
from tests.attack.target import measuring
from tests.audio.encoding import encode, music
from tests.e2e.processes import HAS_PROC
from tests.workers import measure, probe

from outpaint_mcp.errors import GenerationFailed, UnsupportedAudio
from outpaint_mcp.workers.pool import WorkerPool

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not HAS_PROC, reason="looks at /proc, and only Linux bounds what is filled"),
]


@pytest.mark.parametrize("claiming", [m4a_of_tiny_packets, fragment_of_tiny_packets])
async def test_an_index_of_eighty_million_entries_is_refused_within_a_gibibyte(
    tmp_path: Path, claiming: Callable[[bytes, int], bytes]
) -> None:
    good = encode(tmp_path / "good.m4a", music(1.0), "aac", "mp4").read_bytes()
    path = tmp_path / "claiming.m4a"
    path.write_bytes(claiming(good, 80_000_000))
    pool = WorkerPool()
    try:
        with measuring(os.getpid()) as most:
            for order in (probe(path), measure(path)):
                with pytest.raises((UnsupportedAudio, GenerationFailed)):
                    await pool.run(order)
    finally:
        await pool.close()
    assert most[0] < 1024
