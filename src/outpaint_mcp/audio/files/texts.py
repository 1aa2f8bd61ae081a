"""Texts that take the place of a recording, known by how they begin."""

from __future__ import annotations

import codecs
import re

_INSTEAD = "Give an audio file instead."
_EXPORT = "Export the song from that program as WAV and give that file."
_PLAIN = ("a text file", _INSTEAD)
_JSON = ("a JSON file", _INSTEAD)
PLAIN_TEXTS = frozenset({_PLAIN, _JSON})
"""Of which no more is known than that."""

_LISTED = "Give one of the files that it lists."

_UTF_16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_CUT = "\N{REPLACEMENT CHARACTER}"
_LEAST_CHARACTERS = 32
_LEAST_ASCII = 0.8
"""Of a text in an 8-bit code page; in noise it is a third."""

_PROLOG = re.compile(r"\s+|<\?.*?\?>|<!--.*?-->|<!doctype\b[^>\[]*>", re.DOTALL | re.IGNORECASE)
_ROOT = re.compile(r"<([\w:.-]+)")
_DOCTYPE_HTML = re.compile(r"\s*<!doctype\s+html", re.IGNORECASE)
_AUDIO_LINE = (
    r"[^\r\n]*\.(?:mp3|m4a|aac|flac|ogg|opus|wav|aiff?|wma|mp4|ts|m3u8)(?:\?\S*)?[ \t]*(?:\r?\n|\r|$)"
)

_PLAYLIST = ("a playlist, which lists recordings and holds none", _LISTED)
_PAGE = ("a web page", "Use the link that downloads the audio itself, not the page that plays it.")
_REFUSED = ("an error message of a web service", "Check the link: it may have expired or need a login.")
_SUBTITLES = ("a subtitle file", _INSTEAD)
_SCORE = ("a score: notes without sound", "Render it to WAV in a music program and give that file.")

_ROOTS = {
    "html": _PAGE,
    "head": _PAGE,
    "body": _PAGE,
    "playlist": _PLAYLIST,
    "asx": _PLAYLIST,
    "smil": _PLAYLIST,
    "mpd": _PLAYLIST,
    "error": _REFUSED,
    "rss": ("a podcast or news feed", "Give the link of one of its recordings."),
    "svg": ("an SVG image", _INSTEAD),
    "tt": _SUBTITLES,
    "score-partwise": _SCORE,
    "score-timewise": _SCORE,
    "musescore": _SCORE,
    "ableton": ("an Ableton Live project", _EXPORT),
    "sesx": ("an Adobe Audition session", _EXPORT),
}
"""Names of an XML text's outermost element, in lower case."""

_BEGINNINGS = (
    (r"#EXTM3U|#EXTINF", *_PLAYLIST),
    (r"\[playlist\]|\[Reference\]", *_PLAYLIST),
    (
        r"version https://git-lfs\.github\.com/spec/",
        "a Git LFS pointer, which stands for a file",
        "Download the file itself (git lfs pull) and try again.",
    ),
    (
        r"((REM|PERFORMER|TITLE|CATALOG|SONGWRITER|CDTEXTFILE)\b[^\n]*\n\s*)*FILE\s[^\n]*\b(WAVE|MP3|AIFF|BINARY|FLAC)\b",
        "a cue sheet, which lists tracks and holds none",
        "Give the audio file that it belongs to.",
    ),
    (r"WEBVTT\b|\d+\s*\n\d\d:\d\d:\d\d[,.]\d+\s*-->|\[Script Info\]", *_SUBTITLES),
    (r"(\[\w+:[^\]\n]*\]\s*)*\[\d\d:\d\d", "a lyrics file (LRC)", _INSTEAD),
    (r"X:\s*\d+\s*\n(?=(.*\n)*?K:)", *_SCORE),
    (r"<REAPER_PROJECT\b", "a Reaper project", _EXPORT),
    (
        r"<\?xml[^>]*>\s*(<!DOCTYPE[^>]*>\s*)?<(audacity)?project\b[^>]*audacity",
        "an Audacity project",
        _EXPORT,
    ),
    (r"<(region|group|control|global)>", "an SFZ instrument, which has no music", _INSTEAD),
    (r"\[InternetShortcut\]", "a shortcut to a web page", "Give the link that it holds."),
    (r'[{\[]\s*(["{\[\]}]|-?\d)', *_JSON),
    (rf"({_AUDIO_LINE}|#[^\n]*\n)+", *_PLAYLIST),
)


def describe_text(opening: bytes) -> tuple[str, str] | None:
    """Say what a text is, and what to do instead; None where these bytes are no text.

    Args:
        opening: the beginning of a file.
    """
    text = _decode(opening)
    if text is None or not text.strip():
        return None
    for pattern, what, advice in _BEGINNINGS:
        if re.match(rf"\s*(?:{pattern})", text):
            return what, advice
    if _DOCTYPE_HTML.match(text):
        return _PAGE
    place = 0
    while found := _PROLOG.match(text, place):
        place = found.end()
    if found := _ROOT.match(text, place):
        return _ROOTS.get(found[1].lower().rpartition(":")[2], ("an XML file", _INSTEAD))
    return ("an XML file", _INSTEAD) if text.lstrip().startswith("<") else _PLAIN


def _decode(opening: bytes) -> str | None:
    for mark, encoding in _UTF_16.items():
        if opening.startswith(mark):
            text = opening[len(mark) :].decode(encoding, errors="ignore")
            return text if _is_legible(text) else None
    text = opening.removeprefix(codecs.BOM_UTF8).decode("utf-8", errors="replace").rstrip(_CUT)
    if _CUT not in text:
        return text if _is_legible(text) else None
    text = opening.decode("latin-1")
    ascii_share = sum(mark.isascii() for mark in text) / len(text)
    is_text = len(text) >= _LEAST_CHARACTERS and ascii_share >= _LEAST_ASCII and _is_legible(text)
    return text if is_text else None


def _is_legible(text: str) -> bool:
    """Whether there are no control characters in a text but those of lines and pages."""
    return not re.search(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]", text)
