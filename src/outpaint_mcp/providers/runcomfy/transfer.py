"""A local file becomes something that the hosted model can read: a link into a bucket, or part of the request."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from outpaint_mcp.errors import SourceNotHosted
from outpaint_mcp.providers.runcomfy.api.inline import InlineFile

if TYPE_CHECKING:
    from pathlib import Path

    from outpaint_mcp.providers.runcomfy.bucket import Bucket

# What the vendor's own nodes put into a request at most.
INLINE_BYTES = 16 * 1024**2

HOW_TO_HOST = (
    "Put the file where a public https link leads to it and give that link, or have the operator set OUTPAINT_UPLOAD"
    " to a bucket (s3://bucket/prefix)."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferredAudio:
    """What a step is sent with.

    Attributes:
        audio: the input of this name; a secret where it is a signed link.
        inline: what goes out in its place.
        object_name: under which it lies in the bucket.
    """

    audio: str = field(repr=False)
    inline: InlineFile | None = None
    object_name: str | None = None


class AudioTransfer:
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

    async def give(self, path: Path, name: str, media_type: str) -> TransferredAudio:
        """Make a file readable for the model: by a link that lives for a day, or inside of the request.

        Raises:
            SourceNotHosted: the bucket did not take it, or it is too large for a request.
        """
        if self._bucket is not None:
            link = await self._bucket.put(path, name, media_type=media_type)
            return TransferredAudio(audio=link, object_name=name)
        if not self.takes(path):
            raise SourceNotHosted(
                f"The audio is too large for a request, which takes {INLINE_BYTES // 2**20} MiB. {HOW_TO_HOST}"
            )
        return TransferredAudio(audio="data:", inline=InlineFile(path, media_type))

    async def take_back(self, name: str) -> None:
        """Remove what was given under this name; what cannot be is only logged."""
        if self._bucket is not None:
            await self._bucket.remove(name)
