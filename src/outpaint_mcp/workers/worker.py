"""The worker process: looks at one file, or carries one job out, and says so in JSON lines.

Run as `python -m outpaint_mcp.workers.worker`. The first line of stdin is the order; stdin then stays
open as a lifeline: when it ends, so does the worker, whatever it is doing. stdout answers with
`{"progress", "step"}` lines and ends with one `{"outcome"}` or `{"error", "kind"}`.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from contextlib import suppress
from importlib import import_module
from typing import Any

from outpaint_mcp.errors import GenerationFailed, OutpaintError

# An hour of audio needs about a tenth of this; a job gone astray must not take the machine along.
MAX_MEMORY_BYTES = 4 << 30
_NICENESS = 10
_ROOMS = {
    "probe": "looking",
    "measure": "looking",
    "hear": "looking",
    "crop": "making",
    "context": "making",
    "extend": "making",
    "assemble": "finishing",
    "finish": "finishing",
    "convert": "making",
}
"""Where each task is; only that room, and what it needs, is loaded."""


def main() -> None:
    """Carry out the one order on stdin."""
    # Decoders print warnings: what is not an answer must not look like one.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(**answer: Any) -> None:  # noqa: ANN401 - JSON
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    order = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    _be_modest()
    try:
        task = order.pop("task")
        room = import_module(f"outpaint_mcp.workers.{_ROOMS[task]}")
        say(outcome=getattr(room, task)(say=say, **order))
    except OutpaintError as exc:
        say(error=str(exc), kind=type(exc).__name__)
    except MemoryError:
        say(
            error="The worker ran out of memory. Try a shorter source or extension, or fewer jobs at once.",
            kind=GenerationFailed.__name__,
        )
    except OSError as exc:
        say(error=f"The worker could not use a file: {exc.strerror or exc}.", kind=GenerationFailed.__name__)


def _end_with_stdin() -> None:
    # Not through `sys.stdin`, whose lock the interpreter wants when it ends.
    while os.read(0, 1 << 12):
        pass
    os._exit(1)


def _be_modest() -> None:
    """Leave the processor to whoever is waited for, and bound the memory."""
    with suppress(AttributeError):  # POSIX only
        os.nice(_NICENESS)
    try:
        import resource  # noqa: PLC0415 - POSIX only
    except ImportError:
        return
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    if most == resource.RLIM_INFINITY or most > MAX_MEMORY_BYTES:
        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, most))


if __name__ == "__main__":
    main()
