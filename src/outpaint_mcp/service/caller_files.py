"""Files of callers who share a server: what they send, what they fetch, and the end of both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outpaint_mcp.service.deletion import Deleter, Eraser
from outpaint_mcp.service.downloads import Downloads
from outpaint_mcp.service.uploads import Uploads

if TYPE_CHECKING:
    from outpaint_mcp.config import Settings
    from outpaint_mcp.service.cancelling import Canceller
    from outpaint_mcp.service.exporter import Exporter
    from outpaint_mcp.service.poller import StatusPoller
    from outpaint_mcp.storage.store import Store


class CallerFiles:
    """Takes files in, hands results out, and deletes both.

    Attributes:
        uploads: what callers send.
        downloads: what they fetch by links.
        eraser: removes what is on disk of requests that have ended.
        deleter: ends requests, and has them removed.
    """

    def __init__(
        self, settings: Settings, store: Store, poller: StatusPoller, canceller: Canceller, exporter: Exporter
    ) -> None:
        self.uploads = Uploads(settings)
        self.downloads = Downloads(settings, store.journal)
        self.eraser = Eraser(settings, store)
        self.deleter = Deleter(poller, canceller, exporter, self.eraser)
