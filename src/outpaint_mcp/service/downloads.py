"""Results that are asked for by their links: found among what was delivered, and opened once."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from outpaint_mcp.disk.opening import open_regular
from outpaint_mcp.errors import RequestNotFound
from outpaint_mcp.export_options import ExportOptions

if TYPE_CHECKING:
    from outpaint_mcp.config import Settings
    from outpaint_mcp.service.file_links import Claim
    from outpaint_mcp.storage.journal import Journal

_RENDERED = f"{ExportOptions(restore_source=False)}".removeprefix(f"{ExportOptions()}")


@dataclass(frozen=True, slots=True)
class Download:
    """A result that is open; whoever gets it closes it.

    Attributes:
        descriptor: of the open file.
        name: under which it is to be saved.
        sha256: as it was delivered.
    """

    descriptor: int
    name: str
    size_bytes: int
    sha256: str


class Downloads:
    """Opens delivered files; blocks."""

    def __init__(self, settings: Settings, journal: Journal) -> None:
        """Take where the files are, and what was delivered."""
        self._settings = settings
        self._journal = journal

    def open(self, claim: Claim) -> Download | None:
        """Open what a link stands for; None where it is not there any more, or was changed."""
        folder = self._settings.output_dir_of(claim.owner)
        try:
            record = self._journal.takes_of(claim.principal, claim.about)[0]
            # A provider that re-renders nothing has but one file, whichever was asked for.
            forms = (claim.form, claim.form.removesuffix(_RENDERED))
            delivery = next(record.deliveries[each] for each in forms if each in record.deliveries)
            path = Path(delivery.path)
            descriptor = open_regular(path.parent.resolve() / path.name, [folder.resolve()])
        except (RequestNotFound, StopIteration, OSError):
            return None
        if os.fstat(descriptor).st_size != delivery.size_bytes:
            os.close(descriptor)
            return None
        return Download(descriptor, claim.name or path.name, delivery.size_bytes, delivery.sha256)
