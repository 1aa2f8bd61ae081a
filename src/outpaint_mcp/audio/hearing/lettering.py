"""Words in a picture: in Pillow's own font, each letter that it lacks in one of the system's, and never as a box."""

from __future__ import annotations

import unicodedata
from functools import cache, lru_cache
from itertools import groupby
from typing import TYPE_CHECKING

from PIL import ImageFont

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL.ImageDraw import ImageDraw

    Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_FILES = (
    "DejaVuSans.ttf", "NotoSans-Regular.ttf", "LiberationSans-Regular.ttf", "FreeSans.ttf", "Ubuntu-R.ttf",
    "Arial Unicode.ttf", "segoeui.ttf", "arial.ttf",
    "NotoSansCJK-Regular.ttc", "NotoSansCJKjp-Regular.otf", "NotoSansCJKsc-Regular.otf", "SourceHanSans.ttc",
    "DroidSansFallbackFull.ttf", "DroidSansFallback.ttf", "wqy-microhei.ttc", "wqy-zenhei.ttc",
    "fonts-japanese-gothic.ttf", "ipag.ttf", "NanumGothic.ttf", "unifont.otf", "unifont.ttf",
    "Hiragino Sans GB.ttc", "PingFang.ttc", "AppleSDGothicNeo.ttc", "STHeiti Light.ttc",
    "msyh.ttc", "YuGothM.ttc", "msgothic.ttc", "meiryo.ttc", "malgun.ttf", "simsun.ttc",
    "NotoSansArabic-Regular.ttf", "NotoSansHebrew-Regular.ttf", "NotoSansThai-Regular.ttf",
    "NotoSansDevanagari-Regular.ttf", "NotoSansSymbols2-Regular.ttf", "seguisym.ttf", "Apple Symbols.ttf",
)  # fmt: skip
"""Fonts of Linux, macOS and Windows, in the order in which they are tried; Pillow knows the systems' folders."""
_NOWHERE = "\uffff"
"""No font has a glyph for this, so that it looks like any other letter that is missing."""
_PLAIN = (
    dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u00b7\u2022", "-")
    | dict.fromkeys("\u2018\u2019\u2032", "'")
    | dict.fromkeys("\u201c\u201d\u201e\u00ab\u00bb\u2033", '"')
    | {
        "\u2026": "...",
        "\u00d7": "x",
        "ß": "ss",
        "æ": "ae",
        "Æ": "AE",
        "œ": "oe",
        "Œ": "OE",
        "ø": "o",
        "Ø": "O",
    }
    | {"ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "þ": "th", "Þ": "Th", "\u0131": "i"}
)
"""What stands for a letter that no font has."""
_LEFT_OUT = "…"
_UNSEEN = ("C", "M")
"""Categories of Unicode without a glyph of their own: controls and marks."""


class Lettering:
    """Words in one size."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._first = ImageFont.load_default(size)

    def width(self, words: str) -> int:
        """Width in pixels."""
        return round(sum(font.getlength(run) for font, run in self._runs(self._shown(words))))

    def can_show(self, words: str) -> bool:
        """Whether each letter of it is drawn as it is."""
        return self._shown(words) == words

    def draw(
        self, draw: ImageDraw, at: tuple[int, int], words: str, colour: tuple[int, int, int], anchor: str
    ) -> None:
        """Draw words on one line.

        Args:
            draw: the image.
            at: the anchor's place in pixels.
            words: what to write.
            colour: its colour.
            anchor: `lm`, `mm` or `rm`: left, middle or right of the line's middle.
        """
        shown = self._shown(words)
        runs = list(self._runs(shown))
        x = at[0] - {"l": 0.0, "m": 0.5, "r": 1.0}[anchor[0]] * sum(font.getlength(run) for font, run in runs)
        ascent, descent = _metrics(self._first)
        baseline = at[1] + (ascent - descent) / 2
        for font, run in runs:
            draw.text((round(x), round(baseline)), run, fill=colour, font=font, anchor="ls")
            x += font.getlength(run)

    def _shown(self, words: str) -> str:
        """Replace what no font has; several letters in a row that nothing stands for become one ellipsis."""
        shown = ""
        for letter in unicodedata.normalize("NFC", words):
            found = self._replacement(letter)
            if found is not None:
                shown += found
            elif not shown.endswith(_LEFT_OUT):
                shown += _LEFT_OUT
        return shown

    def _replacement(self, letter: str) -> str | None:
        """Return what is shown for a letter: itself, what stands for it, or None."""
        if self._font_for(letter) is not None:
            return letter
        if unicodedata.category(letter).startswith(_UNSEEN):
            return ""
        plain = _PLAIN.get(letter) or "".join(
            part for part in unicodedata.normalize("NFKD", letter) if not unicodedata.combining(part)
        )
        return plain if plain and all(self._font_for(part) is not None for part in plain) else None

    def _runs(self, shown: str) -> Iterator[tuple[Font, str]]:
        for font, letters in groupby(shown, key=lambda letter: self._font_for(letter) or self._first):
            yield font, "".join(letters)

    def _font_for(self, letter: str) -> Font | None:
        if _has(self._first, letter):
            return self._first
        return next((font for font in _system_fonts(self._size) if _has(font, letter)), None)


def _metrics(font: Font) -> tuple[int, int]:
    if isinstance(font, ImageFont.FreeTypeFont):
        return font.getmetrics()
    return 11, 0  # Pillow's bitmap font, where FreeType is missing


@lru_cache(4096)
def _has(font: Font, letter: str) -> bool:
    """Whether a font has a glyph for a letter."""
    if letter.isspace():
        return True
    if unicodedata.category(letter).startswith("C"):
        return False
    try:
        mask = font.getmask(letter)
        return mask.getbbox() is not None and _pixels(mask) != _missing(font)
    except (OSError, ValueError, UnicodeError):  # Pillow's bitmap font has Latin-1 only
        return False


@cache
def _missing(font: Font) -> tuple[tuple[int, int], bytes]:
    """How a font draws a letter that it has not."""
    try:
        return _pixels(font.getmask(_NOWHERE))
    except (OSError, ValueError, UnicodeError):
        return (0, 0), b""


def _pixels(mask: object) -> tuple[tuple[int, int], bytes]:
    return mask.size, bytes(mask)  # type: ignore[attr-defined, call-overload]  # Pillow's own type


def _system_fonts(size: int) -> Iterator[Font]:
    """Yield the fonts that the system has; each is looked for when the ones before it did not do."""
    for name in _FILES:
        if (font := _system_font(name, size)) is not None:
            yield font


@cache
def _system_font(name: str, size: int) -> Font | None:
    try:
        return ImageFont.truetype(name, size)
    except (OSError, ImportError, ValueError):  # not here, not readable, or no FreeType
        return None
