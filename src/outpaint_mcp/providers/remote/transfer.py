"""A local file becomes something that a remote model can read: a link into a bucket, or part of the request."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from outpaint_mcp.errors import SourceNotHosted
from outpaint_mcp.providers.remote.model import InlineFile

if TYPE_CHECKING:
    from pathlib import Path

    from outpaint_mcp.providers.remote.bucket import Bucket

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
    """

    audio: str = field(repr=False)
    inline: InlineFile | None = None


class AudioTransfer:
    """Uses the operator's bucket where there is one; otherwise the request itself."""

    def __init__(self, bucket: Bucket | None, inline_bytes: int) -> None:
        """Choose the way.

        Args:
            bucket: where files are put; None to send them inside requests.
            inline_bytes: the largest file inside a request.
        """
        self._bucket = bucket
        self._inline_bytes = inline_bytes

    @property
    def is_inline(self) -> bool:
        """Whether audio goes out inside requests."""
        return self._bucket is None

    @property
    def max_bytes(self) -> int | None:
        """The largest file that can be transferred; None for any."""
        return self._inline_bytes if self.is_inline else None

    def fits(self, path: Path) -> bool:
        """Whether a file can be transferred as it is."""
        return self.max_bytes is None or path.stat().st_size <= self.max_bytes

    async def give(self, path: Path, name: str, media_type: str) -> TransferredAudio:
        """Make a file readable for the model: by a link that lives for a day, or inside the request.

        Raises:
            SourceNotHosted: the bucket did not take it, or it is too large for a request.
        """
        if self._bucket is not None:
            return TransferredAudio(audio=await self._bucket.put(path, name, media_type=media_type))
        if not self.fits(path):
            raise SourceNotHosted(
                f"The audio is too large for a request, which holds {self._inline_bytes // 2**20} MiB. {HOW_TO_HOST}"
            )
        return TransferredAudio(audio="data:", inline=InlineFile(path, media_type))

    async def remove(self, name: str) -> None:
        """Remove what was given under this name; a failure is only logged."""
        if self._bucket is not None:
            await self._bucket.remove(name)
