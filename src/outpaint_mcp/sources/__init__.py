"""Where the source audio comes from: a file, a link or the request itself, and nowhere that is not allowed.

* `resolve`   which of the three an `audio` argument is
* `paths`     files inside the allowed folders; `nearby` suggests those of a similar name
* `links`     https links and the addresses that may be behind them
* `download`  downloads a link to a file; `transfer` and `http_errors` are its httpx side, loaded at first need
* `names`     what people and logs get to see of a source
"""

from outpaint_mcp.sources.download import fetch
from outpaint_mcp.sources.links import DownloadPolicy, is_public_address
from outpaint_mcp.sources.names import redact, title_of
from outpaint_mcp.sources.resolve import InlineAudio, LocalFile, RemoteUrl, Source, resolve_source

__all__ = [
    "DownloadPolicy",
    "InlineAudio",
    "LocalFile",
    "RemoteUrl",
    "Source",
    "fetch",
    "is_public_address",
    "redact",
    "resolve_source",
    "title_of",
]
