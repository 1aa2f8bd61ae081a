"""Links that are pages about music, not files: told apart by their address, before anything is asked of the host."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from outpaint_mcp.errors import UnsupportedAudio
from outpaint_mcp.sources.names import quoted
from outpaint_mcp.sources.scanning import is_audio_name

if TYPE_CHECKING:
    from outpaint_mcp.sources.links import Link

_STREAMING = {
    "YouTube": ("youtube.com", "m.youtube.com", "music.youtube.com", "youtu.be", "youtube-nocookie.com"),
    "Spotify": ("spotify.com", "open.spotify.com", "play.spotify.com", "spotify.link"),
    "SoundCloud": ("soundcloud.com", "m.soundcloud.com", "on.soundcloud.com", "w.soundcloud.com"),
    "Bandcamp": ("bandcamp.com",),
    "Apple Music": ("music.apple.com", "itunes.apple.com", "podcasts.apple.com"),
    "Deezer": ("deezer.com", "deezer.page.link", "link.deezer.com"),
    "Tidal": ("tidal.com", "listen.tidal.com"),
    "TikTok": ("tiktok.com", "m.tiktok.com", "vm.tiktok.com", "vt.tiktok.com"),
    "Amazon Music": ("music.amazon.com", "music.amazon.co.uk", "music.amazon.de"),
    "Mixcloud": ("mixcloud.com",),
    "Instagram": ("instagram.com",),
    "Facebook": ("facebook.com", "m.facebook.com", "fb.watch"),
}
"""The hosts of pages alone: their files come from others (googlevideo.com, sndcdn.com, bcbits.com)."""

_SERVICES = {host: service for service, hosts in _STREAMING.items() for host in hosts}

_BANDCAMP_PAGE = re.compile(r"/?|/(track|album|music|merch)(/.*)?")
_VIMEO_PAGE = re.compile(r"/(video/)?\d+.*|/(channels|showcase|ondemand)/.*")
_NOTHING = re.compile(r"(?!)")

_DRIVES = {
    "drive.google.com": ("Google Drive", re.compile(r"/(file|open|drive|folderview)\b.*")),
    "docs.google.com": ("Google Drive", re.compile(r"/(file|open)\b.*")),
    "dropbox.com": ("Dropbox", re.compile(r"/(s|sh|scl)/.*")),
    "1drv.ms": ("OneDrive", re.compile(r".*")),
    "onedrive.live.com": ("OneDrive", re.compile(r"/?|/(?!download).+")),
    "icloud.com": ("iCloud Drive", re.compile(r"/iclouddrive/.*")),
    "wetransfer.com": ("WeTransfer", re.compile(r".*")),
    "we.tl": ("WeTransfer", re.compile(r".*")),
}
"""Where files are shared, and the paths of their pages."""

_DRIVE_FILE = re.compile(r"/file/(?:u/\d+/)?d/([\w-]+)")


def refuse_page(link: Link) -> None:
    """Refuse what is by its address the page of a streaming service, or of a drive that shares a file.

    Raises:
        UnsupportedAudio: it is one.
    """
    host = link.host.removeprefix("www.")
    parts = urlsplit(link.target)
    is_named_audio = is_audio_name(PurePosixPath(parts.path).suffix)
    service = None if is_named_audio else _SERVICES.get(host)
    if host.endswith(".bandcamp.com") and _BANDCAMP_PAGE.fullmatch(parts.path):
        service = "Bandcamp"
    if host in {"vimeo.com", "player.vimeo.com"} and _VIMEO_PAGE.fullmatch(parts.path):
        service = "Vimeo"
    if service:
        raise UnsupportedAudio(
            f"{quoted(link.url)} is a page of {service}, not an audio file, and nothing can be downloaded from there:"
            " download the track where its owner offers it and give the file's path, or give a direct https link to"
            " the file."
        )
    drive, page = _DRIVES.get(host, ("", _NOTHING))
    if page.fullmatch(parts.path) and not _is_download(parts.query):
        raise UnsupportedAudio(
            f"{quoted(link.url)} is a page of {drive} about a file, not the file: {_advice(drive, parts.path)}, or"
            " download the file and give its path."
        )


def _is_download(query: str) -> bool:
    """Whether a drive is asked for the file itself, as Dropbox and OneDrive are."""
    return not {"dl=1", "raw=1", "download=1"}.isdisjoint(query.split("&"))


def _advice(drive: str, path: str) -> str:
    if drive == "Dropbox":
        return "put dl=1 in the place of dl=0 in the link"
    if found := _DRIVE_FILE.match(path):
        direct = f"https://drive.google.com/uc?export=download&id={found[1]}"
        return f'give "{direct}", if anyone with the link may read the file'
    return "give the link that downloads the file itself"
