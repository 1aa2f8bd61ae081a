"""A submission's body with a file inside: made piece by piece, as it is sent.

Base64 and JSON of 16 MiB keep the interpreter, and so everybody else, busy for a tenth of a second.
"""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from outpaint_mcp.providers.remote.model import InlineFile
    from outpaint_mcp.providers.runcomfy.api.reading import Json

# Encoded in a fraction of a millisecond; a multiple of three, so that the pieces join without padding.
_PIECE_BYTES = 3 << 16

_PLACE = "data:audio/place"


def encoded(payload: Json, inline: InlineFile | None) -> tuple[int, AsyncIterator[bytes]]:
    """Return a submission's body as its length in bytes, and as what to send.

    Args:
        payload: the model's inputs.
        inline: what goes out in the place of `audio`, if anything does.

    Raises:
        OSError: the file is not there.
    """
    if inline is None:
        body = json.dumps(payload).encode()
        return len(body), _whole(body)
    # The first field: nobody's words come before it.
    head, _, tail = json.dumps({"audio": _PLACE} | payload | {"audio": _PLACE}).partition(_PLACE)
    head += f"data:{inline.media_type};base64,"
    size = inline.path.stat().st_size
    return len(head) + 4 * -(-size // 3) + len(tail), _pieces(head.encode(), inline.path, tail.encode())


async def _whole(body: bytes) -> AsyncIterator[bytes]:
    yield body


async def _pieces(head: bytes, path: Path, tail: bytes) -> AsyncIterator[bytes]:
    yield head
    with path.open("rb") as file:
        while piece := await asyncio.to_thread(file.read, _PIECE_BYTES):
            yield b64encode(piece)
    yield tail
