"""Links that open one thing to whoever has them: a result, a place to send a file to, the deletion of a request."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from outpaint_mcp.principals import Principal

if TYPE_CHECKING:
    from collections.abc import Callable

RESULT_HOURS = 24
"""How long a result can be downloaded, again and again."""
UPLOAD_HOURS = 1
"""How long a link waits for its one file."""

_HOUR_SECONDS = 3600
_NONCE_BYTES = 12


class Purpose(StrEnum):
    """What a link is for; it is good for nothing else."""

    RESULT = "get"
    UPLOAD = "put"
    DELETION = "del"


@dataclass(frozen=True, slots=True)
class Claim:
    """What a link says, signed by us.

    Attributes:
        purpose: what it is for.
        owner: whose it is, as `Principal.owner` has it.
        about: the request; of an upload, what tells the link from all others.
        form: of a result, as `ExportOptions` has it as text.
        name: under which a result is saved, where one was asked for.
        expires_at: in Unix seconds.
    """

    purpose: Purpose
    owner: str
    about: str
    form: str
    name: str
    expires_at: int

    @property
    def principal(self) -> Principal:
        """Whose it is."""
        return Principal(known_as=self.owner)

    @property
    def expires(self) -> str:
        """When it ends, in words."""
        return f"{datetime.fromtimestamp(self.expires_at, UTC):%Y-%m-%d %H:%M} UTC"


class FileLinks:
    """Makes links and reads them again; nothing of them is stored."""

    def __init__(self, key: bytes, public_url: str, *, now: Callable[[], float] = time.time) -> None:
        """Prepare.

        Args:
            key: what they are signed with, the same on every server behind one address.
            public_url: what callers reach the server by, without a slash at its end.
            now: Unix seconds.
        """
        self._key = key
        self._public_url = public_url
        self._now = now

    def result(self, principal: Principal, request_id: str, form: str, name: str = "") -> str:
        """Return where a result can be downloaded for a day.

        Args:
            principal: whose it is.
            request_id: the take.
            form: its `ExportOptions` as text.
            name: under which it is to be saved; its own where there is none.
        """
        return f"{self._public_url}/files/{self._sign(Purpose.RESULT, principal, request_id, form, name)}"

    def upload(self, principal: Principal) -> str:
        """Return where a person can send one file, within the hour."""
        return f"{self._public_url}/drop/{self._sign(Purpose.UPLOAD, principal, secrets.token_hex(_NONCE_BYTES))}"

    def deletion(self, principal: Principal, request_id: str) -> str:
        """Return where a request can be deleted with its files."""
        return f"{self._public_url}/delete/{self._sign(Purpose.DELETION, principal, request_id)}"

    def read(self, token: str, purpose: Purpose) -> Claim | None:
        """Return what the last part of a link says; None where it is not ours, for something else, or too old.

        What is not ours takes the same time, whatever it looks like.
        """
        content, _, signature = token.partition(".")
        if not hmac.compare_digest(self._signature(content).encode(), signature.encode(errors="replace")):
            return None
        claim = Claim(*json.loads(urlsafe_b64decode(f"{content}==")))
        return claim if claim.purpose == purpose and claim.expires_at > self._now() else None

    def _sign(
        self, purpose: Purpose, principal: Principal, about: str, form: str = "", name: str = ""
    ) -> str:
        hours = UPLOAD_HOURS if purpose is Purpose.UPLOAD else RESULT_HOURS
        expires_at = int(self._now()) + hours * _HOUR_SECONDS
        claim = [purpose, principal.owner, about, form, name, expires_at]
        content = _as_text(json.dumps(claim, separators=(",", ":")).encode())
        return f"{content}.{self._signature(content)}"

    def _signature(self, content: str) -> str:
        return _as_text(hmac.digest(self._key, content.encode(errors="replace"), hashlib.sha256))


def _as_text(content: bytes) -> str:
    return urlsafe_b64encode(content).decode().rstrip("=")
