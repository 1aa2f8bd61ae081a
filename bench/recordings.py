"""The recordings that the figures are taken on: real music from Debian packages, fetched, never committed."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import platformdirs
import soundfile
from filelock import FileLock

PACKAGES = {
    "asc-music": "games/asc/music",
    "frozen-bubble-data": "games/frozen-bubble/snd",
    "singularity-music": "games/singularity/music",
    "wesnoth-1.16-music": "games/wesnoth/1.16/data/core/music",
}
"""Debian package to its music folder under `/usr/share`; all under free licences."""

OTHER_PACKAGES = {
    "hedgewars-data": "games/hedgewars/Data/Music",
    "supertuxkart-data": "games/supertuxkart/data/music",
    "warzone2100-music": "games/warzone2100/music",
}
"""The same for packages whose music nobody tuned on, for benches that name their recordings."""

SHORTEST_SECONDS = {"frozen-bubble-data": 60.0}
"""What is shorter is a jingle or an effect; 40 s elsewhere, so that 20 s can be put before and 30 s after."""

WESNOTH_DEVELOPMENT = ("battle", "into_the_shadows", "main_menu", "siege_of_laurelmor", "transience")
"""Every seventh of the Wesnoth pieces by name; the other thirty are held out: nobody tunes on them."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One piece of real music on disk."""

    name: str
    package: str
    path: Path


def cache_folder(*parts: str) -> Path:
    """A folder of ours in the user's cache, made where it is missing."""
    folder = platformdirs.user_cache_path("outpaint-mcp").joinpath(*parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def find_recordings(*, held_out: bool = False) -> tuple[list[Recording], list[str]]:
    """The development recordings, or the held-out ones.

    They are looked for in the folders of `OUTPAINT_MUSIC` (separated as `PATH` is; each holds
    unpacked packages under their names), then in the cache, where missing packages are fetched to.

    Returns:
        The recordings by package and name, and the packages that could not be had.
    """
    found: list[Recording] = []
    missing: list[str] = []
    for package in ["wesnoth-1.16-music"] if held_out else list(PACKAGES):
        folder = music_folder(package)
        if folder is None:
            missing.append(package)
            continue
        pieces = [Recording(path.stem, package, path) for path in _music(folder, package)]
        if package == "wesnoth-1.16-music":
            pieces = [piece for piece in pieces if (piece.name in WESNOTH_DEVELOPMENT) != held_out]
        found += pieces
    return found, missing


def music_folder(package: str) -> Path | None:
    """The folder with a package's music, fetched where it is missing; None where it cannot be had."""
    folder = _unpacked(package)
    if folder is not None or not (shutil.which("apt-get") and shutil.which("dpkg")):
        return folder
    with FileLock(cache_folder("music") / f"{package}.lock"):
        return _unpacked(package) or _fetch(package)


def find_music(package: str, name: str) -> Path | None:
    """A recording of a package by its name, without a suffix; None where the package cannot be had."""
    folder = music_folder(package)
    found = [] if folder is None else sorted(folder.rglob(f"{name}.*"))
    return next((path for path in found if path.suffix in {".ogg", ".opus", ".mp3"}), None)


def _music(folder: Path, package: str) -> list[Path]:
    files = sorted(path for path in folder.rglob("*") if path.suffix in {".ogg", ".mp3"})
    shortest = SHORTEST_SECONDS.get(package, 40.0)
    return [path for path in files if soundfile.info(path).duration > shortest]


def _unpacked(package: str) -> Path | None:
    named = [Path(folder) for folder in os.environ.get("OUTPAINT_MUSIC", "").split(os.pathsep) if folder]
    for root in [*named, cache_folder("music")]:
        folder = root / package / "usr/share" / (PACKAGES | OTHER_PACKAGES)[package]
        if folder.is_dir():
            return folder
    return None


def _fetch(package: str) -> Path | None:
    root = cache_folder("music")
    with TemporaryDirectory(dir=root) as folder:  # what is seen under its name is whole
        fetch = ["apt-get", "download", package]
        download = subprocess.run(fetch, cwd=folder, check=False, capture_output=True)
        for archive in Path(folder).glob(f"{package}_*.deb"):
            unpack = ["dpkg", "-x", str(archive), str(Path(folder, package))]
            if download.returncode == 0 and subprocess.run(unpack, check=False).returncode == 0:
                Path(folder, package).replace(root / package)
    return _unpacked(package)
