"""Links to pages about music, which are refused by their address."""

from __future__ import annotations

import pytest

from outpaint_mcp.errors import UnsupportedAudio
from outpaint_mcp.sources import RemoteUrl, resolve_source


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://www.youtube.com/watch?v=dQw4w9WgXcQ", "page of YouTube"),
        ("https://youtu.be/dQw4w9WgXcQ?si=hunter2", "page of YouTube"),
        ("https://music.youtube.com/watch?v=dQw4w9WgXcQ", "page of YouTube"),
        ("https://M.YouTube.com/shorts/x", "page of YouTube"),
        ("https://open.spotify.com/track/4cOdK2wGLETKBW3PvgPWqT", "page of Spotify"),
        ("https://soundcloud.com/artist/my-track", "page of SoundCloud"),
        ("https://artist.bandcamp.com/track/my-track", "page of Bandcamp"),
        ("https://artist.bandcamp.com", "page of Bandcamp"),
        ("https://music.apple.com/us/album/x/1?i=2", "page of Apple Music"),
        ("https://www.deezer.com/track/3135556", "page of Deezer"),
        ("https://tidal.com/browse/track/1", "page of Tidal"),
        ("https://vm.tiktok.com/ZMabc/", "page of TikTok"),
        ("https://vimeo.com/76979871", "page of Vimeo"),
        ("https://player.vimeo.com/video/76979871?h=hunter2", "page of Vimeo"),
        ("https://drive.google.com/file/d/1AbC-d_e/view?usp=sharing", "uc?export=download&id=1AbC-d_e"),
        ("https://drive.google.com/drive/folders/1AbC", "page of Google Drive"),
        ("https://www.dropbox.com/scl/fi/abc/My%20Track.mp3?rlkey=hunter2&dl=0", "dl=1"),
        ("https://www.dropbox.com/s/abc/track.wav", "dl=1"),
        ("https://1drv.ms/u/s!abc", "page of OneDrive"),
        ("https://we.tl/t-abc", "page of WeTransfer"),
    ],
)
def test_a_page_about_music_is_refused_with_what_to_do(url: str, words: str) -> None:
    with pytest.raises(UnsupportedAudio) as refusal:
        resolve_source(url, input_dirs=[])
    message = str(refusal.value)
    assert words in message
    assert "give" in message
    assert "hunter2" not in message
    assert message.isprintable()
    assert message.endswith(".")
    assert len(message) < 500


@pytest.mark.parametrize(
    "url",
    [
        "https://rr3---sn-4g5e6nsz.googlevideo.com/videoplayback?expire=1",
        "https://cf-media.sndcdn.com/abc.128.mp3?Policy=x",
        "https://api.soundcloud.com/tracks/1/stream",
        "https://t4.bcbits.com/stream/abc/mp3-128/1?token=x",
        "https://popplers5.bandcamp.com/download/track?enc=flac&id=1",
        "https://audio-ssl.itunes.apple.com/preview.m4a",
        "https://player.vimeo.com/external/1.sd.mp4?s=x",
        "https://www.facebook.com/shared/film.mp4",
        "https://drive.google.com/uc?export=download&id=1AbC",
        "https://drive.usercontent.google.com/download?id=1AbC",
        "https://www.dropbox.com/scl/fi/abc/My%20Track.mp3?rlkey=x&dl=1",
        "https://www.dropbox.com/s/abc/track.wav?raw=1",
        "https://dl.dropboxusercontent.com/s/abc/track.wav",
        "https://onedrive.live.com/download?cid=1",
        "https://notyoutube.com/watch?v=1",
        "https://youtube.com.example/watch?v=1",
    ],
)
def test_a_link_to_a_file_is_no_page_whoever_has_it(url: str) -> None:
    assert resolve_source(url, input_dirs=[]) == RemoteUrl(url)
