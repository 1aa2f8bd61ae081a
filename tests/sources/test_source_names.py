"""Titles and redaction: what people and logs see of a source."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from outpaint_mcp.sources import redact, title_of
from outpaint_mcp.sources.names import quoted, scheme_of

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "hunter2SECRET"

anything = st.text(st.characters(codec=None, exclude_categories=()), max_size=300)
url_like = st.builds(
    "{}:{}{}".format,
    st.sampled_from(["https", "HTTPS", "http", "file", "data", "blob", "s3", "sandbox", " https"]),
    st.sampled_from(["", "/", "//", "///"]),
    anything,
)
anything_like_audio = anything | url_like
filler = st.text(max_size=20)


@pytest.mark.parametrize(
    ("audio", "title"),
    [
        ('"/music/Blue Monday.flac"', "Blue Monday"),
        (r"/music/Blue\ Monday.flac", "Blue Monday"),
        ("/music/Blue Monday.flac", "Blue Monday"),
        ("~/loop.wav", "loop"),
        ("Artist: Song.mp3", "Artist_ Song"),
        ("/music/01. Intro", "01. Intro"),
        ("/music/v1.2.wav", "v1.2"),
        ("/music/Motörhead.wav", "Motörhead"),
        ("/music/Moto\u0308rhead.wav", "Motörhead"),
        ("/music/.wav", "audio"),
        ("/music/con.mp3", "_con"),
        ("/music/COM1.take.wav", "_COM1.take"),
        ("/music/lpt³.wav", "_lpt³"),
        ("/music/console.wav", "console"),
        ("/music/what?*.wav", "what__"),
        ("/music/ends with dots....wav", "ends with dots"),
        ("/music/tab\there\x07.wav", "tab here"),
        ("/music/\u202egpj.wav", "gpj"),
        ("..", "audio"),
        ("/", "audio"),
        ("", "audio"),
        ("file:///music/My%20Song%20%231.mp3", "My Song #1"),
        ("https://cdn.example/a/My%20Song.mp3?sig=x#t=3", "My Song"),
        ("https://storage.example/o/folder%2Ftrack.wav?alt=media", "track"),
        ("https://cdn.example/a/folder/", "folder"),
        ("https://cdn.example", "audio"),
        ("https://cdn.example/?track.mp3", "audio"),
        ("https://user:pass@cdn.example", "audio"),
        ("https://cdn.example/%FF%FE.mp3", "__"),
        ("data:audio/wav;base64,UklGRg==", "audio"),
        ("blob:https://chat.example/3f2a", "3f2a"),
    ],
)
def test_a_title_is_the_name_a_person_knows_the_track_by(audio: str, title: str) -> None:
    assert title_of(audio) == title


@settings(deadline=None)
@given(anything_like_audio)
def test_every_title_is_a_file_name_everywhere(audio: str) -> None:
    title = title_of(audio)
    assert 0 < len(title) <= 80
    assert len(f"{title}, extended 240s before and 240s after (99).flac".encode()) <= 143, "eCryptfs"
    assert title == title.strip(" .")
    assert not set(title) & set('<>:"/\\|?*')
    assert not [mark for mark in title if unicodedata.category(mark).startswith(("C", "Zl", "Zp"))]
    assert title.split(".")[0].rstrip().upper() not in {"CON", "PRN", "AUX", "NUL", "COM1", "LPT9"}


@pytest.mark.parametrize("name", ["x" * 300, "é" * 300, "音" * 300, "🎵" * 300, "con." + "x" * 300])
def test_a_long_name_is_cut_between_characters(name: str) -> None:
    title = title_of(f"/music/{name}.wav")
    assert len(title) >= 22
    assert title.removeprefix("_") in name


@pytest.mark.parametrize(
    ("audio", "shown"),
    [
        ("/music/what? #1 @home.wav", "/music/what? #1 @home.wav"),
        (r"C:\music\loop.wav", r"C:\music\loop.wav"),
        ("'/music/loop.wav'", "/music/loop.wav"),
        ("vol.two/what now?.wav", "vol.two/what now?.wav"),
        ("www.h.example/a.mp3?sig", "www.h.example/a.mp3"),
        ("user:pw@h.example/a.mp3", "h.example/a.mp3"),
        ("Artist: Song.mp3", "Artist: Song.mp3"),
        ("https://h.example/a/b.mp3?sig=1#t", "https://h.example/a/b.mp3"),
        ("https://h.example:8443?sig=1", "https://h.example:8443"),
        ("HTTPS://user:pw@h.example/a@b.mp3", "https://h.example/a@b.mp3"),
        ("https://[2606:4700::1]:443/x", "https://[2606:4700::1]:443/x"),
        ("https://user:pw", "https://…"),
        ("https://user:pa#ss@h.example/x", "https://…"),
        ("https://127.0.0.1\\@h.example/x", "https://…"),
        ("https:user:pw@h.example/x", "https:…"),
        ("s3://key:pw@bucket/x", "s3://bucket/x"),
        ("blob:https://chat.example/3f2a?t=1", "blob:https://chat.example/3f2a"),
        ("data:audio/wav;base64,AAAA", "data:audio/wav;base64,… (3 bytes)"),
        ("data:Audio/WAV;codecs=1;base64," + "A" * 16460, "data:audio/wav;base64,… (12,345 bytes)"),
        ("data:audio/wav;base64,AA==", "data:audio/wav;base64,… (1 bytes)"),
        ("data:hunter2", "data:…"),
    ],
)
def test_what_is_shown_has_no_user_info_query_or_content(audio: str, shown: str) -> None:
    assert redact(audio) == shown


@settings(deadline=None)
@given(
    st.sampled_from(
        [
            "https://user:{}@h.example/a/track.mp3",
            "https://{}@h.example/a/track.mp3",
            "https://user:{}@h.example",
            "https://user:{}@127.0.0.1\\@h.example/",
            "https://h.example/a/track.mp3?sig={}",
            "https://h.example/a/track.mp3#{}",
            "https://h.example?{}",
            "https://h.example#{}",
            "https://h.example?to=x@{}",
            " HTTPS://h.example/a?x={}",
            "http:user:{}@h.example",
            "s3://key:{}@bucket/a",
            "blob:https://user:{}@h.example/3f2a",
            "data:audio/wav;base64,{}",
            "data:{}",
            '"https://user:{}@h.example/a"',
            "'https://h.example/a?sig={}'",
        ]
    ),
    filler,
    filler,
)
def test_a_secret_in_a_link_is_never_shown(template: str, before: str, after: str) -> None:
    in_authority = "@h" in template or "@127" in template or "@b" in template
    hidden = (before + SECRET + after).replace("/", "") if in_authority else before + SECRET + after
    audio = template.format(hidden)
    assert SECRET not in redact(audio)
    assert SECRET not in quoted(audio)
    assert SECRET not in title_of(audio)


@settings(deadline=None)
@given(
    st.sampled_from(
        [
            "www.h.example/track.mp3?{}",
            "h.example/a/track.wav?sig={}",
            "h.example:8443/track.wav#{}",
            "me:{}@h.example/track.wav",
            "//h.example/track.wav?sig={}",
            "localhost:8000/track.wav?sig={}",
        ]
    ),
    st.text(st.characters(exclude_categories=("Z", "C"), exclude_characters="/@"), max_size=20),
)
def test_a_secret_in_a_link_without_its_scheme_is_never_shown(template: str, before: str) -> None:
    audio = template.format(before + SECRET)
    assert SECRET not in redact(audio)
    assert SECRET not in quoted(audio)


@settings(deadline=None)
@given(anything_like_audio)
def test_anything_can_be_shown_in_a_one_line_message(audio: str) -> None:
    shown = quoted(audio)
    assert shown.isprintable()
    assert len(shown) <= 170
    assert shown.encode()


@settings(deadline=None)
@given(anything)
def test_paths_are_shown_as_they_are(audio: str) -> None:
    assume(not set(audio) & set("?#@\"'`“") and not audio.startswith("//"))
    assert scheme_of(audio.strip()) or redact(audio) == audio.strip()


class Unread(str):
    """A text of which nothing but short pieces may be taken."""

    __slots__ = ()

    def __getitem__(self, at: object) -> str:
        taken = super().__getitem__(at)  # type: ignore[index]
        assert len(taken) <= 10_000
        return taken

    def strip(self, chars: str | None = None, /) -> str:
        assert chars is None
        return self

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("read whole")


def test_of_audio_in_the_request_only_the_head_is_looked_at() -> None:
    uri = Unread("data:audio/wav;base64," + "A" * 4_000_000)
    assert redact(uri) == "data:audio/wav;base64,… (3,000,000 bytes)"
    assert quoted(uri) == f'"{redact(uri)}"'
    assert title_of(uri) == "audio"


def test_a_link_beyond_all_length_is_not_shown() -> None:
    assert redact(f"https://{'x' * 20_000}{SECRET}@h.example/a") == "https:…"
