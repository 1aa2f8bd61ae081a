"""An answer of the service, read within bounds: whatever is at the other end, it cannot fill the memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outpaint_mcp.errors import UnexpectedReply

if TYPE_CHECKING:
    import httpx

HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "outpaint-mcp"}
"""Sent with every call; an encoded answer could grow without bound when decoded."""

# A thousand times what any answer has.
MOST_BYTES = 1024**2


async def read_bounded(response: httpx.Response) -> bytes:
    """Read the body of an answer that is streamed; whoever calls this bounds its time.

    Raises:
        UnexpectedReply: it is encoded, or too large.
    """
    if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise UnexpectedReply("it is compressed, which was not asked for")
    content = bytearray()
    async for chunk in response.aiter_raw():
        content += chunk
        if len(content) > MOST_BYTES:
            raise UnexpectedReply(f"it is larger than {MOST_BYTES // 2**20} MiB")
    return bytes(content)
