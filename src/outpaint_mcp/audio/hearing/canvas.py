"""An image with primitives to draw on it."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from outpaint_mcp.audio.hearing.lettering import Lettering

if TYPE_CHECKING:
    import numpy as np

    Colour = tuple[int, int, int]

_SIZES = (12, 13, 14, 20)
"""Of letters, in pixels."""


class Canvas:
    """An image, and words in a few sizes."""

    def __init__(self, width: int, height: int, ground: Colour) -> None:
        self.image = Image.new("RGB", (width, height), ground)
        self._draw = ImageDraw.Draw(self.image)
        self._letterings = {size: Lettering(size) for size in _SIZES}

    def paste(self, pixels: np.ndarray, left: int, top: int) -> None:
        """Put pixels `[rows, columns, 3]` in."""
        self.image.paste(Image.fromarray(pixels), (left, top))

    def box(self, corners: tuple[int, int, int, int], colour: Colour) -> None:
        """Fill a rectangle: left, top, right, bottom."""
        self._draw.rectangle(corners, fill=colour)

    def line(self, x: int, top: int, bottom: int, colour: Colour, *, dash: int = 0) -> None:
        """Draw a vertical line."""
        for y in range(top, bottom, 2 * dash or bottom - top):
            self._draw.line((x, y, x, min(y + dash, bottom) if dash else bottom), fill=colour)

    def width(self, words: str, size: int) -> int:
        """Width of words in pixels."""
        return self._letterings[size].width(words)

    def can_show(self, words: str, size: int) -> bool:
        """Whether there is a font for each letter."""
        return self._letterings[size].can_show(words)

    def words(self, at: tuple[int, int], words: str, size: int, colour: Colour, anchor: str = "lm") -> None:
        """Write on one line; the anchor is as `Lettering.draw` takes it."""
        self._letterings[size].draw(self._draw, at, words, colour, anchor)

    def png(self) -> bytes:
        """Encode with an adaptive palette, which reduces the size to a third."""
        file = io.BytesIO()
        self.image.quantize(256, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
        return file.getvalue()
