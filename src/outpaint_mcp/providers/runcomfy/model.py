"""RunComfy's audio-outpaint model as the remote provider takes it."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING

from outpaint_mcp.config.environment import RUNCOMFY_BASE
from outpaint_mcp.providers.remote.model import FileFormat, Limits, ModelClient, Price, RemoteModel
from outpaint_mcp.providers.runcomfy import DESCRIPTION
from outpaint_mcp.providers.runcomfy.api.refusals import HOW_TO_LOG_IN
from outpaint_mcp.sources import DownloadPolicy
from outpaint_mcp.sources.links import origin_of, parse_link

if TYPE_CHECKING:
    from outpaint_mcp.config import Settings
    from outpaint_mcp.providers.base import ProviderContext

# ACE-Step's canvas, and what the vendor's own nodes put into a request at most.
LIMITS = Limits(
    canvas_seconds=240.0,
    # As long as the longest extension from it; what lies further back would be paid for, too, it seems.
    context_seconds=120.0,
    # It works in tenths of a second; below this nothing may come back.
    shortest_seconds=0.5,
    # Each step doubles what there is: more of them would be built on next to nothing.
    most_steps=8,
    imprecision=0.02,
    # Steps of 93 ms, and what coding adds or takes away.
    margin_seconds=0.25,
    formats={
        "WAV": FileFormat("audio/wav", "wav", ("PCM_16", "PCM_24")),
        "FLAC": FileFormat("audio/flac", "flac", ("PCM_16", "PCM_24")),
        "MP3": FileFormat("audio/mpeg", "mp3", ("MPEG_LAYER_III",)),
    },
    most_channels=2,
    inline_bytes=16 * 1024**2,
)

LIST_PRICE = Price(
    usd=0.0002,
    unit="second",
    origin="the list price as reported by third parties, since the catalogue could not be read",
    is_certain=False,
)

_RESULT_DOMAINS = ("runcomfy.net", "runcomfy.com")


def runcomfy_model(context: ProviderContext) -> RemoteModel:
    """Describe the model at the place and for the account that the settings name."""
    settings, timing = context.settings, context.timing

    def open_client(token: str | None) -> ModelClient:
        from outpaint_mcp.providers.runcomfy.api.client import RunComfyClient  # noqa: PLC0415 - loads httpx

        return RunComfyClient(
            token or settings.token,
            base_url=settings.runcomfy_base,
            timeout=timing.timeout_seconds,
            sleep=timing.sleep,
            clock=timing.clock,
        )

    return RemoteModel(
        description=DESCRIPTION,
        limits=LIMITS,
        open_client=open_client,
        account=account_of(settings),
        account_of=partial(_account, settings.runcomfy_base),
        how_to_log_in=HOW_TO_LOG_IN,
        policy=_policy(settings.runcomfy_base),
        list_price=LIST_PRICE,
    )


def account_of(settings: Settings) -> str:
    """Return a digest that tells tokens apart and reveals nothing of them; empty where there is none."""
    return "" if settings.token is None else _account(settings.runcomfy_base, settings.token)


def _account(base: str, token: str) -> str:
    return hashlib.sha256(f"{base} {token}".encode()).hexdigest()[:16]


def _policy(base: str) -> DownloadPolicy:
    """Where results may be: on the vendor's hosts, and on the one that the operator named."""
    if base == RUNCOMFY_BASE:
        return DownloadPolicy(_RESULT_DOMAINS)
    link = parse_link(base, DownloadPolicy(trusted=(origin_of(base),)))
    return DownloadPolicy((*_RESULT_DOMAINS, link.host), (link.origin,))
