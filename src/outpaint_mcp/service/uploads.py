"""What callers send: each file in their own folder, whole or not at all, over no other, and no more than is theirs."""

from __future__ import annotations

import errno
import os
import secrets
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO

from outpaint_mcp.disk.folders import used_bytes
from outpaint_mcp.disk.writing import make_persons, make_private
from outpaint_mcp.errors import InvalidRequest, SourceTooLarge, StorageFailed, UnsupportedAudio
from outpaint_mcp.service.file_copy import give_name
from outpaint_mcp.service.file_names import places_in
from outpaint_mcp.sources import stored_text
from outpaint_mcp.sources.names import file_name_of, quoted
from outpaint_mcp.sources.scanning import is_audio_name

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from outpaint_mcp.config import Settings
    from outpaint_mcp.principals import Principal

_SPENT = ".spent"
"""The folder of the marks of links that were used; hidden, so that nobody is shown it."""
_PART = ".upload-"
_STALE_SECONDS = 86_400.0
_MOST_FILES = 1_000
"""Of one remote caller: a disk has room for so many names only, and each upload looks at all of them."""
_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class LinkSpent(Exception):
    """The link was used before."""


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """How much may be sent.

    Attributes:
        file_bytes: the size of one file.
        quota_bytes: of everything that a caller has here, sent or delivered.
        sent_bytes: how much of that was sent.
        delivered_bytes: how much of it was delivered.
    """

    file_bytes: int
    quota_bytes: int
    sent_bytes: int = 0
    delivered_bytes: int = 0

    def check(self, size_bytes: int) -> None:
        """See whether there is room for a file of this size.

        Raises:
            SourceTooLarge: there is not.
        """
        if size_bytes > self.file_bytes:
            raise SourceTooLarge(
                f"The file is larger than {_mib(self.file_bytes)}, which is the most that this server takes. Send a"
                " shorter one, or a compressed one such as FLAC."
            )
        used_bytes = self.sent_bytes + self.delivered_bytes
        if used_bytes + size_bytes > self.quota_bytes:
            raise SourceTooLarge(
                f"There is no room for more files: you have used {_mib(used_bytes)} of your"
                f" {_mib(self.quota_bytes)}. Delete requests or files that you do not need any more."
            )


class Upload:
    """A file that arrives; its methods block."""

    def __init__(self, folder: Path, name: str, spent: Path | None, limits: UploadLimits) -> None:
        self._folder = folder
        self._name = name
        self._spent = spent
        self._limits = limits
        self._part = folder / f"{_PART}{secrets.token_hex(8)}.part"
        self.size_bytes = 0
        descriptor = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK, 0o600)
        self._file: BinaryIO = os.fdopen(descriptor, "wb", buffering=0)

    def add(self, chunk: bytes) -> None:
        """Write what has come.

        Raises:
            SourceTooLarge: it is more than may be sent.
            StorageFailed: the disk is full.
        """
        self.size_bytes += len(chunk)
        self._limits.check(self.size_bytes)
        with _reported():
            view = memoryview(chunk)
            while view:
                view = view[self._file.write(view) :]

    def finish(self) -> str:
        """Put the file into its place; returns its name there.

        Raises:
            UnsupportedAudio: nothing has come.
            SourceTooLarge: others have taken the room for it meanwhile.
            LinkSpent: another file has come by the same link meanwhile.
            StorageFailed: the disk is full.
        """
        if not self.size_bytes:
            raise UnsupportedAudio(f"{quoted(self._name)} is empty: send the file again.")
        with _reported():
            os.fsync(self._file.fileno())
            self._file.close()
            replace(self._limits, sent_bytes=used_bytes(self._folder)).check(0)
            if self._spent is not None:
                _mark(self._spent)
            try:
                return self._place()
            except OSError:
                if self._spent is not None:
                    self._spent.unlink(missing_ok=True)
                raise

    def _place(self) -> str:
        stem, dot, suffix = self._name.rpartition(".")
        places = places_in(self._folder, stem, f"{dot}{suffix}")
        for place in places:
            with suppress(FileExistsError):
                give_name(self._part, place)
                break
        return place.name

    def close(self) -> None:
        """Leave nothing of it behind but the file that `finish` has put into its place."""
        self._file.close()
        with suppress(OSError):
            self._part.unlink()


class Uploads:
    """The folders of those who send files; its methods block."""

    def __init__(self, settings: Settings) -> None:
        """Prepare; no folder is created yet."""
        self._settings = settings

    def open(
        self, principal: Principal, name: str, *, link: str = "", size_bytes: int | None = None
    ) -> Upload:
        """Begin to take a file in; whoever calls this closes what it returns.

        Args:
            principal: who sends it.
            name: what they call it.
            link: what tells the link that it comes by from all others; empty where it comes by none.
            size_bytes: how much it will be, where that is known.

        Raises:
            InvalidRequest: it has no name.
            UnsupportedAudio: it is no audio by its name.
            SourceTooLarge: there is no room for it.
            LinkSpent: the link was used before.
            StorageFailed: the folder cannot be used.
        """
        safe = _checked(name)
        folder = self._settings.reach_of(principal).upload_dir
        with _reported():
            (make_private if principal.is_remote else make_persons)(folder)
            if principal.is_remote and sum(1 for _ in folder.iterdir()) >= _MOST_FILES:
                raise SourceTooLarge(
                    f"There is no room for the file: you have sent {_MOST_FILES} already. Delete requests or files that"
                    " you do not need any more."
                )
            spent = folder / _SPENT / link if link else None
            if spent is not None and spent.exists():
                raise LinkSpent
            limits = self._limits(principal)
            limits.check(size_bytes or 0)
            return Upload(folder, safe, spent, limits)

    def check_room(self, principal: Principal) -> None:
        """See whether a caller has room left for anything.

        Raises:
            SourceTooLarge: they have not.
        """
        self._limits(principal).check(1)

    def _limits(self, principal: Principal) -> UploadLimits:
        if not principal.is_remote:
            return UploadLimits(self._settings.max_upload_bytes, sys.maxsize)
        reach = self._settings.reach_of(principal)
        return UploadLimits(
            self._settings.max_upload_bytes,
            self._settings.upload_quota_bytes,
            sent_bytes=used_bytes(reach.upload_dir),
            delivered_bytes=used_bytes(reach.output_dir),
        )

    @property
    def stored(self) -> str:
        """For how long a remote caller's files are stored, in a sentence."""
        return f"It is deleted after {self._settings.retention_days:g} days."

    def is_spent(self, principal: Principal, link: str) -> bool:
        """Whether a link was used."""
        return (self._settings.reach_of(principal).upload_dir / _SPENT / link).exists()

    def delete(self, principal: Principal, name: str) -> bool:
        """Delete a file that was sent; returns whether there was one. Blocks."""
        place = self._settings.reach_of(principal).upload_dir / file_name_of(name)
        if not is_audio_name(place.suffix) or not principal.is_remote:
            return False
        try:
            place.unlink()
        except OSError:
            return False
        return True

    def tidy(self, retention_seconds: float, in_use: Collection[str]) -> None:
        """Delete what is older than callers' files are stored, and what a server that was killed has left.

        Args:
            retention_seconds: how long they are stored.
            in_use: the sources of requests that have not ended, as they are written with these.
        """
        for folder in self._settings.upload_dirs():
            for each in (*folder.iterdir(), *(folder / _SPENT).glob("*")):
                is_part = each.name.startswith(_PART) or each.parent != folder
                with suppress(OSError):
                    age_seconds = time.time() - each.lstat().st_mtime
                    is_old = age_seconds > (_STALE_SECONDS if is_part else retention_seconds)
                    if is_old and stored_text(each.resolve()) not in in_use:
                        each.unlink()  # no folder


@contextmanager
def _reported() -> Iterator[None]:
    """Report what is wrong with the disk without naming a place on it, which means nothing to whoever sends files."""
    try:
        yield
    except OSError as exc:
        full = exc.errno in {errno.ENOSPC, errno.EDQUOT}
        raise StorageFailed(
            "The server has no room for the file. Try again later, or tell whoever runs it."
            if full
            else f"The server cannot store the file ({exc.strerror or type(exc).__name__}). Tell whoever runs it."
        ) from exc


def _checked(name: str) -> str:
    """Return a name that is safe here.

    Raises:
        InvalidRequest: there is none.
        UnsupportedAudio: it is none of audio.
    """
    if not name.strip():
        raise InvalidRequest("The file has no name: give one, such as song.wav, with the ending that it has.")
    safe = file_name_of(name)
    if not is_audio_name(f".{safe.rpartition('.')[2]}"):
        raise UnsupportedAudio(
            f"{quoted(name)} is no audio by its name: send a recording or a video, such as song.wav, song.mp3 or"
            " clip.mp4."
        )
    return safe


def _mark(spent: Path) -> None:
    """Note that a link was used.

    Raises:
        LinkSpent: it was before.
    """
    spent.parent.mkdir(mode=0o700, exist_ok=True)
    try:
        spent.touch(0o600, exist_ok=False)
    except FileExistsError as exc:
        raise LinkSpent from exc


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:,.4g} MiB"
