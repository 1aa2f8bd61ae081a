"""A local file becomes something that the hosted model can read: a link into a bucket, or part of the request."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING

from outpaint_mcp.errors import SourceNotHosted

if TYPE_CHECKING:
    from pathlib import Path

    from outpaint_mcp.hosted.bucket import Bucket

# What the vendor's own nodes put into a request at most.
INLINE_BYTES = 16 * 1024**2

HOW_TO_HOST = (
    "Put the file where a public https link leads to it and give that link, or have the operator set OUTPAINT_UPLOAD"
    " to a bucket (s3://bucket/prefix)."
)


class Handover:
    """The operator's bucket where there is one; otherwise the request itself."""

    def __init__(self, bucket: Bucket | None) -> None:
        self._bucket = bucket

    @property
    def is_inline(self) -> bool:
        """Whether audio goes out inside of requests."""
        return self._bucket is None

    @property
    def max_bytes(self) -> int | None:
        """The largest file that can be handed over; None for any."""
        return INLINE_BYTES if self.is_inline else None

    def takes(self, path: Path) -> bool:
        """Whether a file can be handed over as it is."""
        return self.max_bytes is None or path.stat().st_size <= self.max_bytes

    async def give(self, path: Path, name: str, media_type: str) -> str:
        """Return an `audio` for a file: a link that lives for a day, or a data: URI.

        Raises:
            SourceNotHosted: the bucket did not take it, or it is too large for a request.
        """
        if self._bucket is not None:
            return await self._bucket.put(path, name, media_type=media_type)
        content = await asyncio.to_thread(path.read_bytes)
        if len(content) > INLINE_BYTES:
            raise SourceNotHosted(
                f"{len(content) / 2**20:.0f} MiB of audio are too much for a request, which takes"
                f" {INLINE_BYTES // 2**20}. {HOW_TO_HOST}"
            )
        text = await asyncio.to_thread(lambda: base64.b64encode(content).decode("ascii"))
        return f"data:{media_type};base64,{text}"

    async def take_back(self, name: str) -> None:
        """Remove what was given under this name; what cannot be is only logged."""
        if self._bucket is not None:
            await self._bucket.remove(name)
