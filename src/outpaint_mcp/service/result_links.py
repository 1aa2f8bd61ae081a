"""Results of remote callers: links in the place of paths, which mean nothing to them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from outpaint_mcp.errors import InvalidRequest
from outpaint_mcp.service.file_links import RESULT_HOURS, FileLinks
from outpaint_mcp.service.file_names import place_at
from outpaint_mcp.sources.names import safe_name, without_folders

if TYPE_CHECKING:
    from collections.abc import Mapping

    from outpaint_mcp.config import Settings
    from outpaint_mcp.export_options import ExportOptions
    from outpaint_mcp.principals import Principal
    from outpaint_mcp.reports.models import ResultReport
    from outpaint_mcp.storage.records import Delivery


class ResultLinks:
    """Puts links into reports.

    Args:
        settings: for how long files are stored.
        links: makes them; None where nobody reaches files by links.
    """

    def __init__(self, settings: Settings, links: FileLinks | None) -> None:
        self._days = settings.retention_days
        self._links = links

    def linked(
        self,
        report: ResultReport,
        principal: Principal,
        deliveries: Mapping[str, Delivery],
        options: ExportOptions,
        name: str,
    ) -> ResultReport:
        """Return a report of delivered files as whoever asks can use it.

        Args:
            report: with paths.
            principal: whose report it is.
            deliveries: the file of each take, by its id.
            options: their form.
            name: under which the one file is to be saved; its own where there is none.
        """
        if self._links is None or not principal.is_remote:
            return report
        urls = {
            take: self._links.result(principal, take, str(options), _name(name, delivery))
            for take, delivery in deliveries.items()
        }
        takes = report.takes and [
            take.model_copy(update={"path": None, "url": urls.get(take.request_id)}) for take in report.takes
        ]
        best = report.takes[0].request_id if report.takes else next(iter(urls))
        ends = (
            f"The link works for {RESULT_HOURS} hours; ask for the result again for a new one. The server deletes the"
            f" file {self._days:g} days after it was written."
        )
        return report.model_copy(
            update={
                "path": None,
                "url": urls[best],
                "takes": takes,
                "delete_url": self._links.deletion(principal, report.request_id),
                "message": " ".join(filter(None, (report.message, ends))),
            }
        )


def place_named(save_as: str, folder: Path) -> Path:
    """Return where a file lies by its name alone, for those to whom folders of this machine mean nothing.

    Raises:
        InvalidRequest: no file can have this name.
    """
    name = safe_name(without_folders(save_as.strip()))
    if not name:
        raise InvalidRequest("No file can have this name. Use a plain file name.", field="save_as")
    return folder / name


def _name(asked: str, delivery: Delivery) -> str:
    return place_at(Path(asked), Path(delivery.path).suffix).name if asked else ""
