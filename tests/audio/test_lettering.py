"""Letters that people have are drawn; what no font has is left out, and never a box."""

import unicodedata

import numpy as np
import pytest
from PIL import Image, ImageDraw

from outpaint_mcp.audio.hearing import lettering
from outpaint_mcp.audio.hearing.lettering import Lettering

NAMES = (
    "Übung \N{EN DASH} Café №3",
    "Ωmega Ελλάδα",
    "Жизнь",
    "音楽 한국어 中文",
    "naïve “x” \N{RIGHT SINGLE QUOTATION MARK}n…",
    "\N{MINUS SIGN}\N{INFINITY}",
    "Łódź Øst Þór ß",
    "♫ 🎵 \u200d\ufe0f",
    unicodedata.normalize("NFD", "é à ñ"),
)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system without fonts."""
    monkeypatch.setattr(lettering, "_FILES", ())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("fonts", ["the system's", "none"])
def test_whatever_is_shown_has_a_glyph(name: str, fonts: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if fonts == "none":
        monkeypatch.setattr(lettering, "_FILES", ())
    words = Lettering(14)
    shown = words._shown(name)
    assert all(words._font_for(letter) is not None for letter in shown)
    for font, run in words._runs(shown):
        for letter in run:
            assert letter.isspace() or lettering._pixels(font.getmask(letter)) != lettering._missing(font)


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Übung \N{EN DASH} Café.ogg", "Ubung - Cafe.ogg"),
        ("Łódź.mp3", "Lodz.mp3"),
        ("音楽.wav", "…wav"),
        ("a 音楽 b", "a … b"),
        ("\N{LATIN SMALL LETTER E}\N{COMBINING ACUTE ACCENT}", "e"),
        ("plain name 1", "plain name 1"),
    ],
)
def test_without_a_font_letters_are_simplified_or_left_out(name: str, shown: str) -> None:
    assert Lettering(14)._shown(name).replace("….", "…") == shown


@pytest.mark.usefixtures("bare")
def test_what_cannot_be_shown_as_it_is_is_known() -> None:
    assert Lettering(12).can_show("6 dB")
    assert not Lettering(12).can_show("\N{MINUS SIGN}\N{INFINITY}")


@pytest.mark.parametrize(("anchor", "left", "right"), [("lm", 100, 160), ("mm", 70, 130), ("rm", 40, 100)])
def test_words_stand_where_their_anchor_is(anchor: str, left: int, right: int) -> None:
    image = Image.new("L", (200, 40))
    words = Lettering(14)
    words.draw(ImageDraw.Draw(image), (100, 20), "HHHH", 255, anchor)  # type: ignore[arg-type]  # one channel
    inked = np.flatnonzero(np.array(image).max(axis=0))
    assert left - 2 <= inked[0] <= inked[-1] <= right + 2
    rows = np.flatnonzero(np.array(image).max(axis=1))
    assert abs((rows[0] + rows[-1]) / 2 - 20) <= 2
    assert words.width("HHHH") == pytest.approx(inked[-1] - inked[0] + 1, abs=6)
