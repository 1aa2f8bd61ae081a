"""The demo, as a person runs it: a client, a server, and an extended file at the end."""

from __future__ import annotations

import os
import subprocess
import sys
import wave
from pathlib import Path
from typing import TYPE_CHECKING

import soundfile

if TYPE_CHECKING:
    from outpaint_mcp.config import Settings


def test_the_demo_ends_with_a_longer_file_that_holds_the_piece(
    settings: Settings, environment: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "demo-3.13.0"
    done = subprocess.run(
        [sys.executable, "-m", "outpaint_mcp", "demo", "--output", folder],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for shown in ("→ submit_outpaint", "→ get_outpaint_result", '← {"request_id":'):
        assert shown in done.stdout
    last = done.stdout.strip().splitlines()[-1]
    assert last.startswith("The extended file (41.8")
    longer = Path(last.partition("): ")[2])
    assert longer.parent == folder
    piece = folder / "Outpaint demo.wav"
    with wave.open(str(piece)) as short, wave.open(str(longer)) as long:
        rate, frames = short.getframerate(), short.getnframes()
        assert long.getnframes() == frames + 28 * rate
        long.setpos(8 * rate)
        assert long.readframes(frames) == short.readframes(frames)
    assert soundfile.info(longer).channels == 2
    assert not settings.output_dir.exists()
