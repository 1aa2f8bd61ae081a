"""What a host's answer means: a file, a page in its place, or a failure and what to do about it."""

from __future__ import annotations

import ssl

import httpx

from outpaint_mcp.errors import SourceUnreachable, UnsupportedAudio

_SNIFFED_BYTES = 1024


def announced_bytes(response: httpx.Response) -> int | None:
    """The size of the body, where the host says it."""
    length = response.headers.get("content-length", "")
    return int(length) if length.isdecimal() else None


def refuse_failure(response: httpx.Response, shown: str) -> None:
    """Refuse by status and headers, before anything of the body is read.

    Raises:
        SourceUnreachable: any status but 200; 204 and 206 are no whole file either.
        UnsupportedAudio: an encoded body, although none was accepted.
    """
    if response.status_code != httpx.codes.OK:
        raise SourceUnreachable(
            f"{shown} returned HTTP {response.status_code}: {_advice(response.status_code)}"
        )
    if response.headers.get("content-encoding", "").strip().lower() not in {"", "identity"}:
        raise UnsupportedAudio(
            f"{shown} is sent compressed, although that was declined: give a direct link to the file."
        )


def refuse_text(head: bytes, response: httpx.Response, shown: str) -> None:
    """Refuse a body that begins as markup, or that says it is text and looks like it.

    The type alone decides nothing: hosts label audio `text/plain`, and pages `audio/mpeg`.

    Raises:
        UnsupportedAudio: a web page or another text.
    """
    text = head[:_SNIFFED_BYTES].removeprefix(b"\xef\xbb\xbf").removeprefix(b"\xff\xfe").lstrip()
    content_type = response.headers.get("content-type", "").lower()
    labelled = content_type.startswith(("text/", "application/json", "application/xml"))
    if text.startswith(b"<") or (labelled and b"\0" not in text):
        raise UnsupportedAudio(
            f"{shown} is a web page or text, not an audio file: give the direct link that downloads the file "
            "itself, not a page with a player or preview."
        )


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
            text = "the transfer broke off before the end; try again."
        case _:
            text = "it could not be downloaded; check the link, or save the file and give its path."
    return SourceUnreachable(f"{shown}: {text}")


def _advice(status: int) -> str:
    """What to do about an HTTP status (RFC 9110)."""
    if status in {401, 403, 407}:
        return "the link requires a login or has expired; give a public or freshly pre-signed link."
    if status in {404, 410}:
        return "nothing is there, or no longer; check the link."
    if status == httpx.codes.TOO_MANY_REQUESTS or httpx.codes.is_server_error(status):
        return "the host is busy or in trouble; try again later."
    return "this is not a file; give a direct link to the audio."


def _is_distrust(exc: BaseException | None) -> bool:
    """Whether a certificate was refused at the bottom of it."""
    while exc is not None:
        if isinstance(exc, ssl.SSLCertVerificationError):
            return True
        exc = exc.__cause__ or exc.__context__
    return False
