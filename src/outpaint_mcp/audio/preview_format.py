"""How a preview is put together again; numpy is not loaded for this."""

from __future__ import annotations

PREVIEW_RATE_HZ = 44_100
"""Of every preview, whatever the recording has: places in several previews can be compared frame by frame."""

MARK_WITHIN_FRAMES = 4_096
"""The mark is the highest value of so many decoded frames, whether or not a decoder takes MP3's delay away."""

AFTER_MARK_FRAMES = 7_424
"""From the mark to the first frame of the piece."""
