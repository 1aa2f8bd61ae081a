"""The types of what the tools take around the request itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, Field

from outpaint_mcp.fields import CLOCK, NO_BOOL
from outpaint_mcp.models import Audio
from outpaint_mcp.providers.registry import PROVIDERS

# Hosts give up on a call after 60 seconds at the earliest that still let a tool wait.
MAX_WAIT_SECONDS = 45.0
AnyAudio = Annotated[
    Audio,
    Field(
        description="Source audio to extend. Provide an HTTPS URL to an MP3, WAV, or FLAC file (up to 60 minutes)."
        " Also accepts a file's name or path in the allowed folders, a data: URI, or the request_id of an earlier"
        " result or take, to make that longer."
    ),
]
RequestId = Annotated[str, Field(description="As returned by submit_outpaint, or of one take.")]
if TYPE_CHECKING:
    ProviderName = str
else:
    ProviderName = Annotated[
        Literal[("", *PROVIDERS)], Field(json_schema_extra=lambda schema: schema.update(enum=[*PROVIDERS]))
    ]


def _shorten_wait(value: object) -> object:
    """Wait as long as is possible for who wants to wait longer: a refusal would only cost another call."""
    return min(value, MAX_WAIT_SECONDS) if isinstance(value, int | float) else value


WaitSeconds = Annotated[
    float,
    Field(ge=0, le=MAX_WAIT_SECONDS, allow_inf_nan=False, description="Seconds to wait for it to end."),
    BeforeValidator(_shorten_wait),
    CLOCK,
]
Bitrate = Annotated[
    int,
    Field(ge=0, le=510, description="mp3 64-320, m4a and ogg 64-500, opus 16-510. 0: high quality."),
    NO_BOOL,
]
SaveAs = Annotated[
    str,
    Field(
        description="File name, or a path in the output folder or OUTPAINT_EXPORT_DIRS; a suffix like .mp3 or"
        " .m4a chooses the format. Never overwrites."
    ),
]
