"""A job from acceptance to its output file, and where its source comes from."""

from __future__ import annotations

import asyncio
import http.client
import secrets
import urllib.request
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.parse import urlsplit

from tests.fakes import model
from tests.fakes.contract import LOOPBACK, decode_data_uri

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.fakes.switches import Json, Switches

_FETCH_SECONDS = 30.0
_MAX_SOURCE_BYTES = 1024**3


@dataclass(slots=True, kw_only=True)
class Job:
    """What the service keeps of one accepted submission.

    Attributes:
        inputs: as they were posted.
        status: the word that was said last, or `completed`, `failed` or `cancelled`.
        polls: status calls that moved it on.
        queue_position: 1 is next.
        seconds: length of the output, once it is completed.
        cost_usd: what was billed, once it is completed.
        error: why it failed.
        is_due: whether it is completed at the next look, however few the polls.
        container: the output file's.
        signatures: queries that open the output's URL.
    """

    inputs: Json
    status: str
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    polls: int = 0
    queue_position: int = 1
    seconds: float = 0.0
    cost_usd: float = 0.0
    error: str = ""
    is_due: bool = False
    is_expired: bool = False
    container: str = ""
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    finished_at: datetime | None = None
    signatures: set[str] = field(default_factory=set)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _source: bytes = b""
    _plan: model.Plan | None = None

    @property
    def is_over(self) -> bool:
        """Whether it is in a final state."""
        return self.finished_at is not None

    @property
    def said(self) -> str:
        """What `/status` calls its status: a failure only shows on `/result`."""
        return "completed" if self.status == "failed" else self.status

    def end(self, status: str) -> None:
        """Put it in a final state."""
        self.status = status
        self.finished_at = datetime.now(UTC)

    def complete(self, switches: Switches, web: Mapping[str, bytes]) -> None:
        """Fetch the source and work out what comes of it; slow, so not for an event loop."""
        try:
            source = fetch(str(self.inputs["audio"]), web)
            made = model.plan(source, self.inputs, switches)
        except model.ModelFailedError as exc:
            self.error = str(exc)
            self.end("failed")
            return
        self._source, self._plan, self.container = source, made, switches.container
        self.seconds = made.seconds
        if switches.price_unit == "output":
            self.cost_usd = switches.price_usd
        else:
            billed = made.asked_seconds + (made.source_seconds if switches.billed_source else 0)
            self.cost_usd = round(billed * switches.price_usd, 6)
        self.end("completed")

    def output(self, folder: Path) -> bytes:
        """Return the output file, which is made when it is first wanted; slow."""
        path = folder / f"{self.request_id}.{self.container}"
        if not path.exists():
            assert self._plan is not None
            part = path.with_stem(f"{path.stem}-part")
            model.render(self._source, self.inputs, self._plan, part)
            part.rename(path)
            self._source = b""
        return path.read_bytes()

    def sign(self) -> str:
        """Return a new query that opens the output's URL."""
        query = f"X-Amz-Expires=3600&X-Amz-Signature={secrets.token_hex(32)}"
        self.signatures.add(query)
        return query


def fetch(audio: str, web: Mapping[str, bytes]) -> bytes:
    """Get a source's bytes as the service does, without any credentials.

    Raises:
        ModelFailedError: nobody can get it without some.
    """
    if audio.startswith("data:"):
        return decode_data_uri(audio)
    if audio in web:
        return web[audio]
    parts = urlsplit(audio)
    if parts.scheme == "http" and parts.hostname in LOOPBACK:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(audio, timeout=_FETCH_SECONDS) as answer:
                return bytes(answer.read(_MAX_SOURCE_BYTES))
        except HTTPError as exc:
            exc.close()
        except (OSError, http.client.HTTPException, ValueError):
            pass
    raise model.ModelFailedError(f"could not download {audio}")
