"""What a terminal, a file or a pipe can take: characters that it lacks, and a reader that has gone."""

from __future__ import annotations

import codecs
import errno
import os
from contextlib import suppress
from io import TextIOWrapper
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO

_HANDLER = "outpaint-mcp"


def prepare(*streams: TextIO | None) -> None:
    r"""Have the streams write characters that their encoding lacks as `\u266a`, in JSON as in text."""
    codecs.register_error(_HANDLER, _escaped)
    for stream in streams:
        if isinstance(stream, TextIOWrapper):  # a program without a console has none
            stream.reconfigure(errors=_HANDLER)


def _escaped(failure: UnicodeError) -> tuple[str, int]:
    """Escape what cannot be encoded as JSON does, in UTF-16."""
    if not isinstance(failure, UnicodeEncodeError):
        raise failure
    units = failure.object[failure.start : failure.end].encode("utf-16-be", "surrogatepass")
    pairs = (units[at : at + 2].hex() for at in range(0, len(units), 2))
    return "".join(f"\\u{pair}" for pair in pairs), failure.end


def is_closed_pipe(failure: BaseException) -> bool:
    """Whether an error says that nobody reads the output any more."""
    on_windows = isinstance(failure, OSError) and failure.errno == errno.EINVAL and os.name == "nt"
    return isinstance(failure, BrokenPipeError) or on_windows


def finish(*streams: TextIO | None) -> OSError | None:
    """Write out what the streams still hold, and return why that failed, if it did; the rest then goes nowhere."""
    failure = None
    for stream in filter(None, streams):
        try:
            stream.flush()
        except OSError as exc:
            failure = exc
            with suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)
    return failure
