"""What an `audio` argument is: a file in an allowed folder, a link, or the audio itself."""

from __future__ import annotations

import re
from binascii import a2b_base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote

from outpaint_mcp.errors import InvalidRequest, SourceTooLarge, UnsupportedAudio
from outpaint_mcp.sources.links import parse_link, refuse_private_host
from outpaint_mcp.sources.names import quoted, redact, scheme_of, unquoted
from outpaint_mcp.sources.pages import refuse_page
from outpaint_mcp.sources.path_errors import chat_attachment, folders_named
from outpaint_mcp.sources.paths import find_file, path_of_file_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

MAX_INLINE_BYTES = 64 * 1024 * 1024
"""Of decoded audio in a data: URI; more belongs into a file."""

_OTHER_TYPES = frozenset(
    {"application/mp4", "application/octet-stream", "application/ogg", "binary/octet-stream"}
)
"""Under which audio comes, beside those that say so."""

_CHAT_SCHEMES = frozenset({"attachment", "attachments", "cid", "sandbox"})

_DATA_HEAD = re.compile(r"data:([^,;]*)((?:;[^,;]*)*),", re.IGNORECASE)
_DATA_HEAD_CHARACTERS = 1_000

_URL_SAFE_ALPHABET = bytes.maketrans(b"-_", b"+/")
_BLANKS = b" \t\r\n\f\v"
_CHUNK_CHARACTERS = 1 << 18
"""Decoded at a time: each takes 2 ms, for which the event loop has to wait for the interpreter."""

_ENDING_CHARACTERS = 64
"""Where padding and blanks are looked for at the end."""


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file on this machine.

    Attributes:
        path: absolute, without symbolic links; a regular file inside an allowed folder.
        is_exact: whether it was given by its path, or is the only file that a name fits.
    """

    path: Path
    is_exact: bool = True


@dataclass(frozen=True, slots=True)
class RemoteUrl:
    """A link that has not been fetched yet.

    Attributes:
        url: https, well-formed, in ASCII, its host not obviously private. It can be a pre-signed link and is
            as secret as what it opens.
    """

    url: str

    def __repr__(self) -> str:
        return f"RemoteUrl({redact(self.url)!r})"


@dataclass(frozen=True, slots=True)
class InlineAudio:
    """Audio that came inside the request.

    Attributes:
        content: the decoded bytes, not empty.
        media_type: as the request has it, in lower case and without parameters, such as `audio/wav`.
    """

    content: bytes = field(repr=False)
    media_type: str


Source = LocalFile | RemoteUrl | InlineAudio


def resolve_source(audio: str, *, input_dirs: Sequence[Path], own: Path | None = None) -> Source:
    """Find out what `audio` is and check all that can be checked without fetching it.

    Args:
        audio: a path (absolute, `~/…`, or relative to one of the folders) or a name that fits one file alone, a
            `file:` URL, an https link or a base64 data: URI; blanks and quotation marks around it are not taken as
            part of it.
        input_dirs: the folders that may be read.
        own: the folder of our own results, which a name means less than the person's files.

    Raises:
        InvalidRequest: none of these, or malformed.
        SourceNotAllowed: outside the folders, plain http, or a private host.
        SourceUnreachable: no such file, or several.
        SourceTooLarge: a data: URI over the limit.
        UnsupportedAudio: a folder, a device, an empty file, a data: URI of something else, or a link to a page.
    """
    text = unquoted(audio)
    scheme = scheme_of(text)
    if not text:
        raise InvalidRequest(f"The source is missing. {_accepted(input_dirs)}")
    if not scheme:
        return LocalFile(*find_file(text, input_dirs, own=own))
    if scheme == "file":
        return LocalFile(*find_file(path_of_file_url(text), input_dirs, own=own))
    if scheme == "data":
        return _decoded(text)
    if scheme in {"http", "https"}:
        link = parse_link(text)
        refuse_private_host(link)
        refuse_page(link)
        return RemoteUrl(link.url)
    if scheme in _CHAT_SCHEMES:
        raise chat_attachment(text, input_dirs)
    raise InvalidRequest(f"{quoted(text)}: {scheme}: links cannot be read. {_accepted(input_dirs)}")


def _accepted(input_dirs: Sequence[Path]) -> str:
    return (
        f"Give the path of a file in {folders_named(input_dirs)}, a public or pre-signed https link, or a base64 "
        "data: URI of audio."
    )


def _decoded(uri: str) -> InlineAudio:
    """The audio in a data: URI (RFC 2397), base64 only; wrapped lines and a lost padding are forgiven."""
    head = _DATA_HEAD.match(uri, 0, _DATA_HEAD_CHARACTERS)
    if head is None:
        raise InvalidRequest(
            "The data: URI is malformed: write data:audio/wav;base64, followed by the base64 text."
        )
    media_type = head[1].strip().lower()
    if not media_type.startswith(("audio/", "video/")) and media_type not in _OTHER_TYPES:
        raise UnsupportedAudio(
            f"{quoted(uri)} is not audio by its type: use audio/wav, audio/flac or similar."
        )
    if not head[2].lower().endswith(";base64"):
        raise InvalidRequest(
            f"{quoted(uri)} is not base64: write data:{media_type};base64, followed by the base64 text."
        )
    return InlineAudio(_from_base64(uri, head.end(), quoted(uri)), media_type)


def _from_base64(uri: str, start: int, shown: str) -> bytes:
    pieces: list[bytes] = []
    size_bytes = 0
    try:
        for piece in _pieces(uri, start):
            pieces.append(piece)
            size_bytes += len(piece)
            if size_bytes > MAX_INLINE_BYTES:
                raise SourceTooLarge(
                    f"{shown} exceeds the limit of {MAX_INLINE_BYTES // 2**20} MiB for audio inside a request: "
                    "save it as a file and give its path, or give an https link."
                )
    except ValueError as exc:
        raise InvalidRequest(
            f"{shown} is not valid base64; it may have been cut off. Give the file's path or a link instead."
        ) from exc
    if not size_bytes:
        raise UnsupportedAudio(f"{shown} is empty: put the audio after the comma, or give a path or a link.")
    return b"".join(pieces)


def _pieces(uri: str, start: int) -> Iterator[bytes]:
    """Decode from character `start` on, piece by piece, so that other threads get their turn between.

    Raises:
        ValueError: it is not base64.
    """
    if uri.find("%", start) >= 0:
        uri, start = unquote(uri[start:]), 0
    ending = uri[-_ENDING_CHARACTERS:]
    stop = len(uri) - len(ending) + len(ending.rstrip("= \t\r\n"))
    rest = b""
    for first in range(start, stop, _CHUNK_CHARACTERS):
        text = uri[first : min(stop, first + _CHUNK_CHARACTERS)].encode("ascii")
        rest += text.translate(_URL_SAFE_ALPHABET, _BLANKS)
        whole = len(rest) // 4 * 4
        if b"=" in rest:
            raise ValueError("padding before the end")
        yield a2b_base64(rest[:whole], strict_mode=True)
        rest = rest[whole:]
    yield a2b_base64(rest + b"=" * (-len(rest) % 4), strict_mode=True)
