"""Who asks: the person at this machine, or one of the callers who share a server over HTTP."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field

_UNSAFE = re.compile(r"[^a-z0-9]+")
_NAME_CHARACTERS = 24
_DIGEST_CHARACTERS = 16


@dataclass(frozen=True, slots=True)
class Principal:
    """Whoever a request belongs to: nobody else sees it.

    A subject is unique with its issuer only, and one client may act for many.

    Attributes:
        client: the name of a key, or the client that OAuth tells of; empty for the person at this machine.
        issuer: who vouches for the subject; empty for a key.
        subject: on whose behalf the client asks; empty for a key.
        sees_all: whether everybody's requests are shown: to the operator, at a terminal of this machine.
        known_as: their `owner`, where no more is known of them: from a link of ours, or in the data folder.
        tokens: the secrets that they bring along for services of their own account, by the name of the provider.
    """

    client: str = ""
    issuer: str = ""
    subject: str = ""
    sees_all: bool = False
    known_as: str = ""
    tokens: tuple[tuple[str, str], ...] = field(default=(), repr=False, compare=False)

    @property
    def is_remote(self) -> bool:
        """Whether paths of this machine mean nothing to them."""
        return bool(self.client or self.issuer or self.subject or self.known_as)

    @property
    def digest(self) -> str:
        """What tells them apart in logs without saying who they are; empty for the person at this machine."""
        if not self.is_remote:
            return ""
        if self.known_as:
            return self.known_as.rpartition("-")[2]
        # The lengths keep the parts apart, whatever is in them.
        parts = "".join(f"{len(each)}:{each}" for each in (self.client, self.issuer, self.subject))
        return hashlib.sha256(parts.encode()).hexdigest()[:_DIGEST_CHARACTERS]

    @property
    def owner(self) -> str:
        """What is stored with what is theirs, and names their folder; empty for the person at this machine."""
        if self.known_as or not self.is_remote:
            return self.known_as
        name = _UNSAFE.sub("-", self.client.lower())[:_NAME_CHARACTERS].strip("-")
        return "-".join(filter(None, (name, self.digest)))

    def token_for(self, provider: str) -> str:
        """Return the token that they bring along for a provider; empty where they bring none."""
        return dict(self.tokens).get(provider, "")


PERSON = Principal()
"""The person at this machine: over stdio, and over HTTP with the secret that only they can read."""

OPERATOR = Principal(sees_all=True)
"""The same person at a terminal, who looks after everybody's requests."""
