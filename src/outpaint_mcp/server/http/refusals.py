"""Answers of the door itself: JSON-RPC errors, so that a client shows the agent what they say."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mcp.types import INVALID_REQUEST

if TYPE_CHECKING:
    from starlette.types import Send


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A request that is not carried out.

    Attributes:
        status: of HTTP.
        message: what is wrong, and what to do.
        headers: besides those of every answer.
        request_id: the JSON-RPC id, where it could be read.
    """

    status: int
    message: str
    headers: tuple[tuple[bytes, bytes], ...] = ()
    request_id: str | int | None = None

    async def answer(self, send: Send) -> None:
        """Send it."""
        error = {"code": INVALID_REQUEST, "message": self.message}
        body = json.dumps({"jsonrpc": "2.0", "id": self.request_id, "error": error}).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            *self.headers,
        ]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


ONLY_READ = Refusal(
    status=405, message="Only GET and HEAD are answered here.", headers=((b"allow", b"GET, HEAD"),)
)
"""Of what can be read and nothing else."""
