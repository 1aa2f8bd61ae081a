"""How much those who connect can take up: descriptors, memory, sessions, time."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass

_MOST_CONNECTIONS = 4096
_LEAST_CONNECTIONS = 32
# For the journal, the workers and the network, and for what is accepted before it is counted.
_RESERVED_DESCRIPTORS = 192


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What is taken from callers at most.

    Attributes:
        connections: how many at once; beyond that, the one that has sent no request for the longest is closed.
        header_seconds: from the opening of a connection, or its last answer, to the end of the next header.
        stall_seconds: how long nobody may read an answer.
        body_bytes: the size of one body.
        body_seconds: how long a body may take, and besides...
        body_bytes_per_second: ...a second for as many bytes of it.
        bodies_bytes: the sum of the bodies of all requests that are not answered yet...
        small_body_bytes: ...of which so much of each does not count: whoever sends no audio is never refused.
        sessions: how many that nobody uses at the moment.
        session_seconds: how long nobody may use a session.
    """

    connections: int = _MOST_CONNECTIONS
    header_seconds: float = 15
    stall_seconds: float = 30
    body_bytes: int = 4 * 1024 * 1024
    body_seconds: float = 15
    body_bytes_per_second: float = 32 * 1024
    bodies_bytes: int = 64 * 1024 * 1024
    small_body_bytes: int = 16 * 1024
    sessions: int = 1000
    session_seconds: float = 30 * 60

    @property
    def body_text(self) -> str:
        """The size of a body in words."""
        return f"{self.body_bytes / 1024 / 1024:.3g} MiB"


def most_connections() -> int:
    """Raise this process's limit of open files as far as is needed and allowed; return what it has room for."""
    if sys.platform == "win32":  # has none
        return _MOST_CONNECTIONS
    import resource  # noqa: PLC0415 - not on Windows

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_CONNECTIONS + _RESERVED_DESCRIPTORS
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):  # some systems have a limit besides
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    if soft == resource.RLIM_INFINITY:
        return _MOST_CONNECTIONS
    return max(_LEAST_CONNECTIONS, min(_MOST_CONNECTIONS, soft - _RESERVED_DESCRIPTORS))
