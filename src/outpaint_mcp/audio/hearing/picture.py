"""A picture of a recording: summary, sections, waveform and spectrogram on one time axis."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from outpaint_mcp.audio.hearing.canvas import Canvas
from outpaint_mcp.audio.hearing.columns import LOWEST_HZ, Columns, read_columns
from outpaint_mcp.audio.levels import percentile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from outpaint_mcp.audio.hearing.records import Analysis
    from outpaint_mcp.audio.types import Floats, Progress

WIDTH, HEIGHT = 1200, 640
_LEFT, _RIGHT = 58, 1184
_SECTIONS = (74, 98)
_WAVE = (106, 276)
_SPECTRUM = (288, 596)
"""Top and bottom of each band of the picture, in pixels."""
_COLUMNS = _RIGHT - _LEFT
_ROW_PIXELS = 2
_COLUMN_PIXELS = (2, 4, 8)
"""A value of the spectrogram is this high, and this wide: as wide as it takes for a file that is small enough."""
MAX_BYTES = 74_000
"""As text in a message, a third more, it stays under 100,000 characters."""

_GROUND, _PANEL, _GRID = (17, 19, 26), (26, 29, 39), (52, 57, 72)
_INK, _FAINT_INK = (236, 238, 243), (158, 165, 180)
_SWING, _LOUD = (58, 122, 168), (132, 204, 240)
_MARK, _FADE, _SEAM = (158, 165, 180), (250, 204, 92), (255, 120, 120)
_LETTERS = (
    (66, 112, 158), (156, 92, 62), (76, 132, 84), (134, 84, 148), (148, 128, 52), (58, 136, 140),
    (164, 76, 98), (98, 104, 168), (110, 126, 62), (122, 98, 82), (92, 92, 104), (70, 120, 108),
)  # fmt: skip
"""Colour of each section letter; white is legible on all of them."""
_HEAT = (
    (13, 14, 28), (38, 28, 84), (84, 32, 122), (138, 44, 122), (190, 62, 100), (230, 98, 70), (248, 152, 62),
    (252, 208, 110), (253, 250, 214),
)  # fmt: skip
"""From silent to loudest, with evenly increasing lightness."""
_HEAT_STEPS = 24
"""Few enough for a small file, too many to be visible as steps."""
_RANGE_DB = 72.0
_LOUDEST_PERCENT = 99.95
_LEAST_LOUDEST_DB = -30.0
"""The brightest colour never stands for less than this, so that a quiet recording looks quiet."""

_TICKS_SECONDS = (
    0.01,
    0.02,
    0.05,
    0.1,
    0.2,
    0.5,
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
    7200,
)
_MOST_TICKS = 13
_TICKS_HZ = (50, 100, 200, 500, 1000, 2000, 5000, 10_000)
_OFFSET = 0.01
"""A smaller offset is neither visible nor audible."""
_LEAST_MARKED_SECONDS = 0.05
_LEAST_NAMED_SHARE = 0.002
"""Spans shorter than about two pixels are marked but not labelled."""
_GAP = 6
_HALF, _NOTHING = "\N{MINUS SIGN}6 dB", "\N{MINUS SIGN}\N{INFINITY}"


class _Axis(NamedTuple):
    """The time axis."""

    seconds: float

    def x(self, at_seconds: float) -> int:
        return _LEFT + round(min(max(at_seconds / self.seconds, 0.0), 1.0) * (_COLUMNS - 1))


def draw(
    path: Path,
    analysis: Analysis,
    *,
    title: str | None = None,
    seams_seconds: Sequence[float] = (),
    on_progress: Progress = lambda _fraction: None,
) -> bytes:
    """Draw a recording as a PNG of 1200 by 640 pixels and at most `MAX_BYTES`, however long it is.

    Args:
        path: the recording, which is decoded again.
        analysis: its analysis.
        title: what to call it; None for the file's name.
        seams_seconds: positions to mark as seams.
        on_progress: called with the fraction done.

    Raises:
        SourceUnreachable: if the file no longer exists.
        UnsupportedAudio: if it can no longer be decoded.
    """
    rows = (_SPECTRUM[1] - _SPECTRUM[0]) // _ROW_PIXELS
    columns = read_columns(path, analysis.frames, count=_COLUMNS, rows=rows, on_progress=on_progress)
    drawn = b""
    for column_pixels in _COLUMN_PIXELS:
        drawn = _drawn(columns, analysis, title or path.name, seams_seconds, column_pixels)
        if len(drawn) <= MAX_BYTES:
            break
    return drawn


def _drawn(
    columns: Columns, analysis: Analysis, title: str, seams_seconds: Sequence[float], column_pixels: int
) -> bytes:
    canvas, axis = Canvas(WIDTH, HEIGHT, _GROUND), _Axis(analysis.seconds)
    _draw_words(canvas, title, analysis)
    _draw_wave(canvas, columns)
    _draw_spectrum(canvas, columns, column_pixels)
    _draw_time(canvas, axis)
    _draw_sections(canvas, axis, analysis)
    _draw_edges(canvas, axis, analysis)
    _draw_seams(canvas, axis, seams_seconds)
    return canvas.png()


def _draw_words(canvas: Canvas, name: str, analysis: Analysis) -> None:
    title = "".join(letter if letter.isprintable() else " " for letter in name)
    while canvas.width(title, 20) > _COLUMNS:
        title = f"{title[:-2].rstrip('…')}…"
    canvas.words((_LEFT, 24), title, 20, _INK)
    channels = {1: "mono", 2: "stereo"}.get(analysis.channels, f"{analysis.channels} channels")
    facts = [
        _clock(analysis.seconds, 0.1),
        f"{analysis.container} {analysis.sample_rate / 1000:g} kHz {channels}",
        "" if analysis.lufs is None else f"{analysis.lufs:.1f} LUFS",
        "" if analysis.lufs is None else f"true peak {analysis.true_peak_dbtp:+.1f} dBTP",
        "" if analysis.tempo is None else f"{analysis.tempo.bpm:.1f} bpm",
        "" if analysis.key is None else analysis.key.name,
        f"ends: {analysis.ending.kind}",
        f"offset {analysis.dc_offset:+.2f}" if abs(analysis.dc_offset) >= _OFFSET else "",
        "" if analysis.intact else "damaged",
    ]
    canvas.words((_LEFT, 52), "   ·   ".join(fact for fact in facts if fact), 14, _FAINT_INK)


def _stretched(values: Floats) -> Floats:
    """One value per pixel column `[..., columns]`."""
    return values[..., np.arange(_COLUMNS) * values.shape[-1] // _COLUMNS]


def _draw_wave(canvas: Canvas, columns: Columns) -> None:
    top, bottom = _WAVE
    half = (bottom - top) / 2
    middle = top + half
    loudest = max(float(columns.highest.max()), -float(columns.lowest.min()), 1e-6)
    scale = half / max(loudest, 1.0)
    rows = (np.arange(top, bottom)[:, None] - middle + 0.5) / -scale
    lowest, highest, rms = (_stretched(each) for each in (columns.lowest, columns.highest, columns.rms))
    least = 0.5 / scale
    pixels = np.full((bottom - top, _COLUMNS, 3), _PANEL, np.uint8)
    for level in (-1.0, -0.5, 0.5, 1.0):
        row = int(np.abs(rows[:, 0] - level).argmin())
        pixels[row] = _GRID
    pixels[(rows >= lowest - least) & (rows <= highest + least)] = _SWING
    pixels[np.abs(rows) <= np.minimum(rms, np.maximum(highest, -lowest))] = _LOUD
    canvas.paste(pixels, _LEFT, top)
    for level, words in ((0.5, _HALF), (-0.5, _HALF), (0.0, _NOTHING)):
        if abs(level) <= max(loudest, 1.0) and (level or canvas.can_show(words, 12)):
            canvas.words((_LEFT - _GAP, round(middle - level * scale)), words, 12, _FAINT_INK, "rm")


def _widened(levels_db: Floats, pixels: int) -> Floats:
    """Give neighbouring columns their mean power `[rows, columns]`."""
    starts = np.arange(0, levels_db.shape[1], pixels)
    widths = np.diff(starts, append=levels_db.shape[1])
    power = np.add.reduceat(10 ** (levels_db / 10), starts, axis=1) / widths
    return np.asarray((10 * np.log10(power)).repeat(widths, axis=1))


def _draw_spectrum(canvas: Canvas, columns: Columns, column_pixels: int) -> None:
    top, bottom = _SPECTRUM
    loudest = max(percentile(columns.spectrum_db, _LOUDEST_PERCENT), _LEAST_LOUDEST_DB)
    spectrum_db = _widened(_stretched(columns.spectrum_db), column_pixels).repeat(_ROW_PIXELS, axis=0)
    share = np.clip(1 + (spectrum_db - loudest) / _RANGE_DB, 0, 1)
    steps = np.rint(share * (_HEAT_STEPS - 1)).astype(int)
    at = np.linspace(0, len(_HEAT) - 1, _HEAT_STEPS)
    table = np.stack([np.interp(at, np.arange(len(_HEAT)), tint) for tint in np.transpose(_HEAT)], axis=1)
    canvas.paste(np.rint(table).astype(np.uint8)[steps], _LEFT, top)
    octaves = np.log(columns.highest_hz / LOWEST_HZ)
    for hertz in _TICKS_HZ:
        if hertz < columns.highest_hz:
            y = round(bottom - np.log(hertz / LOWEST_HZ) / octaves * (bottom - top))
            words = f"{hertz // 1000} kHz" if hertz >= 1000 else f"{hertz} Hz"  # noqa: PLR2004
            canvas.words((_LEFT - _GAP, max(y, top + 6)), words, 12, _FAINT_INK, "rm")
            canvas.box((_LEFT - 3, y, _LEFT - 1, y), _FAINT_INK)


def _draw_time(canvas: Canvas, axis: _Axis) -> None:
    bottom = _SPECTRUM[1]
    step = next((step for step in _TICKS_SECONDS if axis.seconds / step <= _MOST_TICKS), 7200.0)
    for tick in range(int(axis.seconds / step) + 1):
        x = axis.x(tick * step)
        canvas.line(x, bottom, bottom + 5, _FAINT_INK)
        words = _clock(tick * step, step)
        reach = canvas.width(words, 13) // 2
        if x + reach <= WIDTH:
            canvas.words((x, bottom + 17), words, 13, _FAINT_INK, "mm")


def _draw_sections(canvas: Canvas, axis: _Axis, analysis: Analysis) -> None:
    top, bottom = _SECTIONS
    for section in analysis.sections:
        left, right = axis.x(section.start_seconds), axis.x(section.end_seconds)
        canvas.box(
            (left + 1, top, right - 1, bottom), _LETTERS[(ord(section.letter) - ord("A")) % len(_LETTERS)]
        )
        fully = f"{section.letter}  {_clock(section.start_seconds, 1)}  {section.level}"
        room = right - left - 2 * _GAP
        for words in (fully, fully.rsplit("  ", 1)[0], section.letter):
            if canvas.width(words, 13) <= room:
                canvas.words((left + _GAP, (top + bottom) // 2), words, 13, _INK)
                break
        if section.start_seconds > 0:
            canvas.line(left, bottom, _SPECTRUM[1], _FAINT_INK, dash=3)


def _draw_edges(canvas: Canvas, axis: _Axis, analysis: Analysis) -> None:
    """Mark silence and fades below the waveform."""
    spans = []
    if analysis.starts_at_seconds is None or analysis.ends_at_seconds is None:
        spans.append((0.0, analysis.seconds, "silence"))
    else:
        start, end = analysis.starts_at_seconds, analysis.ends_at_seconds
        spans += [(0.0, start, "silence"), (end, analysis.seconds, "silence")]
        if analysis.beginning.fade_seconds:
            spans.append((start, start + analysis.beginning.fade_seconds, "fade-in"))
        if analysis.ending.fade_seconds:
            spans.append((end - analysis.ending.fade_seconds, end, "fade-out"))
    labels: list[tuple[int, int]] = []
    for start, end, words in spans:
        if end - start < _LEAST_MARKED_SECONDS:
            continue
        left, right = axis.x(start), axis.x(end)
        canvas.box((left, _WAVE[1] + 3, right, _WAVE[1] + 6), _MARK if words == "silence" else _FADE)
        if end - start > _LEAST_NAMED_SHARE * analysis.seconds:
            labels.append(_label_span(canvas, left, right, f"{words} {end - start:.1f} s", labels))


def _label_span(
    canvas: Canvas, left: int, right: int, label: str, labels: list[tuple[int, int]]
) -> tuple[int, int]:
    """Label a span below the waveform, above labels already there; return the label's left and right."""
    reach = canvas.width(label, 12)
    x = min(max((left + right - reach) // 2, _LEFT + 2), _RIGHT - reach - 2)
    overlapping = sum(x < stop and start < x + reach for start, stop in labels)
    canvas.words((x, _WAVE[1] - 8 - 15 * overlapping), label, 12, _INK)
    return x, x + reach


def _draw_seams(canvas: Canvas, axis: _Axis, seams_seconds: Sequence[float]) -> None:
    free = _LEFT
    for seam in sorted(seams_seconds):
        x, words = axis.x(seam), f"seam {_clock(seam, 0.1)}"
        canvas.line(x, _SECTIONS[0] - 14, _SECTIONS[0], _SEAM)
        canvas.line(x, _SECTIONS[1], _SPECTRUM[1], _SEAM)
        left = min(x + 3, _RIGHT - canvas.width(words, 12))
        if left >= free:
            canvas.words((left, _SECTIONS[0] - 8), words, 12, _SEAM)
            free = left + canvas.width(words, 12) + _GAP


def _clock(seconds: float, step: float) -> str:
    """Format a time as precisely as the axis step requires: `1:02:30`, `2:30`, `2:30.5`, `0:00.05`."""
    digits = 0 if step >= 1 else 1 if step >= 0.1 else 2  # noqa: PLR2004
    whole = round(seconds * 10**digits)
    minutes, rest = divmod(whole, 60 * 10**digits)
    second = f"{rest / 10**digits:0{3 + digits if digits else 2}.{digits}f}"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{second}" if hours else f"{minutes}:{second}"
