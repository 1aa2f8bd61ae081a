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
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from outpaint_mcp.errors import GenerationFailed, OutpaintError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from outpaint_mcp.audio.outpaint import Outpainted
    from outpaint_mcp.audio.pieces import Piece

# An hour of audio needs about a tenth of this; a job gone astray must not take the machine along.
MAX_MEMORY_BYTES = 4 << 30
_NICENESS = 10
# A predecessor on the same job dies with its server, within moments.
_LOCK_TIMEOUT_SECONDS = 10

_METHODS = {
    "beats": "is its own beats, carried on",
    "texture": "is its own texture, carried on without a beat",
    "loop": "repeats the source, which is too short for more",
    "silence": "is silence, as the source is",
}


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
        say(outcome=_TASKS[order.pop("task")](say=say, **order))
    except OutpaintError as exc:
        say(error=str(exc), kind=type(exc).__name__)
    except MemoryError:
        say(
            error="The worker ran out of memory. Try a shorter source or extension, or fewer jobs at once.",
            kind=GenerationFailed.__name__,
        )
    except OSError as exc:
        say(error=f"The worker could not use a file: {exc.strerror or exc}.", kind=GenerationFailed.__name__)


def _probe(*, path: str, max_seconds: float, say: Callable[..., None]) -> dict[str, Any]:  # noqa: ARG001 - one signature for all tasks
    from outpaint_mcp.audio.decode import probe  # noqa: PLC0415 - loads numpy
    from outpaint_mcp.errors import SourceTooLarge  # noqa: PLC0415

    found = probe(Path(path))
    if found.seconds > max_seconds:
        raise SourceTooLarge(
            f"The source lasts {found.seconds / 60:.0f} minutes; at most {max_seconds / 60:.0f} can be extended."
        )
    return {
        "seconds": found.seconds,
        "container": found.container,
        "subtype": found.subtype,
        "channels": found.channels,
    }


def _measure(*, path: str, max_seconds: float, say: Callable[..., None]) -> dict[str, Any]:  # noqa: ARG001 - as above
    from outpaint_mcp.audio.pieces import measure  # noqa: PLC0415 - loads numpy

    return measure(Path(path), max_seconds)._asdict()


def _context(  # noqa: PLR0913 - the order, spelled out
    *,
    source: str,
    side: str,
    pieces: list[dict[str, Any]],
    destination: str,
    seconds: float,
    max_bytes: int | None,
    say: Callable[..., None],  # noqa: ARG001 - as above
) -> dict[str, Any]:
    from outpaint_mcp.audio.contexts import write_context  # noqa: PLC0415 - loads numpy
    from outpaint_mcp.audio.shapes import Side  # noqa: PLC0415

    with _in_its_place(Path(destination)) as part:
        made = write_context(
            Path(source), Side(side), _pieces(pieces), part, seconds=seconds, max_bytes=max_bytes
        )
    return {"seconds": made.seconds, "media_type": made.media_type}


def _assemble(  # noqa: PLR0913 - the order, spelled out
    *,
    source: str,
    before: list[dict[str, Any]],
    after: list[dict[str, Any]],
    folder: str,
    max_source_seconds: float,
    say: Callable[..., None],
) -> dict[str, Any]:
    from outpaint_mcp.audio.assemble import assemble  # noqa: PLC0415 - loads numpy
    from outpaint_mcp.audio.decode import probe  # noqa: PLC0415
    from outpaint_mcp.audio.encode import delivery_format  # noqa: PLC0415

    output = Path(folder, f"output{delivery_format(probe(Path(source))).suffix}")
    with _in_its_place(output) as part:
        made = assemble(
            Path(source),
            _pieces(before),
            _pieces(after),
            part,
            max_source_seconds=max_source_seconds,
            on_progress=lambda share, step: say(progress=share, step=step),
        )
    return {
        "path": str(output),
        "sha256": made.sha256,
        "size_bytes": made.size_bytes,
        "duration_seconds": made.duration_seconds,
        "before_seconds": made.before_frames / made.sample_rate,
        "after_seconds": made.after_frames / made.sample_rate,
        "source_lossless": made.source_lossless,
        "source_intact": made.source_intact,
        "loose_joins": sum(not join.aligned for join in made.joins),
    }


def _pieces(told: list[dict[str, Any]]) -> list[Piece]:
    from outpaint_mcp.audio.pieces import Piece  # noqa: PLC0415 - loads numpy

    return [Piece(Path(each["path"]), each["context_seconds"]) for each in told]


@contextmanager
def _in_its_place(output: Path) -> Iterator[Path]:
    """Write a file under a name of this process's own; it is in its place when it is whole."""
    part = output.with_name(f"{output.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(output)
    finally:
        part.unlink(missing_ok=True)


def _extend(  # noqa: PLR0913 - the order, spelled out
    *,
    source: str,
    folder: str,
    before_seconds: float,
    after_seconds: float,
    seed: int,
    max_seconds: float,
    say: Callable[..., None],
) -> dict[str, Any]:
    from filelock import FileLock, Timeout  # noqa: PLC0415 - after the order is read

    from outpaint_mcp.audio.outpaint import outpaint_file  # noqa: PLC0415 - loads numpy

    here = Path(folder)
    here.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(here / "lock", timeout=_LOCK_TIMEOUT_SECONDS):
            part = here / "output.part"
            made = outpaint_file(
                Path(source),
                part,
                before_seconds=before_seconds,
                after_seconds=after_seconds,
                seed=seed,
                max_source_seconds=max_seconds,
                on_progress=lambda share, step: say(progress=share, step=step),
            )
            output = here / f"output{'.flac' if made.container == 'FLAC' else '.wav'}"
            part.replace(output)
    except Timeout as exc:
        raise GenerationFailed("Another process is still working on this request; submit it again.") from exc
    return {
        "path": str(output),
        "sha256": made.sha256,
        "size_bytes": made.size_bytes,
        "duration_seconds": made.duration_seconds,
        "before_seconds": made.before_frames / made.sample_rate,
        "after_seconds": made.after_frames / made.sample_rate,
        "seed": seed,
        "note": _note(made),
    }


def _note(made: Outpainted) -> str:
    """Say in a few sentences how the longer file was made."""
    kept = "is inside bit for bit" if made.source_lossless else "is inside as it decodes, at 24 bits"
    damaged = "" if made.source_intact else " It is damaged, and ends where decoding it did."
    methods = {method for method in (made.method_before, made.method_after) if method}
    how = "; ".join(_METHODS[method] for method in sorted(methods))
    if made.tempo_bpm is not None:
        how += f" ({made.tempo_bpm:.0f} bpm)"
    return f"The source {kept}.{damaged} The music added {how}. Tags and lyrics did not steer it."


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


_TASKS: dict[str, Callable[..., dict[str, Any]]] = {
    "probe": _probe,
    "measure": _measure,
    "context": _context,
    "extend": _extend,
    "assemble": _assemble,
}

if __name__ == "__main__":
    main()
