"""Where one caller's requests find what they are about: folders, copies and analyses that are nobody else's."""

from __future__ import annotations

import asyncio
import copy
from collections import OrderedDict
from typing import TYPE_CHECKING

from outpaint_mcp.service.analyses import Analyses
from outpaint_mcp.service.destinations import Destinations
from outpaint_mcp.service.listing import AudioLister
from outpaint_mcp.service.references import ReferenceResolver
from outpaint_mcp.workers.listening import SourceAnalyzer
from outpaint_mcp.workers.probing import Prober
from outpaint_mcp.workers.source_copies import SourceCopies

if TYPE_CHECKING:
    from pathlib import Path

    from outpaint_mcp.config import Settings
    from outpaint_mcp.principals import Principal
    from outpaint_mcp.service.exporter import Exporter
    from outpaint_mcp.service.file_links import FileLinks
    from outpaint_mcp.service.lifespan import Surroundings
    from outpaint_mcp.service.poller import StatusPoller
    from outpaint_mcp.storage.store import Store
    from outpaint_mcp.workers.pool import WorkerPool

# A room takes a few kilobytes; callers that an authorization server vouches for may be any number.
_MOST_ROOMS = 1_000
# Of one remote caller at a time: all wait in one line for the machine's cores.
_MOST_ANALYSES = 8


class Room:
    """What is one caller's own; it shares no cache with others', so that nobody can tell what they have looked at.

    Attributes:
        principal: the caller, with the tokens that came with this call.
        reach: the folders that are open to them.
        allowance: how much they may have; None for no limit.
        references: finds what an `audio` argument refers to.
        prober: looks at sources.
        analyses: listens to them.
        lister: lists what can be extended.
        destinations: where results may be put by name.
    """

    def __init__(  # noqa: PLR0913 - what it works with
        self,
        principal: Principal,
        settings: Settings,
        store: Store,
        pool: WorkerPool,
        copies: SourceCopies,
        poller: StatusPoller,
        exporter: Exporter,
        links: FileLinks | None,
    ) -> None:
        reach, folder = settings.reach_of(principal), settings.analyses_folder(principal.owner)
        self.principal = principal
        self.reach = reach
        self.allowance = settings.allowance if principal.is_remote else None
        self.references = ReferenceResolver(principal, reach, store, poller, exporter, links)
        self.prober = Prober(pool, copies)
        self.analyses = Analyses(
            SourceAnalyzer(pool, copies, folder),
            self.references.origin_of_file,
            most=_MOST_ANALYSES if principal.is_remote else None,
        )
        self.lister = AudioLister(principal, reach, store.journal, self.prober)
        self.destinations = Destinations(reach)


class Rooms:
    """The rooms of a process, each opened when its caller first comes."""

    def __init__(  # noqa: PLR0913 - what it works with
        self,
        settings: Settings,
        store: Store,
        pool: WorkerPool,
        surroundings: Surroundings,
        scratch: Path,
        poller: StatusPoller,
        exporter: Exporter,
    ) -> None:
        """Prepare.

        Args:
            settings: where things are.
            store: every request there ever was.
            pool: runs worker processes.
            surroundings: the network.
            scratch: holds copies of audio that is no file yet.
            poller: follows requests.
            exporter: writes files.
        """
        self._settings = settings
        self._store = store
        self._pool = pool
        self._surroundings = surroundings
        self._scratch = scratch
        self._poller = poller
        self._exporter = exporter
        self._rooms: OrderedDict[Principal, Room] = OrderedDict()  # the longest unused first

    def of(self, principal: Principal) -> Room:
        """Return a caller's room, for this call: a token that came with an earlier one is not this one's."""
        room = self._rooms.get(principal)
        if room is None:
            copies = SourceCopies(self._surroundings.fetch, self._scratch / (principal.owner or "own"))
            room = self._rooms[principal] = Room(
                principal,
                self._settings,
                self._store,
                self._pool,
                copies,
                self._poller,
                self._exporter,
                self._surroundings.links,
            )
            while (
                len(self._rooms) > _MOST_ROOMS
                and not (oldest := next(iter(self._rooms.values()))).analyses.is_busy
            ):
                del self._rooms[oldest.principal]
        self._rooms.move_to_end(principal)
        entered = copy.copy(room)
        entered.principal = principal
        return entered

    def stop_waiting(self) -> None:
        """Let nobody wait any longer for an analysis."""
        for room in self._rooms.values():
            room.analyses.stop_waiting()

    async def close(self) -> None:
        """End what goes on in this process."""
        await asyncio.gather(*(room.analyses.close() for room in self._rooms.values()))
