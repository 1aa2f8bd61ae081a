"""What people, messages and logs get to see of a source: a title, and a form without secrets."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path
from urllib.parse import unquote

_LOOKED_AT_CHARACTERS = 10_000
"""No path and no link that is taken is longer; of a data: URI of many megabytes only the head matters."""

_SCHEME = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]+):(//)?")  # two letters at least: `C:` is a drive

_BARE_SCHEMES = frozenset(
    {"attachment", "blob", "cid", "content", "data", "file", "http", "https", "sandbox"}
)
"""Schemes believed without `//` behind them; `Artist: Title.wav` is a file's name."""

_BARE_LINK = re.compile(r"(//)?([^\s/@]*@)?(?P<host>([\w-]+\.)+[A-Za-z]{2,24}(:\d+)?)(?P<rest>[/?#]\S*)")
"""A link whose `https://` was left out; a folder whose name has a dot in it looks the same."""

_QUERY = re.compile(r"[?#][^\s/?#=]+=.*", re.DOTALL)

_QUOTES = {'"': '"', "'": "'", "`": "`", "“": "”"}

_HOST_AND_PORT = re.compile(r"([^\s:@\[\]]*|\[[0-9A-Fa-f:.]*\])(:\d*)?")

_DATA_TYPE = re.compile(r"\s*data:([\w.+-]{1,40}/[\w.+-]{1,40})[^,]{0,100},", re.ASCII | re.IGNORECASE)

_EXTENSION = re.compile(r"\.([A-Za-z][A-Za-z0-9]{1,4}|3g[p2]p?)$", re.IGNORECASE)

_RESERVED = re.compile(r"(CON|PRN|AUX|NUL|CLOCK\$|CONIN\$|CONOUT\$|(COM|LPT)[0-9¹²³]) *(\.|$)", re.IGNORECASE)
"""Names that Windows keeps for devices, whatever follows their first dot."""

_TITLE_CHARACTERS = 80
_TITLE_BYTES = 90
"""In UTF-8: eCryptfs has names of 143, and `, extended 240s before and 240s after (99).flac` takes 47 of them."""

_NAME_CHARACTERS = 100
_NAME_BYTES = 120
"""Of a file's name as it is, which gets nothing but a number behind it."""
_EXTENSION_CHARACTERS = 8

_SHOWN_CHARACTERS = 160


def scheme_of(audio: str) -> str:
    """The URL scheme in lower case, or an empty string where `audio` is a path."""
    match = _SCHEME.match(audio, 0, _LOOKED_AT_CHARACTERS)
    if match is None:
        return ""
    scheme = match[1].lower()
    return scheme if match[2] or scheme in _BARE_SCHEMES else ""


def unquoted(audio: str) -> str:
    """`audio` without blanks around it, and without the one pair of quotation marks that people copy along."""
    text = audio.strip()
    closing = _QUOTES.get(text[:1])
    return text[1:-1].strip() if len(text) > 2 and closing == text[-1] else text  # noqa: PLR2004  the pair


def is_bare_link(audio: str) -> bool:
    """Whether `audio` may be a link whose `https://` was left out."""
    return _BARE_LINK.fullmatch(audio.strip(), 0, _LOOKED_AT_CHARACTERS) is not None


def redact(audio: str) -> str:
    """The form of `audio` that may be shown and logged; never raises.

    A URL loses user info, query and fragment, with or without its scheme, and is elided from the host on
    where it is too malformed to tell these apart. A data: URI becomes its type and size. Paths stay as
    they are, but for blanks and quotation marks around them.
    """
    text = unquoted(audio)
    scheme = scheme_of(text)
    if scheme == "data":
        return _redact_data(text)
    if not scheme:
        return _redact_path(text[:_LOOKED_AT_CHARACTERS])
    if len(text) > _LOOKED_AT_CHARACTERS:
        return f"{scheme}:…"
    rest = text[len(scheme) + 1 :]
    if not rest.startswith("//"):
        return f"{scheme}:…" if "@" in rest else f"{scheme}:{_until(rest, '?#')}"
    segment, slash, path = rest[2:].partition("/")
    authority = _until(segment, "?#\\")
    host = authority.rpartition("@")[2]
    if ("@" in segment and authority != segment) or not _HOST_AND_PORT.fullmatch(host):
        return f"{scheme}://…"
    return f"{scheme}://{host}" + (slash + _until(path, "?#") if authority == segment else "")


def quoted(audio: str) -> str:
    """`audio` as it stands in a message: redacted, on one line, shortened, between quotation marks."""
    shown = redact(audio)
    if len(shown) > _SHOWN_CHARACTERS:
        shown = f"{shown[: _SHOWN_CHARACTERS // 2]}…{shown[-_SHOWN_CHARACTERS // 2 :]}"
    return '"' + "".join(mark if mark.isprintable() else "�" for mark in shown) + '"'


def title_of(audio: str) -> str:
    """A name that a person understands and that every system takes as a file's name.

    It is the file's name or the last segment of the link's path, without its extension, at most 80
    characters and 90 bytes in UTF-8, and `audio` where nothing is left of it.
    """
    text = unquoted(audio)
    scheme = scheme_of(text)
    if not scheme:
        name = unescaped(Path(text).name)
    elif scheme == "data":
        name = ""
    elif scheme == "file":
        name = legible(unquote(text, errors="surrogateescape").rpartition("/")[2])
    else:
        _, _, path = redact(text).partition("://")[2].partition("/")
        name = unquote(path).rstrip("/").rpartition("/")[2]
    return title_of_name(name) or "audio"


def title_of_name(name: str) -> str:
    """The title in a file's name, as `title_of` gives it; may be empty."""
    return _safe(_EXTENSION.sub("", name.strip()), _TITLE_CHARACTERS, _TITLE_BYTES)


def without_folders(path: str) -> str:
    """The last part of a path of any system."""
    return re.split(r"[/\\]", path)[-1]


def safe_name(name: str) -> str:
    """A file's name, with or without an extension, as every system takes it; may be empty."""
    return _safe(name, _NAME_CHARACTERS, _NAME_BYTES)


def file_name_of(path: str) -> str:
    """A name with an extension under which a file can be put on every system and found again; empty where it has none.

    Args:
        path: its name elsewhere, which may have folders of any system in front.
    """
    stem, dot, suffix = without_folders(path[-_LOOKED_AT_CHARACTERS:]).strip().rpartition(".")
    safe = safe_name(stem)
    # In front of a path, a tilde is somebody's home.
    return (
        f"{re.sub('^~', '_', safe)}{dot}{_safe(suffix, _EXTENSION_CHARACTERS, _NAME_BYTES)}" if safe else ""
    )


def legible(name: str) -> str:
    """A file's name as text: where it is no UTF-8, it was given when names were in Western Europe's code page."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return os.fsencode(name).decode("cp1252", errors="replace")
    return name


def unescaped(path: str) -> str:
    r"""A path as it was before a shell's backslashes: `My\ Song.mp3` is `My Song.mp3`."""
    return re.sub(r"\\([^\w\\])", r"\1", path)


def _safe(name: str, most_characters: int, most_bytes: int) -> str:
    """`name` without what Windows, macOS or Linux refuse in a file's name; may be empty."""
    spaced = " ".join(unicodedata.normalize("NFC", name).split())
    visible = "".join(mark for mark in spaced if not unicodedata.category(mark).startswith("C"))
    clean = re.sub(r'[<>:"/\\|?*�]', "_", visible).strip(" .")
    if _RESERVED.match(clean):
        clean = f"_{clean}"
    short = clean[:most_characters].encode()[:most_bytes].decode(errors="ignore")
    return short.rstrip(" .")


def _redact_path(text: str) -> str:
    link = _BARE_LINK.fullmatch(text)
    return link["host"] + _until(link["rest"], "?#") if link else _QUERY.sub("", text)


def _redact_data(audio: str) -> str:
    match = _DATA_TYPE.match(audio, 0, _LOOKED_AT_CHARACTERS)
    if match is None:
        return "data:…"
    end = audio[-8:]
    padding = len(end) - len(end.rstrip().rstrip("="))
    content_bytes = max(0, len(audio) - padding - match.end()) * 3 // 4
    return f"data:{match[1].lower()};base64,… ({content_bytes:,} bytes)"


def _until(text: str, marks: str) -> str:
    return re.split(f"[{re.escape(marks)}]", text, maxsplit=1)[0]
