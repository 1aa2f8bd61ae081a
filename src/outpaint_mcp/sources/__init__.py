"""Where the source audio comes from: a file, a link or the request itself, and nowhere that is not allowed.

* `resolve`   which of the three an `audio` argument is
* `paths`     files inside the allowed folders, by path or name; `scanning` finds them, `nearby` compares names
* `links`     https links and the addresses that may be behind them; `pages` are not files
* `download`  downloads a link to a file; `transfer`, `disposition` and `http_errors` are its httpx side, loaded at
  first need; `retrying` has the one rule for another try
* `names`     what people and logs get to see of a source
"""

from outpaint_mcp.sources.download import fetch
from outpaint_mcp.sources.links import DownloadPolicy, is_public_address
from outpaint_mcp.sources.names import legible, redact, title_of
from outpaint_mcp.sources.paths import stored_path, stored_text
from outpaint_mcp.sources.resolve import InlineAudio, LocalFile, RemoteUrl, Source, resolve_source
from outpaint_mcp.sources.retrying import fetch_patiently

__all__ = [
    "DownloadPolicy",
    "InlineAudio",
    "LocalFile",
    "RemoteUrl",
    "Source",
    "fetch",
    "fetch_patiently",
    "is_public_address",
    "legible",
    "redact",
    "resolve_source",
    "stored_path",
    "stored_text",
    "title_of",
]
