"""What a request has to look like, to the letter: paths, headers, and the six inputs of the model."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.fakes.switches import Endpoint, Json

MAX_BODY_BYTES = 64 * 1024 * 1024
MAX_DATA_URI_BYTES = 16 * 1024 * 1024
MODEL_ID = "acestep-ai/ace-step/audio-outpaint"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

_DURATIONS = ("extend_before_duration", "extend_after_duration")

BAD_TOKEN, NO_BALANCE, NOT_FOUND, BAD_REQUEST = 400004, 400002, 404001, 422001


class RefusedError(Exception):
    """The service says no.

    Attributes:
        is_breach: whether a client that keeps to the contract can never get here.
    """

    def __init__(self, status: int, code: int, message: str, *, is_breach: bool = True) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.is_breach = is_breach


def breach(message: str, status: int = 422) -> RefusedError:
    """Say that the contract is broken."""
    return RefusedError(status, BAD_REQUEST, message)


class Route(NamedTuple):
    """Where a request goes; `request_id` is empty where it names none."""

    endpoint: Endpoint
    request_id: str = ""


# An id is quoted as by `urllib.parse.quote(request_id, safe="")`.
_ID = r"(?P<id>(?:[A-Za-z0-9_.~-]|%[0-9A-Fa-f]{2})+)"
_ROUTES: tuple[tuple[Endpoint, str, re.Pattern[str]], ...] = (
    ("submit", "POST", re.compile(rf"/v1/models/{re.escape(MODEL_ID)}")),
    ("model", "GET", re.compile(rf"/v1/models/{re.escape(MODEL_ID)}")),
    ("status", "GET", re.compile(rf"/v1/requests/{_ID}/status")),
    ("result", "GET", re.compile(rf"/v1/requests/{_ID}/result")),
    ("cancel", "POST", re.compile(rf"/v1/requests/{_ID}/cancel")),
    ("balance", "GET", re.compile(r"/prod/v2/balance")),
    ("download", "GET", re.compile(rf"/outputs/{_ID}\.(?:wav|flac|mp3)")),
)


def route(method: str, path: str) -> Route:
    """Find the endpoint.

    Raises:
        RefusedError: there is none there, or not for this method.
    """
    is_known = False
    for endpoint, expected, pattern in _ROUTES:
        if found := pattern.fullmatch(path):
            request_id = unquote(found.groupdict().get("id") or "")
            if request_id in {".", ".."}:
                break
            if method == expected:
                return Route(endpoint, request_id)
            is_known = True
    if is_known:
        raise breach(f"{method} is not for {path}", 405)
    raise breach(f"unknown or unquoted path {path}", 404)


def check_headers(endpoint: Endpoint, headers: Mapping[str, str], token: str) -> None:
    """Check that the bearer goes to the API and nowhere else, and that a body says what it is.

    Raises:
        RefusedError: a token that is only wrong or expired is no breach.
    """
    authorization = headers.get("authorization", "")
    if endpoint == "download":
        if authorization or "cookie" in headers:
            raise breach("the bearer was sent with a download", 400)
    elif not re.fullmatch(r"Bearer \S+", authorization):
        raise RefusedError(401, BAD_TOKEN, f"{endpoint} without a bearer token")
    elif authorization != f"Bearer {token}":
        raise RefusedError(401, BAD_TOKEN, "The token is invalid or expired", is_breach=False)
    if any(token in value for name, value in headers.items() if name != "authorization"):
        raise breach("the token stands in a header that is not Authorization", 400)
    content_type = headers.get("content-type", "").lower().replace(" ", "")
    expected = {"application/json", "application/json;charset=utf-8"}
    if endpoint == "submit" and content_type not in expected:
        raise breach(f"Content-Type is {content_type or 'missing'}, not application/json", 415)


def check_query(endpoint: Endpoint, query: str) -> None:
    """Check that nothing is asked for that the endpoint does not know.

    Raises:
        RefusedError: something is.
    """
    known = {"", "include_cost=true"} if endpoint == "result" else {""}
    if endpoint != "download" and query not in known:
        raise breach(f"{endpoint} does not know the query {query!r}", 400)


def read_inputs(body: bytes) -> Json:
    """Read a submission's body; what is returned is as it was posted, without defaults.

    Raises:
        RefusedError: it is not exactly what the model's input schema asks for.
    """
    try:
        posted = json.loads(body.decode(), parse_constant=_no_constant, object_pairs_hook=_no_twins)
    except (ValueError, RecursionError) as exc:
        raise breach(f"the body is not JSON: {exc}", 400) from None
    if not isinstance(posted, dict):
        raise breach("the body is not a JSON object")
    if unknown := posted.keys() - {"audio", "tags", "lyrics", "seed", *_DURATIONS}:
        raise breach(f"unknown fields {sorted(unknown)}")
    for name in ("audio", "tags"):
        if name not in posted:
            raise breach(f"{name} is missing")
    for name, value in posted.items():
        _check_input(name, value)
    return posted


def _check_input(name: str, value: object) -> None:
    if value is None:
        raise breach(f"{name} is null")
    if name in _DURATIONS:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise breach(f"{name} is not a number")
        if not 0 <= value <= 240:
            raise breach(f"{name} is not from 0 to 240")
    elif name == "seed":
        if isinstance(value, bool) or not isinstance(value, int):
            raise breach("seed is not an integer")
        if not -1 <= value <= 2**31 - 1:
            raise breach("seed is not from -1 to 2147483647")
    else:
        _check_text(name, value)


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise breach(f"{name} is not a string")
    if not _is_unicode(value):
        raise breach(f"{name} holds half a character")
    if name == "audio":
        _check_audio(value)


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")


def _no_twins(pairs: list[tuple[str, object]]) -> Json:
    inputs = dict(pairs)
    if len(inputs) != len(pairs):
        raise ValueError("a field stands twice")
    return inputs


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_audio(audio: str) -> None:
    if audio.startswith("data:"):
        decode_data_uri(audio)
        return
    try:
        parts = urlsplit(audio)
        is_known = bool(parts.hostname) and (parts.scheme == "https" or _is_loopback_http(audio))
    except ValueError:
        is_known = False
    if not is_known or "@" in parts.netloc or not re.fullmatch(r"[!-~]+", audio):
        raise breach("audio is no quoted https URL that everybody can fetch")


def _is_loopback_http(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "http" and parts.hostname in LOOPBACK


def decode_data_uri(uri: str) -> bytes:
    """Return the bytes of an audio data URI.

    Raises:
        RefusedError: it is too large, not base64, no audio type, or its bytes are something else.
    """
    head, _, payload = uri.partition(",")
    media_type = head.removeprefix("data:").removesuffix(";base64")
    if not head.endswith(";base64") or media_type not in _BEGINNINGS:
        raise breach(f"a data URI of {head[:60]!r}: not base64 of WAV, MP3 or FLAC")
    if len(payload) * 3 // 4 - payload[-2:].count("=") > MAX_DATA_URI_BYTES:
        raise breach("a data URI with over 16 MiB of audio", 413)
    try:
        audio = base64.b64decode(payload, validate=True)
    except ValueError:
        raise breach("a data URI that is not valid base64") from None
    if not _BEGINNINGS[media_type].match(audio):
        raise breach(f"a data URI whose bytes are not {media_type}")
    return audio


_WAV = re.compile(rb"RIFF....WAVE", re.DOTALL)
_MP3 = re.compile(rb"ID3|\xff[\xe0-\xff]")
_BEGINNINGS = {
    "audio/wav": _WAV,
    "audio/x-wav": _WAV,
    "audio/mpeg": _MP3,
    "audio/mp3": _MP3,
    "audio/flac": re.compile(rb"fLaC"),
}
