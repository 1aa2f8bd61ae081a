"""The name that a host gives a file, as a title."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outpaint_mcp.sources.disposition import title_in


@pytest.mark.parametrize(
    ("header", "title"),
    [
        ("attachment; filename=song.mp3", "song"),
        ('attachment; filename="My Song (mix 2).wav"', "My Song (mix 2)"),
        ('ATTACHMENT;FILENAME="My Song.flac"', "My Song"),
        (r'attachment; filename="a \"best\" take.ogg"', "a _best_ take"),
        ("attachment; filename*=UTF-8''%C3%BCbung%20%233.flac", "übung #3"),
        ("attachment; filename=\"ubung.flac\"; filename*=UTF-8'de'%C3%BCbung.flac", "übung"),
        ("attachment; filename*=UTF-8''%C3%BCbung.flac; filename=\"ubung.flac\"", "übung"),
        ("inline; filename*=iso-8859-1'en'%A3%20rates.wav", "£ rates"),
        ("attachment; filename*=utf-16''x; filename=song.wav", "song"),
        ("attachment; filename*=broken; filename=song.wav", "song"),
        ('attachment; filename="%E7%B7%B4%E7%BF%92.mp3"', "練習"),
        ('attachment; filename="100% real.mp3"', "100% real"),
        ('attachment; filename="übung.flac"', "übung"),
        ('attachment; filename="../../etc/passwd"', "passwd"),
        (r'attachment; filename="C:\\Music\\song.wav"', "song"),
        ("attachment; filename*=UTF-8''..%2F..%2Fsong.wav", "song"),
        ('attachment; filename="; filename=x"; size=3', "; filename=x"),
        ('attachment; filename="con.wav"', "_con"),
        ('attachment; filename=""', None),
        ('attachment; filename="/"', None),
        ("attachment; filename", None),
        ("attachment", None),
        ("", None),
    ],
)
def test_the_name_of_a_file_is_its_title(header: str, title: str | None) -> None:
    assert title_in(header) == title


@given(
    st.builds(
        "attachment; filename{}={}".format,
        st.sampled_from(["", "*"]),
        st.text() | st.text().map("UTF-8''{}".format) | st.text("a\"\\;%/.'é").map('"{}"'.format),
    )
)
def test_every_title_of_a_host_is_a_file_name_everywhere(header: str) -> None:
    title = title_in(header)
    if title is not None:
        assert title
        assert title == title.strip(" .")
        assert not set(title) & set('<>:"/\\|?*')
        assert title.isprintable() or " " in title
        assert len(title.encode()) <= 90
