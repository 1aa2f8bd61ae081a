"""Answers that are no success, in three dialects, as errors that say what happened and what to do."""

from __future__ import annotations

from enum import IntEnum

from outpaint_mcp.errors import (
    InsufficientBalance,
    OutpaintError,
    ProviderRejected,
    ProviderUnavailable,
    RateLimited,
    RequestNotFound,
    Unauthorized,
)
from outpaint_mcp.providers.runcomfy.api.reading import STATUSES, Json, number, word_of, words_of


class _Code(IntEnum):
    """Error codes that the API documents and that mean something of their own here."""

    NO_BALANCE = 400002
    NO_TOKEN = 400004
    NO_PERMISSION = 403001
    NOT_FOUND = 404001


def refusal(
    http_status: int, body: Json, *, retry_after_seconds: float | None = None
) -> OutpaintError | None:
    """Return the error that an answer stands for, most specific first; None where it is a success.

    Some of RunComfy's APIs answer HTTP 200 with an error inside. In an answer that says where a request
    stands, it is the request that failed, not the call.
    """
    code = number(body.get("error_code"))
    kind = http_status
    if 200 <= http_status < 300:  # noqa: PLR2004 - RFC 9110
        is_silent = not code and ("status" in body or not body.get("error_message"))
        if is_silent or code == 0 or word_of(body) in STATUSES:
            return None
        kind = int(code or 0) // 1000  # 400002 is a 400, 500001 a 500
    words = words_of(body)
    details = f" (HTTP {http_status}{f': {words}' if words else ''})"
    error = _error_of(kind, code, details, is_silent=not body)
    if isinstance(error, ProviderUnavailable):
        error.retry_after_seconds = retry_after_seconds
    return error


def _error_of(kind: int, code: float | None, details: str, *, is_silent: bool) -> OutpaintError:
    error: OutpaintError
    match kind, code:
        case (401, _) | (_, _Code.NO_TOKEN):
            error = Unauthorized(
                f"RunComfy does not accept the token{details}. It may have expired: put a fresh one into"
                " RUNCOMFY_API_TOKEN and restart the server, or set OUTPAINT_PROVIDER=local to do without."
            )
        case (402, _) | (_, _Code.NO_BALANCE):
            error = InsufficientBalance(
                f"The RunComfy account has too little money for this{details}. Top it up, then submit again; what was"
                " refused is not billed."
            )
        case (403, _) | (_, _Code.NO_PERMISSION):
            error = Unauthorized(
                f"RunComfy's token may not use this model{details}. Use the token of an account that may."
            )
        case (404 | 410, _) if is_silent:
            # A gateway's word, which knows nothing of requests.
            error = ProviderUnavailable(
                f"RunComfy is not at this address{details}. Check RUNCOMFY_MODEL_API_BASE, or try again later."
            )
        case (404 | 410, _) | (_, _Code.NOT_FOUND):
            error = RequestNotFound(f"RunComfy does not know the request, or no longer{details}.")
        case (429, _):
            error = RateLimited(f"RunComfy wants fewer requests{details}. Try again in a minute.")
        case _ if kind >= 500 or kind in {408, 425}:  # noqa: PLR2004
            error = ProviderUnavailable(f"RunComfy has a problem{details}. Try again later.")
        case _:
            error = ProviderRejected(
                f"RunComfy refused the request{details}. Correct what it names, then submit again."
            )
    return error


HOW_TO_LOG_IN = (
    "RunComfy needs a token, and none is set. Put it into RUNCOMFY_API_TOKEN; RunComfy shows it under Profile, API"
    " tokens."
)


def is_taken_on(body: Json) -> bool:
    """Whether an answer names a request and where it stands: that was taken on, whatever its HTTP status says."""
    return "request_id" in body and word_of(body) in STATUSES
