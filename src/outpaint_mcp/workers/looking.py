"""Tasks of a worker process that look at a file and make none."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from outpaint_mcp.audio.files.decode import probe as read_header
from outpaint_mcp.audio.files.measure import measure as count
from outpaint_mcp.errors import SourceTooLarge

if TYPE_CHECKING:
    from collections.abc import Callable


def probe(*, path: str, max_seconds: float, say: Callable[..., None]) -> dict[str, Any]:  # noqa: ARG001 - one signature for all tasks
    """Read a file's header; see `audio.decode.probe`."""
    found = read_header(Path(path))
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


def measure(*, path: str, max_seconds: float, say: Callable[..., None]) -> dict[str, Any]:  # noqa: ARG001 - as above
    """Decode a file to see how long it really is; see `audio.pieces.measure`."""
    return count(Path(path), max_seconds)._asdict()


def hear(
    *,
    path: str,
    max_seconds: float,
    picture: str | None,
    seams_seconds: list[float],
    say: Callable[..., None],
) -> dict[str, Any]:
    """Listen to a file, and draw it where a place for the picture is named; see `audio.hear`."""
    from outpaint_mcp.audio.hearing.hear import hear as listen  # noqa: PLC0415 - loads what a look does not need

    heard = listen(
        Path(path), max_seconds=max_seconds, on_progress=lambda share: say(progress=share, step="listening")
    )
    if picture is not None:
        from outpaint_mcp.audio.hearing.picture import draw  # noqa: PLC0415 - loads what listening does not need

        say(progress=1.0, step="drawing")
        Path(picture).write_bytes(draw(Path(path), heard, seams_seconds=seams_seconds))
    told = heard.to_json()
    if heard.key is not None:
        told["key"]["name"] = heard.key.name
    return told
