"""What a server and its nursery send each other: messages of a fixed size, so that none is cut at another."""

from __future__ import annotations

import struct

REQUEST = struct.Struct("!cI16s")
"""What is asked, the worker's number, and the name of its task where one is to be forked."""
REPLY = struct.Struct("!cIi")
"""What happened, the worker's number, and a process id, an error number below 0, or an exit code."""

FORK = b"F"
"""With the far ends of stdin, stdout and stderr."""
KILL = b"K"
STARTED = b"S"
ENDED = b"E"
