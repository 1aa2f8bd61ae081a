"""The name that a host gives a file which it sends: the Content-Disposition header (RFC 6266, RFC 8187)."""

from __future__ import annotations

import re
from urllib.parse import unquote, unquote_to_bytes

from outpaint_mcp.sources.names import title_of_name, without_folders

_MOST_CHARACTERS = 2_000
"""Of the header; the longest file name has 255 bytes, percent-encoded three times as many."""

_PARAMETER = re.compile(r';\s*(filename\*?)\s*=\s*("(?:[^"\\]|\\.)*"|[^";]*)', re.IGNORECASE)
_EXTENDED = re.compile(r"(?P<charset>[\w-]+)'[^']*'(?P<value>.*)", re.DOTALL)
_CHARSETS = {"utf-8", "iso-8859-1"}


def title_in(header: str) -> str | None:
    """Return the title in a Content-Disposition header, fit for a file's name; None where it gives none.

    A folder in front of the name and an extension behind it are left out.
    """
    return next(filter(None, map(title_of_name, names_in(header))), None)


def names_in(header: str) -> list[str]:
    """Return the names in a Content-Disposition header without folders, as they are given: `filename*` goes first."""
    found: dict[str, str] = {}
    for name, value in _PARAMETER.findall(f";{header[:_MOST_CHARACTERS]}"):
        found.setdefault(name.lower(), value.strip())
    given = (_extended(found.get("filename*", "")), _plain(found.get("filename", "")))
    return [without_folders(each) for each in given if each]


def _extended(value: str) -> str:
    """Decode `UTF-8''%C3%BCbung.wav`; empty where it is malformed."""
    parts = _EXTENDED.fullmatch(value.strip('"'))
    if parts is None or parts["charset"].lower() not in _CHARSETS:
        return ""
    return unquote_to_bytes(parts["value"]).decode(parts["charset"], errors="ignore")


def _plain(value: str) -> str:
    """Take quotation marks away, and percent signs as hosts use them in spite of the standard."""
    if value.startswith('"'):
        value = re.sub(r"\\(.)", r"\1", value[1:-1])
    try:
        return unquote(value, errors="strict")
    except UnicodeDecodeError:
        return value
