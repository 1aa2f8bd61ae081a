"""The files that people have are read whole, as the reference decoder of each reads them."""

# mypy: allow-untyped-calls

from __future__ import annotations

import base64
import struct
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest
import soundfile
from mutagen.mp4 import MP4
from tests.audio.encoding import as_integers, encode, music, write_flac

from outpaint_mcp.audio.files.decode import AudioReader, probe
from outpaint_mcp.audio.files.encode import delivery_format
from outpaint_mcp.audio.files.formats import write_as
from outpaint_mcp.audio.files.kinds import RULES
from outpaint_mcp.audio.files.sound_file import SequentialFile
from outpaint_mcp.audio.files.values import convert
from outpaint_mcp.errors import UnsupportedAudio

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

ID3V1 = b"TAG" + b"Song".ljust(125, b"\0")
ID3V2 = b"ID3\x04\0\0\0\0\0\x0a" + bytes(10)
ID3V2_WITH_FOOTER = b"ID3\x04\0\x10\0\0\0\x0a" + bytes(10) + b"3DI\x04\0\x10\0\0\0\x0a"
LYRICS3 = b"LYRICSBEGIN" + b"LYR02000" + b"[00:01]la la\r\n" * 150 + b"002120LYRICS200"


def read(path: Path, dtype: str = "float32") -> tuple[npt.NDArray[Any], str]:
    """All that a file holds, and what is remarked of it."""
    with AudioReader(path) as source:
        blocks = [block.copy() for block in source.blocks(np.dtype(dtype))]
        return np.concatenate([*blocks, np.zeros((0, source.probe.channels), dtype)]), source.remark


def alone(path: Path) -> npt.NDArray[np.float32]:
    """All of a plain file, as libsndfile decodes it."""
    with SequentialFile(path) as file:
        blocks = []
        while len(block := file.read(out=np.empty((65_536, file.channels), np.float32))):
            blocks.append(block.copy())
    return np.concatenate(blocks)


def write(
    path: Path,
    samples: npt.NDArray[Any],
    rate: int,
    container: str,
    subtype: str,
    **more: Any,  # noqa: ANN401
) -> Path:
    with soundfile.SoundFile(
        path, "w", rate, samples.shape[1], format=container, subtype=subtype, **more
    ) as file:
        for first in range(0, len(samples), 65_536):
            file.write(samples[first : first + 65_536])
    return path


@pytest.mark.parametrize(
    ("rate", "channels", "bits"), [(44_100, 2, 16), (48_000, 1, 24), (22_050, 6, 16), (8_000, 2, 8)]
)
@pytest.mark.parametrize("total", ["none", "a third", "twice"])
def test_a_flac_is_read_to_its_end_whatever_its_header_says_of_that(
    tmp_path: Path, rate: int, channels: int, bits: int, total: str
) -> None:
    values = as_integers(music(3, rate, channels), bits)
    subtype = {8: "PCM_S8", 16: "PCM_16", 24: "PCM_24"}[bits]
    path = write(tmp_path / "song.flac", values, rate, "FLAC", subtype)
    content = bytearray(path.read_bytes())
    frames = {"none": 0, "a third": rate, "twice": 6 * rate}[total]
    content[21] = content[21] & 0xF0 | frames >> 32
    content[22:26] = (frames & 0xFFFF_FFFF).to_bytes(4, "big")
    path.write_bytes(content)
    found, remark = read(path, values.dtype.name)
    assert np.array_equal(found, values)
    assert probe(path).frames == len(values)
    assert ("header says" in remark) == (total != "none")


@pytest.mark.parametrize("bits", [4, 8, 12, 16, 17, 20, 24])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_flac_of_any_depth_is_read_exactly_and_delivered_no_shallower(
    tmp_path: Path, bits: int, channels: int
) -> None:
    values = as_integers(music(0.2, 44_100, channels), bits)
    path = write_flac(tmp_path / "song.flac", values, bits)
    assert np.array_equal(read(path, values.dtype.name)[0], values)
    depth = {"PCM_S8": 8, "PCM_16": 16, "PCM_24": 24}[delivery_format(probe(path)).subtype]
    assert bits <= depth < bits + 8 or bits == 4


@pytest.mark.parametrize("before", [b"", ID3V2, ID3V2 + ID3V2, ID3V2_WITH_FOOTER])
@pytest.mark.parametrize("behind", [b"", ID3V1, bytes(3_000)])
def test_tags_around_a_flac_change_nothing(tmp_path: Path, before: bytes, behind: bytes) -> None:
    values = as_integers(music(1), 16)
    path = write_flac(tmp_path / "song.flac", values, 16, total=False)
    path.write_bytes(before + path.read_bytes() + behind)
    assert np.array_equal(read(path, "int16")[0], values)
    assert probe(path).frames == len(values)


@pytest.mark.parametrize("total", [True, False])
def test_a_flac_whose_shortest_block_counts_the_last_is_as_long_as_it_is(
    tmp_path: Path, *, total: bool
) -> None:
    values = as_integers(music(2.1), 16)
    path = write_flac(tmp_path / "song.flac", values, 16, total=total)
    content = path.read_bytes()
    path.write_bytes(content[:8] + b"\0\x10" + content[10:])
    assert probe(path).frames == len(values)
    found, remark = read(path, "int16")
    assert np.array_equal(found, values)
    assert remark == ""


def test_a_flac_that_breaks_off_is_read_to_there_and_that_is_said(tmp_path: Path) -> None:
    values = as_integers(music(2), 16)
    path = write(tmp_path / "song.flac", values, 44_100, "FLAC", "PCM_16")
    path.write_bytes(path.read_bytes()[:100_000])
    found, remark = read(path, "int16")
    assert 10_000 < len(found) < len(values)
    assert np.array_equal(found, values[: len(found)])
    assert "damaged" in remark


CHAINS = [
    (("VORBIS", 44_100, 2), ("VORBIS", 44_100, 2)),
    (("VORBIS", 48_000, 1), ("OPUS", 48_000, 1), ("VORBIS", 48_000, 1)),
    (("OPUS", 48_000, 2), ("OPUS", 48_000, 2)),
]


@pytest.mark.parametrize("chain", CHAINS)
def test_every_link_of_a_chain_is_read_as_it_is_alone(
    tmp_path: Path, chain: tuple[tuple[str, int, int], ...]
) -> None:
    links = [
        write(
            tmp_path / f"{number}.ogg", music(2 + number, rate, channels, seed=number), rate, "OGG", subtype
        )
        for number, (subtype, rate, channels) in enumerate(chain)
    ]
    path = tmp_path / "radio.ogg"
    path.write_bytes(b"".join(link.read_bytes() for link in links))
    found, remark = read(path)
    expected = np.concatenate([alone(link) for link in links])
    assert np.array_equal(found, expected)
    assert (probe(path).frames, remark) == (len(expected), "")


def test_links_of_other_rates_and_channels_follow_at_the_highest_of_them(tmp_path: Path) -> None:
    first = write(tmp_path / "first.ogg", music(2, 22_050, 1), 22_050, "OGG", "VORBIS")
    second = write(tmp_path / "second.ogg", music(3, 44_100, 2, seed=1), 44_100, "OGG", "VORBIS")
    path = tmp_path / "radio.ogg"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    found, _ = read(path)
    seen = probe(path)
    assert (seen.sample_rate, seen.channels, seen.frames) == (44_100, 2, 5 * 44_100)
    assert np.array_equal(found[-3 * 44_100 :], alone(second))
    start = found[: 2 * 44_100]
    assert np.array_equal(start[:, 0], start[:, 1])
    assert np.abs(start[::2, 0] - alone(first)[:, 0]).max() < 0.05


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("size_bytes", [100, 500])
def test_a_broadcast_that_broke_off_as_another_link_began_is_read_up_to_there(
    tmp_path: Path, subtype: str, size_bytes: int
) -> None:
    first = write(tmp_path / "first.ogg", music(2, 24_000, 1), 24_000, "OGG", subtype)
    second = write(tmp_path / "second.ogg", music(2, 48_000, 2, seed=1), 48_000, "OGG", subtype)
    path = tmp_path / "radio.ogg"
    path.write_bytes(first.read_bytes() + second.read_bytes()[:size_bytes])
    found, remark = read(path)
    assert np.array_equal(found, alone(first))
    assert "damaged" in remark


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_an_ogg_that_breaks_off_is_read_to_there_and_that_is_said(tmp_path: Path, subtype: str) -> None:
    path = write(tmp_path / "song.ogg", music(3, 48_000), 48_000, "OGG", subtype)
    whole, remark = read(path)
    assert remark == ""
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    found, remark = read(path)
    assert 48_000 < len(found) < len(whole)
    assert "damaged" in remark


def test_more_links_than_are_read_are_not_left_out_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = write(tmp_path / "link.ogg", music(1), 44_100, "OGG", "VORBIS").read_bytes()
    path = tmp_path / "radio.ogg"
    path.write_bytes(3 * link)
    assert read(path)[1] == ""
    monkeypatch.setattr("outpaint_mcp.audio.files.opening._MOST_LINKS", 2)
    found, remark = read(path)
    assert len(found) == 2 * 44_100
    assert "damaged" in remark


@pytest.mark.parametrize(
    "other", [b"OggS\0\2" + bytes(8) + b"\7\0\0\0" + bytes(8) + b"\1\x0dfishead\0\3\0\0\0\0"]
)
def test_a_stream_of_something_else_beside_the_sound_is_passed_over(tmp_path: Path, other: bytes) -> None:
    song = write(tmp_path / "song.ogg", music(2), 44_100, "OGG", "VORBIS")
    path = tmp_path / "film.ogv"
    path.write_bytes(other + song.read_bytes())
    assert np.array_equal(read(path)[0], alone(song))


@pytest.mark.parametrize(("rate", "channels"), [(44_100, 2), (48_000, 6), (8_000, 1)])
@pytest.mark.parametrize("parts", [1, 2])
def test_flac_in_ogg_is_read_exactly(tmp_path: Path, rate: int, channels: int, parts: int) -> None:
    values = [as_integers(music(2, rate, channels, seed=seed), 16) for seed in range(parts)]
    path = tmp_path / "song.oga"
    path.write_bytes(
        b"".join(
            encode(tmp_path / f"{seed}.oga", each, "flac", "ogg", rate).read_bytes()
            for seed, each in enumerate(values)
        )
    )
    expected = np.concatenate(values)
    assert np.array_equal(read(path, "int16")[0], expected)
    assert probe(path).frames == len(expected)


SPEEX = (
    "T2dnUwACAAAAAAAAAAAAAAAAAAAAAAskkJsBUFNwZWV4ICAgMS4yLjEAAAAAAAAAAAAAAAAAAAABAAAAUAAAAEAfAAAAAAAABAAA"
    "AAEAAABuDwAAoAAAAAAAAAABAAAAAAAAAAAAAAAAAAAAT2dnUwAAAAAAAAAAAAAAAAAAAQAAANnNLHsBJwYAAABmZm1wZWcBAAAA"
    "FQAAAGVuY29kZXI9TGF2YyBsaWJzcGVleE9nZ1MABPgCAAAAAAAAAAAAAAIAAACy42MuBQoKCgoKQE+IKuGcpOrCzkBPiFwgrCTq"
    "wk5AT4hcIKwk6sJOQE+IXCCsJOrCTkBPiFwgrCTqwk4="
)
"""A tenth of a second of 300 Hz, by libspeex, which is not here."""


def test_speex_is_read(tmp_path: Path) -> None:
    path = tmp_path / "memo.spx"
    path.write_bytes(base64.b64decode(SPEEX))
    found, _ = read(path)
    assert (probe(path).container, probe(path).subtype, found.shape) == ("OGG", "SPEEX", (800, 1))
    assert np.abs(found).max() > 0.01


def cbr(path: Path, rate: int = 44_100, channels: int = 2) -> bytes:
    """An MP3 of one bit rate without its tag frame."""
    content = write(
        path,
        music(4, rate, channels),
        rate,
        "MP3",
        "MPEG_LAYER_III",
        bitrate_mode="CONSTANT",
        compression_level=0.6,
    ).read_bytes()
    size = content.index(content[:2], 4)
    return content[size:]


@pytest.mark.parametrize(("rate", "channels"), [(44_100, 2), (48_000, 1), (22_050, 2), (8_000, 1)])
@pytest.mark.parametrize("behind", [b"", ID3V1, bytes(5_000), LYRICS3 + ID3V1])
@pytest.mark.parametrize("share", [1.0, 0.67, 0.2])
def test_an_untagged_mp3_is_read_to_its_last_whole_frame_from_its_first_sample(
    tmp_path: Path, rate: int, channels: int, behind: bytes, share: float
) -> None:
    whole = cbr(tmp_path / "whole", rate, channels)
    plain = tmp_path / "plain.mp3"
    plain.write_bytes(whole)
    truth = alone(plain)
    path = tmp_path / "song.mp3"
    path.write_bytes(whole[: round(len(whole) * share)] + behind)
    found, _ = read(path)
    assert probe(path).frames == len(found)
    assert len(found) % (576 if rate < 32_000 else 1152) == 0
    assert abs(len(found) - share * len(truth)) < 2 * 1152
    assert np.abs(found - truth[: len(found)]).max() < 1e-6


def test_an_untagged_mp3_of_variable_rate_that_begins_softly_is_as_long_as_it_says(tmp_path: Path) -> None:
    soft = np.concatenate([np.zeros((44_100, 2), np.float32), music(6)])
    content = write(
        tmp_path / "tagged.mp3", soft, 44_100, "MP3", "MPEG_LAYER_III", bitrate_mode="VARIABLE"
    ).read_bytes()
    path = tmp_path / "song.mp3"
    path.write_bytes(content[content.index(content[:2], 4) :])
    found, remark = read(path)
    assert probe(path).frames == len(found)
    assert abs(len(found) - len(soft)) < 3 * 1152
    assert remark == ""


@pytest.mark.parametrize(("rate", "channels"), [(44_100, 2), (48_000, 1), (22_050, 2)])
def test_aac_by_the_name_of_an_mp3_is_read_as_aac(tmp_path: Path, rate: int, channels: int) -> None:
    samples = music(3, rate, channels)
    path = encode(tmp_path / "song.mp3", samples, "aac", "adts", rate)
    found, _ = read(path)
    seen = probe(path)
    assert (seen.container, seen.subtype, seen.sample_rate, seen.channels) == ("ADTS", "AAC", rate, channels)
    assert len(samples) < len(found) == seen.frames < len(samples) + 4 * 1024
    assert np.abs(found[1024 : 1024 + len(samples)] - samples).std() < 0.05


@pytest.mark.parametrize(("rate", "channels"), [(44_100, 2), (48_000, 6), (8_000, 1), (96_000, 2)])
@pytest.mark.parametrize("bits", [16, 24])
@pytest.mark.parametrize("container", ["ipod", "mov", "caf", "matroska"])
def test_alac_is_read_exactly(tmp_path: Path, container: str, bits: int, rate: int, channels: int) -> None:
    values = as_integers(music(1, rate, channels), bits)
    codec = "alac"
    path = encode(tmp_path / "song", values, codec, container, rate, layout="5.1" if channels == 6 else "")
    assert np.array_equal(read(path, values.dtype.name)[0], values)
    assert probe(path).subtype == f"ALAC_{bits}"


@pytest.mark.parametrize(("codec", "container"), [("aac", "ipod"), ("libopus", "matroska")])
def test_eight_channels_are_read_in_their_order(tmp_path: Path, codec: str, container: str) -> None:
    at = np.arange(48_000) * 2 * np.pi / 48_000
    samples = np.stack([0.1 * (channel + 1) * np.sin(200 * at) for channel in range(8)], axis=1).astype(
        np.float32
    )
    path = encode(tmp_path / "song", samples, codec, container, 48_000, layout="7.1", options={"b": "900000"})
    levels = read(path)[0][10_000:40_000].std(axis=0)
    full = [0, 1, 2, 4, 5, 6, 7]  # without that of low frequencies
    assert np.allclose(levels[full], samples.std(axis=0)[full], rtol=0.2)


@pytest.mark.parametrize("codec", ["pcm_s16le", "pcm_s24be", "pcm_f32le"])
def test_pcm_in_mov_is_read_exactly(tmp_path: Path, codec: str) -> None:
    samples = music(1)
    values = samples if codec == "pcm_f32le" else as_integers(samples, int(codec[5:7]))
    path = encode(tmp_path / "song.mov", values, codec, "mov")
    assert np.array_equal(read(path, values.dtype.name)[0], values)


LOSSY = [
    ("aac", "ipod", "M4A", "AAC"),
    ("aac", "mp4", "M4A", "AAC"),
    ("aac", "matroska", "MKV", "AAC"),
    ("libopus", "webm", "WEBM", "OPUS"),
    ("libmp3lame", "matroska", "MKV", "MPEG_LAYER_III"),
    ("ac3", "mp4", "M4A", "AC3"),
    ("wmav2", "asf", "WMA", "WMA"),
]


@pytest.mark.parametrize(("codec", "container", "name", "subtype"), LOSSY)
@pytest.mark.parametrize("channels", [1, 2])
def test_what_is_lossy_begins_where_it_began_and_is_as_long_as_it_was(  # noqa: PLR0913
    tmp_path: Path, codec: str, container: str, name: str, subtype: str, channels: int
) -> None:
    samples = music(3, 48_000, channels)
    path = encode(tmp_path / "song", samples, codec, container, 48_000, options={"b": "160000"})
    found, remark = read(path)
    seen = probe(path)
    assert (seen.container, seen.subtype, seen.channels) == (name, subtype, channels)
    assert abs(len(found) - len(samples)) <= 2048
    assert abs(seen.frames - len(samples)) <= 4096
    if codec not in {"ac3", "wmav2"}:  # nothing in these says how much the encoder put in front
        shared = min(len(found), len(samples))
        assert np.corrcoef(found[:shared, 0], samples[:shared, 0])[0, 1] > 0.98
    assert remark == ""


@pytest.mark.parametrize("seconds", [3.0, 2.123])
@pytest.mark.parametrize("wrong", [False, True])
def test_an_m4a_is_as_long_as_apples_note_says_unless_that_cannot_be(
    tmp_path: Path, seconds: float, *, wrong: bool
) -> None:
    samples = music(seconds)
    path = encode(tmp_path / "song.m4a", samples, "aac", "ipod")
    plain, _ = read(path)
    tags = MP4(path)
    frames = 50 * len(samples) if wrong else len(samples)
    note = f" 00000000 {1024:08X} {len(plain) - len(samples):08X} {frames:016X} " + "00000000 " * 8
    tags["----:com.apple.iTunes:iTunSMPB"] = note.encode()
    tags.save()
    found, remark = read(path)
    assert len(found) == (len(plain) if wrong else len(samples))
    assert np.array_equal(found, plain[: len(found)])
    assert remark == ""


def test_the_length_of_sound_that_begins_late_is_its_own(tmp_path: Path) -> None:
    samples = music(2, 48_000)
    early = encode(tmp_path / "early", samples, "libopus", "webm", 48_000, film=True)
    late = tmp_path / "late"
    with av.open(early) as source, av.open(late, "w", format="webm") as film:
        streams = {each.index: film.add_stream_from_template(each) for each in source.streams}
        for packet in source.demux():
            if packet.dts is None or packet.pts is None:
                continue
            if packet.stream.type == "audio":
                packet.pts += 3_000
                packet.dts += 3_000
            packet.stream = streams[packet.stream_index]
            film.mux(packet)
    assert abs(probe(late).frames - probe(early).frames) <= 1_000
    assert read(late)[1] == read(early)[1]


@pytest.mark.parametrize(
    ("codec", "container", "name"),
    [("aac", "mp4", "MP4"), ("libopus", "webm", "WEBM"), ("aac", "mov", "MOV")],
)
def test_the_sound_of_a_film_is_read_and_that_it_is_one_is_said(
    tmp_path: Path, codec: str, container: str, name: str
) -> None:
    samples = music(2, 48_000)
    path = encode(tmp_path / "film", samples, codec, container, 48_000, film=True)
    found, remark = read(path)
    assert probe(path).container == name
    assert abs(len(found) - len(samples)) <= 2048
    assert "only its sound is used" in remark


@pytest.mark.parametrize("cut", [1, 51, 333])
def test_aac_that_begins_within_a_frame_is_read_from_the_next_one(tmp_path: Path, cut: int) -> None:
    samples = music(3)
    path = encode(tmp_path / "radio.aac", samples, "aac", "adts")
    path.write_bytes(path.read_bytes()[cut:])
    found, _ = read(path)
    assert probe(path).container == "ADTS"
    assert len(samples) - 8 * 1024 < len(found) < len(samples) + 3 * 1024


def test_a_caf_that_breaks_off_is_read_to_there(tmp_path: Path) -> None:
    values = as_integers(music(2), 16)
    path = write(tmp_path / "song.caf", values, 44_100, "CAF", "PCM_16")
    path.write_bytes(path.read_bytes()[:200_000])
    found, _ = read(path, "int16")
    assert 40_000 < len(found) < len(values)
    assert np.array_equal(found, values[: len(found)])


def test_a_wav_whose_samples_are_in_front_of_their_format_is_read(tmp_path: Path) -> None:
    values = as_integers(music(1), 16)
    data = b"data" + struct.pack("<I", values.nbytes) + values.tobytes()
    path = tmp_path / "song.wav"
    path.write_bytes(riff(data + fmt(16, 2, 44_100, 4)))
    assert np.array_equal(read(path, "int16")[0], values)


def test_a_film_without_sound_is_refused(tmp_path: Path) -> None:
    path = encode(tmp_path / "film.mp4", music(1), "aac", "mp4", film=True)
    path.write_bytes(path.read_bytes().replace(b"soun", b"xxxx").replace(b"mp4a", b"xxxx"))
    with pytest.raises(UnsupportedAudio, match="without sound"):
        read(path)


@pytest.mark.parametrize(
    "kind", [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAVEX", "PCM_24"), ("AIFF", "PCM_16"), ("AIFF", "FLOAT")]
)
def test_what_breaks_off_is_read_to_there_and_the_length_in_its_header_is_said(
    tmp_path: Path, kind: tuple[str, str]
) -> None:
    path = write(tmp_path / "song", music(4), 44_100, *kind)
    assert read(path)[1] == ""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found, remark = read(path)
    assert 1.9 * 44_100 < len(found) < 2.1 * 44_100
    assert "header says 4.00 s" in remark


def riff(chunks: bytes, mark: bytes = b"RIFF", size: int | None = None) -> bytes:
    return mark + struct.pack("<I", 4 + len(chunks) if size is None else size) + b"WAVE" + chunks


def fmt(bits: int, channels: int, rate: int, block: int, tag: int = 1) -> bytes:
    return b"fmt " + struct.pack("<IHHIIHH", 16, tag, channels, rate, rate * block, block, bits)


@pytest.mark.parametrize(("rate", "channels", "bits"), [(44_100, 2, 16), (48_000, 1, 24), (8_000, 6, 32)])
@pytest.mark.parametrize("size", [0, 36, 0xFFFF_FFFF, 1 << 20])
def test_a_wav_whose_recorder_died_is_read_to_its_end(
    tmp_path: Path, rate: int, channels: int, bits: int, size: int
) -> None:
    values = as_integers(music(2, rate, channels), bits)
    packed = values.astype("<i4").view(np.uint8).reshape(-1, 4)[:, 4 - bits // 8 :] if bits > 16 else values
    data = struct.pack("<I", size if size == 0xFFFF_FFFF else 0) + packed.tobytes()
    path = tmp_path / "take.wav"
    path.write_bytes(riff(fmt(bits, channels, rate, channels * bits // 8) + b"data" + data, size=size))
    assert np.array_equal(read(path, values.dtype.name)[0], values)


def test_a_wav_that_holds_nothing_but_chunks_behind_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "empty.wav"
    path.write_bytes(
        riff(fmt(16, 2, 44_100, 4) + b"data" + bytes(4) + b"LIST" + struct.pack("<I", 400) + bytes(400))
    )
    assert len(read(path)[0]) == 0


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("is_low", [True, False])
@pytest.mark.parametrize("is_extensible", [True, False])
def test_24_bits_in_4_bytes_are_as_loud_as_they_are(
    tmp_path: Path, channels: int, *, is_low: bool, is_extensible: bool
) -> None:
    values = as_integers(music(1, 44_100, channels), 24)
    stored = values >> 8 if is_low else values
    path = tmp_path / "song.wav"
    data = stored.astype("<i4").tobytes()
    header = fmt(24, channels, 44_100, 4 * channels)
    if is_extensible:
        guid = bytes.fromhex("0100000000001000800000aa00389b71")
        plain = fmt(32, channels, 44_100, 4 * channels, 0xFFFE)[8:]
        header = b"fmt " + struct.pack("<I", 40) + plain + struct.pack("<HHI", 22, 24, 0) + guid
    path.write_bytes(riff(header + b"data" + struct.pack("<I", len(data)) + data))
    assert np.array_equal(read(path, "int32")[0], values)
    assert np.array_equal(read(path)[0], (values / 2**31).astype(np.float32))


def test_bw64_is_read_exactly(tmp_path: Path) -> None:
    values = as_integers(music(1), 16)
    data = values.tobytes()
    ds64 = b"ds64" + struct.pack("<IQQQI", 28, 72 + len(data), len(data), len(values), 0)
    path = tmp_path / "song.wav"
    path.write_bytes(riff(ds64 + fmt(16, 2, 44_100, 4) + b"data" + b"\xff" * 4 + data, b"BW64", 0xFFFF_FFFF))
    assert np.array_equal(read(path, "int16")[0], values)


@pytest.mark.parametrize(
    ("layout", "mask"), [("5.1(side)", 0x60F), ("5.1", 0x3F), ("2.1", 0xB), ("stereo", 0x3), ("quad", 0x33)]
)
@pytest.mark.parametrize(("codec", "container"), [("pcm_s16le", "wav"), ("flac", "flac")])
def test_the_speakers_of_a_file_are_known(
    tmp_path: Path, layout: str, mask: int, codec: str, container: str
) -> None:
    channels = mask.bit_count()
    path = encode(
        tmp_path / "song", as_integers(music(0.3, 44_100, channels), 16), codec, container, layout=layout
    )
    assert probe(path).layout in {mask, 0 if layout == "stereo" else mask}


SPEAKERS = [
    *(
        (layout, *kind)
        for layout in ("5.1(side)", "2.1", "5.1", "7.1")
        for kind in (("pcm_s24le", "wav"), ("flac", "flac"))
    ),
    ("5.1", "alac", "ipod"),
]


@pytest.mark.parametrize(("layout", "codec", "container"), SPEAKERS)
@pytest.mark.parametrize("form", ["source", "flac", "wav16"])
def test_the_speakers_of_a_file_are_those_of_the_source(
    tmp_path: Path, layout: str, codec: str, container: str, form: str
) -> None:
    values = as_integers(music(0.3, 48_000, len(av.AudioLayout(layout).channels)), 24)
    source = encode(tmp_path / "source", values, codec, container, 48_000, layout=layout)
    write_as(source, tmp_path / "written", format=form, on_progress=lambda _: None)
    with av.open(tmp_path / "written") as written:
        assert written.streams.audio[0].layout.name == layout
    if form != "wav16":
        assert np.array_equal(read(tmp_path / "written", "int32")[0], values)


@pytest.mark.parametrize("family", ["1", "255"])
def test_channels_of_opus_stay_in_their_order(tmp_path: Path, family: str) -> None:
    samples = np.zeros((48_000, 6), np.float32)
    for channel in range(6):
        samples[:, channel] = 0.1 * (channel + 1) * np.sin(np.arange(48_000) * 2 * np.pi * 200 / 48_000)
    path = encode(
        tmp_path / "song.opus", samples, "libopus", "ogg", 48_000,
        options={"mapping_family": family, "b": "600000"},
    )  # fmt: skip
    found, _ = read(path)
    levels = found[10_000:40_000].std(axis=0)
    assert np.allclose(levels[[0, 1, 2, 4, 5]], samples.std(axis=0)[[0, 1, 2, 4, 5]], rtol=0.2)


def test_what_other_programs_may_read_otherwise_is_not_taken_for_ordinary(tmp_path: Path) -> None:
    plain = write(tmp_path / "plain.wav", music(1), 44_100, "WAV", "PCM_16")
    rifx = write(tmp_path / "rifx.wav", music(1), 44_100, "WAV", "PCM_16", endian="BIG")
    layer_2 = encode(tmp_path / "layer.mp3", music(1), "mp2", "mp2")
    tagged = tmp_path / "tagged.wav"
    tagged.write_bytes(ID3V2 + plain.read_bytes())
    assert rifx.read_bytes().startswith(b"RIFX")
    assert probe(plain).is_ordinary
    assert not any(probe(each).is_ordinary for each in (rifx, layer_2, tagged))


def test_alac_is_not_asked_for_speakers_that_it_lacks(tmp_path: Path) -> None:
    source = encode(
        tmp_path / "song.wav",
        as_integers(music(0.3, 48_000, 3), 16),
        "pcm_s16le",
        "wav",
        48_000,
        layout="2.1",
    )
    written = write_as(source, tmp_path / "written", format="alac", on_progress=lambda _: None)
    assert written.container == "FLAC"
    with av.open(tmp_path / "written") as opened:
        assert opened.streams.audio[0].layout.name == "2.1"


@pytest.mark.parametrize("dtype", ["int16", "int32"])
def test_what_is_at_full_scale_or_beyond_stays_there(dtype: str) -> None:
    found = np.empty((4, 1), dtype)
    convert(np.array([[1.0], [2.0], [-1.0], [-2.0]], np.float32), found)
    scale = np.iinfo(dtype)
    assert found[:, 0].tolist() == [scale.max, scale.max, scale.min, scale.min]


def test_every_row_of_the_rule_has_a_reason() -> None:
    assert all(reason for _, _, reason in RULES)
