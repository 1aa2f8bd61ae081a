"""The folders that may be read and written, and what lies beneath them."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def existing_folders(folders: Sequence[Path]) -> list[Path]:
    """Return those that are there, without links in their paths.

    Where a folder is was found out when it was first seen: one that was moved behind a link since is not there.
    """
    found = []
    for folder in folders:
        try:
            root = root_of(folder)
            if root.is_dir() and root.resolve() == root:
                found.append(root)
        except (OSError, RuntimeError):
            continue
    return found


@cache
def root_of(folder: Path) -> Path:
    """Return where a folder really is, by the links that stand when it is first seen.

    Raises:
        OSError: it is not there.
        RuntimeError: its links form a loop, or nobody has the home folder that it is in.
    """
    return folder.expanduser().resolve(strict=True)


def is_foreign_share(path: Path, folders: Sequence[Path]) -> bool:
    """Whether a path is on another machine's share: Windows sends a password's hash to any share it looks at."""
    return path.drive.startswith("\\\\") and path.drive.lower() not in {
        each.drive.lower() for each in folders
    }


def used_bytes(folder: Path) -> int:
    """Add up what lies in a folder, in bytes; parts of what is still arriving, too. 0 where there is none."""
    used = 0
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for each in entries:
            with suppress(FileNotFoundError):  # it is in its place by now, or given up
                used += each.stat(follow_symlinks=False).st_size
    return used
