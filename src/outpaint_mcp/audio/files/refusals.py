"""What a file is that is no recording, or one that nobody may decode, and what to do about it.

The decoders that exist do not matter here: what is in the table holds no sound of its own. Formats that do are in
`undecoded`, for a file that no decoder would take.
"""

from __future__ import annotations

import re
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING

from outpaint_mcp.audio.files.decoder import READABLE
from outpaint_mcp.audio.files.texts import describe_text

if TYPE_CHECKING:
    from pathlib import Path

OPENING_BYTES = 4_096
"""How much of a file's beginning `refusal` has to see; the name of a MOD's format stands at 1,080."""

_COPY = re.compile(r"source|cut|music|[0-9a-f]{64}")
"""Names of our own copies of sources, and of parts of them."""

_INSTEAD = "Give an audio file instead."
_UNPACK = "Unpack it and give one of the audio files in it."
_UNLOCK = "Unpack it with its password and give one of the audio files in it."
_EXPORT = "Export the song from that program as WAV and give that file."
_RENDER = "Render it to WAV in a music program and give that file."
_CONVERT = "Convert it to WAV or FLAC and try again."
_DECRYPT = "Decrypt it and give the audio file that comes out."
_EXTRACT = "Export its sound as WAV and give that file."
_UNLOCKED = "Give a copy without copy protection."

_MOD_CHANNELS = (b"M.K.", b"M!K!", b"FLT4", b"FLT8", b"2CHN", b"4CHN", b"6CHN", b"8CHN", b"16CH", b"CD81")

_SIGNATURES: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"\x89PNG", "a PNG image", _INSTEAD),
    (0, b"\xff\xd8\xff", "a JPEG image", _INSTEAD),
    (0, b"GIF8", "a GIF image", _INSTEAD),
    (8, b"WEBP", "a WebP image", _INSTEAD),
    (0, b"II*\0", "a TIFF image", _INSTEAD),
    (0, b"MM\0*", "a TIFF image", _INSTEAD),
    (6, b"\0\0\0\0\x36\0\0\0\x28\0\0\0", "a BMP image", _INSTEAD),
    (6, b"\0\0\0\0\x8a\0\0\0\x7c\0\0\0", "a BMP image", _INSTEAD),
    (0, b"8BPS", "a Photoshop image", _INSTEAD),
    (4, b"ftyphei", "a HEIC image", _INSTEAD),
    (4, b"ftypmif1", "a HEIC image", _INSTEAD),
    (4, b"ftypavi", "an AVIF image", _INSTEAD),
    (0, b"%PDF", "a PDF document", _INSTEAD),
    (0, b"%!PS", "a PostScript document", _INSTEAD),
    (0, b"{\\rtf", "an RTF document", _INSTEAD),
    (0, b"\xd0\xcf\x11\xe0", "an Office document", _INSTEAD),
    (0, b"OTTO", "a font", _INSTEAD),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", _UNPACK),
    (0, b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (0, b"BZh", "a bzip2 archive", _UNPACK),
    (0, b"\xfd7zXZ\0", "an XZ archive", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard archive", _UNPACK),
    (257, b"ustar", "a tar archive", _UNPACK),
    (0, b"MSCF", "a CAB archive", _UNPACK),
    (0, b"xar!", "a macOS installer", _INSTEAD),
    (0, b"\x7fELF", "a program", _INSTEAD),
    (78, b"This program cannot", "a program", _INSTEAD),
    (0, b"MThd", "a MIDI file: notes without sound", _RENDER),
    (8, b"RMID", "a MIDI file: notes without sound", _RENDER),
    (0, b"Extended Module: ", "a tracker module (XM)", _RENDER),
    (0, b"IMPM", "a tracker module (IT)", _RENDER),
    (44, b"SCRM", "a tracker module (S3M)", _RENDER),
    *((1080, each, "a tracker module (MOD)", _RENDER) for each in _MOD_CHANNELS),
    (0, b"PSID", "a C64 tune (SID)", _RENDER),
    (0, b"RSID", "a C64 tune (SID)", _RENDER),
    (0, b"NESM\x1a", "a game console's tune (NSF)", _RENDER),
    (0, b"SNES-SPC700", "a game console's tune (SPC)", _RENDER),
    (8, b"sfbk", "a SoundFont, which has instruments and no music", _INSTEAD),
    (8, b"DLS ", "a DLS sound bank, which has instruments and no music", _INSTEAD),
    (8, b"NUND", "a Cubase project", _EXPORT),
    (0, b"FLhd", "an FL Studio project", _EXPORT),
    (0, b"BtWg", "a Bitwig Studio project", _EXPORT),
    (1, b"0010111100101011", "a Pro Tools session", _EXPORT),
    (0, b"\x18FICHIER GUITAR PRO", "a Guitar Pro score", _EXPORT),
    (1, b"FICHIER GUITAR PRO", "a Guitar Pro score", _EXPORT),
    (68, b"AUDY", "an Audacity project", _EXPORT),
    (0, b"SQLite format 3\0", "a database (SQLite)", _INSTEAD),
    (0, b"CTENFDAM", "a protected download of NetEase Cloud Music", _UNLOCKED),
    (4, b"\x57\x90\x75\x36", "an Audible audiobook (AA), which is copy-protected", _UNLOCKED),
    (4, b"ftypaax", "an Audible audiobook (AAX), which is copy-protected", _UNLOCKED),
    (0, b"Salted__", "an encrypted file", _DECRYPT),
    (0, b"age-encryption.org", "an encrypted file", _DECRYPT),
    (0, b"-----BEGIN PGP MESSAGE", "an encrypted file", _DECRYPT),
    (0, b"\0\x05\x16\x07", "what macOS notes about a file (._)", "Give that file, whose name has no ._"),
    (0, b"L\0\0\0\x01\x14\x02\0", "a Windows shortcut", "Give the file that it leads to."),
    (0, b"bplist00", "a placeholder of iCloud or macOS", "Download the file itself first."),
    (0, b"d8:announce", "a torrent", "Download what it leads to and give one of the audio files."),
    (0, b"#SILK", "a voice message of a messenger (SILK)", _CONVERT),
    (1, b"#!SILK", "a voice message of a messenger (SILK)", _CONVERT),
)
"""Offset, bytes, what it is and what to do: files that are often sent in place of audio."""

_UNDECODED = (
    (8, b"AVI ", "an AVI video", _EXTRACT),
    (0, b"FLV", "a Flash video", _EXTRACT),
    (0, b"\0\0\1\xba", "an MPEG video", _EXTRACT),
    (0, b"\0\0\1\xb3", "an MPEG video", _EXTRACT),
    (0, b"MAC ", "a Monkey's Audio file (APE)", _CONVERT),
    (0, b"wvpk", "a WavPack file", _CONVERT),
    (0, b"TTA", "a True Audio file (TTA)", _CONVERT),
    (0, b"MPCK", "a Musepack file", _CONVERT),
    (0, b"MP+", "a Musepack file", _CONVERT),
    (0, b"OFR ", "an OptimFROG file", _CONVERT),
    (0, b"ajkg", "a Shorten file", _CONVERT),
    (0, b"DSD ", "a DSD file (DSF)", _CONVERT),
    (0, b"FRM8", "a DSD file (DFF)", _CONVERT),
    (0, b"#!AMR", "an AMR voice recording", _CONVERT),
    (0, b".ra\xfd", "a RealAudio file", _CONVERT),
    (0, b".RMF", "a RealMedia file", _CONVERT),
    (0, b"\x0b\x77", "a Dolby Digital file (AC-3)", _CONVERT),
    (0, b"\x7f\xfe\x80\x01", "a DTS file", _CONVERT),
    (0, b"qoaf", "a QOA file", _CONVERT),
    (4, b"ftyp", "an MP4 container (M4A, MP4 or MOV)", _EXTRACT),
    (0, b"\x1a\x45\xdf\xa3", "a Matroska or WebM container", _EXTRACT),
    (0, b"\x30\x26\xb2\x75", "a Windows Media file", _CONVERT),
)
"""As above: what has sound in it, of a form that some decoder may read."""

_ZIP_CONTENTS = (
    (b"word/", "a Word document"),
    (b"xl/", "an Excel document"),
    (b"ppt/", "a PowerPoint document"),
    (b"[Content_Types].xml", "an Office document"),
    (b"mimetypeapplication/epub", "an e-book (EPUB)"),
    (b"mimetypeapplication/vnd.oasis", "an OpenDocument document"),
)
_PROJECT_SUFFIXES = {
    ".als": "an Ableton Live project",
    ".adg": "an Ableton Live preset",
    ".gp": "a Guitar Pro score",
    ".mscz": "a MuseScore score",
    ".mxl": "a MusicXML score",
    ".song": "a Studio One project",
    ".dawproject": "a DAW project",
    ".cwp": "a Cakewalk project",
}
"""Of projects that are ZIP or gzip archives."""


def shown_name(path: Path) -> str:
    """What a message calls a file: the person's name for it, or the source where only a copy of ours has a name."""
    return "The source" if _COPY.fullmatch(path.name) else path.name


def refusal(opening: bytes, name: str) -> str | None:
    """Say what a file is that holds no sound of its own, and what to do; None where it may hold some.

    Args:
        opening: its first `OPENING_BYTES`, or all of it.
        name: as messages have it.
    """
    if not opening:
        return f"{name} is empty (0 bytes). Check how it was saved or uploaded."
    found = _match(opening, _SIGNATURES) or _packed(opening, name) or describe_text(opening)
    return None if found is None else f"{name} is {found[0]}, not audio. {found[1]}"


def undecoded(opening: bytes, name: str) -> str:
    """Say what a file may be that no decoder could read, and what to do.

    Args:
        opening: its first `OPENING_BYTES`, or all of it.
        name: as messages have it.
    """
    if not opening.strip(b"\0"):
        return (
            f"{name} is not audio that can be decoded: it begins with nothing but zeros, as a download or copy does"
            " that broke off. Download or copy it again."
        )
    found = _match(opening, _UNDECODED)
    if found is None:
        return f"{name} is not audio that can be decoded. {READABLE}"
    return f"{name} is {found[0]} that cannot be decoded. {found[1]}"


def _match(opening: bytes, table: tuple[tuple[int, bytes, str, str], ...]) -> tuple[str, str] | None:
    for offset, signature, what, advice in table:
        if opening.startswith(signature, offset):
            return what, advice
    return None


def _packed(opening: bytes, name: str) -> tuple[str, str] | None:
    """Tell archives from the documents and projects that are archives inside; their files' names are not shown."""
    is_zip, is_gzip = opening.startswith(b"PK\x03\x04"), opening.startswith(b"\x1f\x8b")
    suffix = re.search(r"\.\w+$", name.lower())
    project = _PROJECT_SUFFIXES.get(suffix[0] if suffix else "")
    if project and (is_zip or is_gzip):
        return project, _EXPORT
    if is_gzip:
        return ("an Ableton Live project", _EXPORT) if _is_ableton(opening) else ("a gzip archive", _UNPACK)
    return _zipped(opening) if is_zip else None


def _is_ableton(opening: bytes) -> bool:
    with suppress(zlib.error):
        return b"<Ableton" in zlib.decompressobj(wbits=31).decompress(opening, OPENING_BYTES)
    return False


def _zipped(opening: bytes) -> tuple[str, str]:
    for content, what in _ZIP_CONTENTS:
        if content in opening:
            return what, _INSTEAD
    if opening[6:7] > b"\0" and opening[6] & 1:  # general purpose flag, bit 0 (APPNOTE 4.4.4)
        return "an encrypted ZIP archive", _UNLOCK
    return "a ZIP archive", _UNPACK
