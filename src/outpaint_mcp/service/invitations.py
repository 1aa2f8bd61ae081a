"""What remote callers name that is not here: found among what they have sent, or asked for by a link to send it by."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from outpaint_mcp.errors import Hint, InvalidRequest, SourceNotAllowed, SourceUnreachable
from outpaint_mcp.sources import LocalFile
from outpaint_mcp.sources.names import file_name_of, is_bare_link, quoted, scheme_of, unquoted
from outpaint_mcp.sources.path_errors import FileElsewhere, SeveralFiles

if TYPE_CHECKING:
    from pathlib import Path

    from outpaint_mcp.config import Reach
    from outpaint_mcp.errors import OutpaintError
    from outpaint_mcp.principals import Principal
    from outpaint_mcp.service.file_links import FileLinks

NOT_HERE = (InvalidRequest, SourceNotAllowed, SourceUnreachable)
"""What it means that a file is not on this machine, or not for whoever asks."""

_FETCHED = {"data", "http", "https"}


class Invitations:
    """Asks one caller for files that are on their own machine."""

    def __init__(self, principal: Principal, reach: Reach, links: FileLinks) -> None:
        self._principal = principal
        self._reach = reach
        self._links = links

    def sent_as(self, audio: str, why: OutpaintError) -> LocalFile:
        """Find the file that was sent under the name that a path on somebody's own machine ends in; blocks.

        Args:
            audio: what was asked for.
            why: why it is not here.

        Raises:
            OutpaintError: with a link to send it by, where that is what is missing.
        """
        text = unquoted(audio)
        if scheme_of(text) in _FETCHED:
            raise why
        name = file_name_of(text)
        if name and (path := self._reach.upload_dir / name).is_file():
            return LocalFile(path.resolve(), is_exact=False)
        names_folder = any(str(each) in str(why) for each in self._reach.input_dirs)
        if isinstance(why, SeveralFiles):
            raise why
        words = str(why) if why.hint is Hint.FIND_FILE and not names_folder else _not_here(text)
        raise FileElsewhere(words, self._links.upload(self._principal)) from why


def _not_here(text: str) -> str:
    link = " If it is a link, put https:// in front of it." if is_bare_link(text) else ""
    return (
        f"{quoted(text)} is not on this server, which cannot see files on your machine or in your chat.{link}"
    )


def without_folder(error: OutpaintError, folder: Path) -> OutpaintError:
    """Take a folder of this machine out of an error's text: it means nothing to remote callers."""
    error.args = (str(error).replace(f"{folder}{os.sep}", "").replace(str(folder), "the server's folder"),)
    return error
