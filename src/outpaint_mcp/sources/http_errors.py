"""What a host's answer means: a file, a page in its place, or a failure and what to do about it."""

from __future__ import annotations

import math
import ssl
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from outpaint_mcp.audio.files.refusals import OPENING_BYTES, refusal
from outpaint_mcp.audio.files.texts import PLAIN_TEXTS, describe_text
from outpaint_mcp.errors import SourceBusy, SourceUnreachable, UnsupportedAudio

_SNIFFED_BYTES = 1024

_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses of a host that may do better in a moment."""


def announced_bytes(response: httpx.Response) -> int | None:
    """The size of the body, where the host says it."""
    length = response.headers.get("content-length", "")
    return int(length) if length.isdecimal() else None


def refuse_failure(response: httpx.Response, shown: str) -> None:
    """Refuse by status and headers, before anything of the body is read.

    Raises:
        SourceUnreachable: any status but 200; 204 and 206 are no whole file either. SourceBusy where it may pass.
        UnsupportedAudio: an encoded body, although none was accepted.
    """
    if response.status_code in _BUSY:
        busy = SourceBusy(f"{shown} returned HTTP {response.status_code}: {_advice(response.status_code)}")
        busy.retry_after_seconds = _retry_after_seconds(response)
        raise busy
    if response.status_code != httpx.codes.OK:
        raise SourceUnreachable(
            f"{shown} returned HTTP {response.status_code}: {_advice(response.status_code)}"
        )
    if response.headers.get("content-encoding", "").strip().lower() not in {"", "identity"}:
        raise UnsupportedAudio(
            f"{shown} is sent compressed, although that was declined: give a direct link to the file."
        )


def refuse_no_audio(head: bytes, response: httpx.Response, shown: str) -> None:
    """Refuse a body that begins as markup, that says it is text and looks like it, or that is known to be no audio.

    The type alone decides nothing: hosts label audio `text/plain`, and pages `audio/mpeg`.

    Raises:
        UnsupportedAudio: a web page, another text, an archive and the like.
    """
    text = head[:_SNIFFED_BYTES].removeprefix(b"\xef\xbb\xbf").removeprefix(b"\xff\xfe").lstrip()
    content_type = response.headers.get("content-type", "").lower()
    labelled = content_type.startswith(("text/", "application/json", "application/xml"))
    named = refusal(head[:OPENING_BYTES], shown)
    is_plain = named is None or describe_text(head[:OPENING_BYTES]) in PLAIN_TEXTS
    if text.startswith(b"<") or (labelled and is_plain and b"\0" not in text):
        raise UnsupportedAudio(
            f"{shown} is a web page or text, not an audio file: give the direct link that downloads the file "
            "itself, not a page with a player or preview."
        )
    if named is not None:
        raise UnsupportedAudio(named)


def unreachable(exc: httpx.HTTPError | httpx.InvalidURL, shown: str) -> SourceUnreachable:
    """The error of ours for one of the HTTP client's, most specific first."""
    match exc:
        case httpx.ConnectTimeout():
            text = "the host does not answer; try again later."
        case httpx.TimeoutException():
            text = "the host stopped sending; try again, or save the file and give its path."
        case httpx.ConnectError() if _is_distrust(exc):
            text = "the host's certificate cannot be verified; give a link on a host with a valid one."
        case httpx.ConnectError():
            text = "cannot connect to the host; check the link and the network."
        case httpx.ProtocolError() | httpx.NetworkError():
            return SourceBusy(f"{shown}: the transfer broke off before the end; try again.")
        case _:
            text = "it could not be downloaded; check the link, or save the file and give its path."
    return SourceUnreachable(f"{shown}: {text}")


def _retry_after_seconds(response: httpx.Response) -> float | None:
    """How long the host wants to be left alone: a number of seconds or a date (RFC 9110), or None."""
    text = response.headers.get("retry-after", "").strip()
    if text.isdecimal():
        return float(text) if len(text) < 10 else math.inf  # noqa: PLR2004 - 31 years
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError, OverflowError):  # there is none, it is none, or it has no time zone
        return None


def _advice(status: int) -> str:
    """What to do about an HTTP status (RFC 9110)."""
    if status in {401, 403, 407}:
        return "the link requires a login or has expired; give a public or freshly pre-signed link."
    if status in {404, 410}:
        return "nothing is there, or no longer; check the link."
    if status in _BUSY or httpx.codes.is_server_error(status):
        return "the host is busy or in trouble; try again later."
    return "this is not a file; give a direct link to the audio."


def _is_distrust(exc: BaseException | None) -> bool:
    """Whether a certificate was refused at the bottom of it."""
    while exc is not None:
        if isinstance(exc, ssl.SSLCertVerificationError):
            return True
        exc = exc.__cause__ or exc.__context__
    return False
