"""Opening an audio file with the decoder that `kinds` says, in the parts that it consists of."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial
from io import SEEK_END
from typing import TYPE_CHECKING, Any, BinaryIO

import av
import soundfile

from outpaint_mcp.audio.files import aiff, flac, mp3, ogg, wav
from outpaint_mcp.audio.files.decoder import READABLE, NotDecodable
from outpaint_mcp.audio.files.ffmpeg import FFmpegDecoder
from outpaint_mcp.audio.files.joined import JoinedDecoder
from outpaint_mcp.audio.files.kinds import recognise
from outpaint_mcp.audio.files.protection import protected_or_broken
from outpaint_mcp.audio.files.refusals import OPENING_BYTES, refusal, shown_name, undecoded
from outpaint_mcp.audio.files.sound_file import SoundFileDecoder
from outpaint_mcp.audio.files.spliced_file import SplicedFile
from outpaint_mcp.errors import SourceUnreachable, UnsupportedAudio

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from outpaint_mcp.audio.files.decoder import Decoder
    from outpaint_mcp.audio.files.joined import Opener
    from outpaint_mcp.audio.files.kinds import Kind

_ALAC_OF_LIBSNDFILE = frozenset({"ALAC_16", "ALAC_20", "ALAC_24"})
_USUAL_BITS = frozenset({8, 16, 24})
"""The depths of FLAC that every program reads; few read others."""
_EBML_LOOK_BYTES = 64
_MOST_LINKS = 2_000


def open_decoder(path: Path) -> Decoder:
    """Open a file so that all of it is decoded.

    Raises:
        SourceUnreachable: it cannot be read.
        UnsupportedAudio: it is not audio that can be decoded.
    """
    name = shown_name(path)
    opening = b""
    try:
        with path.open("rb") as file:
            opening = file.read(OPENING_BYTES)
            if problem := refusal(opening, name) or protected_or_broken(file, name):
                raise UnsupportedAudio(problem)
            return _open(path, file)
    except NotDecodable as exc:
        raise UnsupportedAudio(f"{name} {exc}. {READABLE}") from exc
    # TypeError: a headerless `.raw`
    except (av.FFmpegError, soundfile.LibsndfileError, TypeError) as exc:
        raise UnsupportedAudio(undecoded(opening, name)) from exc
    except OSError as exc:
        raise SourceUnreachable(f"{name} cannot be read: {exc.strerror}.") from exc


def _open(path: Path, file: BinaryIO) -> Decoder:
    kind = recognise(file)
    match kind.container:
        case "MP3":
            scans = mp3.scan(path)
            parts: list[Opener] = [
                partial(_Mp3Decoder, path, part, is_all=len(scans) == 1) for part in scans[: mp3.MOST_PARTS]
            ]
            return _join(parts, is_all=len(scans) <= mp3.MOST_PARTS) if parts else _open_other_mpeg(path)
        case "OGG":
            return _open_ogg(path, file)
        case "FLAC":
            return _open_flac(path, file, kind)
        case "WAV":
            return _open_wav(path, file, kind)
    return _open_by_ffmpeg(path, file, kind) if kind.demuxer else _open_plain(path, file, kind)


def _open_plain(path: Path, file: BinaryIO, kind: Kind) -> Decoder:
    try:
        return SoundFileDecoder(path, stated=aiff.stated_frames(file) if kind.container == "AIFF" else 0)
    except soundfile.LibsndfileError:  # such as a CAF that breaks off
        return FFmpegDecoder(path.open("rb"), kind.container.lower(), kind.container)


def _open_by_ffmpeg(path: Path, file: BinaryIO, kind: Kind) -> Decoder:
    if kind.container == "CAF" and (alac := _alac_by_libsndfile(path)):
        return alac
    found = FFmpegDecoder(path.open("rb"), kind.demuxer, kind.container)
    found.probe = replace(found.probe, container=_container(kind, file, is_video=found.probe.is_video))
    return found


def _alac_by_libsndfile(path: Path) -> Decoder | None:
    """Open ALAC of libsndfile, of which FFmpeg loses the end where all packets are full; not of 32 bits."""
    with suppress(soundfile.LibsndfileError):
        found = SoundFileDecoder(path)
        if found.probe.subtype in _ALAC_OF_LIBSNDFILE and found.probe.channels <= 2:  # noqa: PLR2004 - others have an order
            return found
        found.close()
    return None


def _open_other_mpeg(path: Path) -> Decoder:
    """Open layer II, or layer III of a free format; its length is a guess by the size of the file."""
    found = SoundFileDecoder(path)
    found.probe = replace(found.probe, is_exact=False, is_ordinary=False)
    return found


def _join(parts: Sequence[Opener], *, is_all: bool = True) -> Decoder:
    return parts[0]() if is_all and len(parts) == 1 else JoinedDecoder(parts, is_all=is_all)


class _Mp3Decoder(SoundFileDecoder):
    """Decodes one part of an MP3; not intact where frames are missing, either."""

    def __init__(self, path: Path, part: mp3.FrameScan, *, is_all: bool) -> None:
        is_ordinary = is_all and not part.needs_repair
        super().__init__(path if is_ordinary else part.repaired(path))
        self._part = part
        self.probe = replace(
            self.probe,
            frames=part.samples(self.probe.frames),
            stated_frames=part.stated_samples,
            is_ordinary=is_ordinary,
        )

    def read_into(self, out: npt.NDArray[Any]) -> int:
        """See `Decoder.read_into`."""
        count = super().read_into(out)
        if not count and self._part.is_broken(self._at):
            self.intact = False
        return count


def _open_ogg(path: Path, file: BinaryIO) -> Decoder:
    links = ogg.links(file)
    if not links:
        raise NotDecodable("has no sound in an encoding that is supported")
    size = file.seek(0, SEEK_END)
    is_plain = len(links) == 1 and links[0].runs == [(0, size)]
    parts = [partial(_open_link, path, link, is_plain=is_plain) for link in links[:_MOST_LINKS]]
    return _join(parts, is_all=len(links) <= _MOST_LINKS and not links[-1].breaks_off)


def _open_link(path: Path, link: ogg.Link, *, is_plain: bool) -> Decoder:
    if link.is_flac:
        return FFmpegDecoder(SplicedFile(path, b"", link.runs), "ogg", "FLAC", frames=link.position or None)
    if link.is_speex:
        return FFmpegDecoder(SplicedFile(path, b"", link.runs), "ogg", "OGG")
    source = path if is_plain else SplicedFile(path, b"", link.runs)
    return SoundFileDecoder(source, in_vorbis_order=link.is_in_vorbis_order)


def _open_flac(path: Path, file: BinaryIO, kind: Kind) -> Decoder:
    info, frames, is_exact = flac.count_frames(file, kind.start)
    stated = 0 if info is None else info.frames
    if not frames or (stated and not is_exact):
        return FFmpegDecoder(path.open("rb"), kind.demuxer, kind.container, frames=stated or None)
    is_right = frames == stated
    found = FFmpegDecoder(path.open("rb"), kind.demuxer, kind.container, frames=frames)
    found.probe = replace(
        found.probe,
        stated_frames=0 if is_right else stated,
        is_exact=is_exact,
        is_ordinary=is_right and kind.start == 0 and info is not None and info.bits in _USUAL_BITS,
    )
    return found


def _open_wav(path: Path, file: BinaryIO, kind: Kind) -> Decoder:
    header = wav.read_header(file)
    if kind.demuxer or (header and header.needs_ffmpeg):
        return FFmpegDecoder(path.open("rb"), "wav", "WAV")
    try:
        if header is None:  # behind a tag, or of numbers in the other order (RIFX), which few programs expect
            found = SoundFileDecoder(path)
            found.probe = replace(found.probe, is_ordinary=False)
            return found
        low_bits = wav.low_bits(file, header)
        return SoundFileDecoder(path, stated=header.stated_frames, layout=header.layout, low_bits=low_bits)
    # Such as ADPCM with blocks as high rates have them, or samples in front of their format.
    except soundfile.LibsndfileError:
        return FFmpegDecoder(path.open("rb"), "wav", "WAV")


def _container(kind: Kind, file: BinaryIO, *, is_video: bool) -> str:
    """The name of a container whose openings are alike: by its brand, and whether it has pictures."""
    file.seek(0)
    opening = file.read(_EBML_LOOK_BYTES)
    if kind.container == "M4A" and opening[8:12] == b"qt  ":
        return "MOV"
    if kind.container == "M4A" and is_video:
        return "MP4"
    return "WEBM" if kind.container == "MKV" and b"webm" in opening else kind.container
