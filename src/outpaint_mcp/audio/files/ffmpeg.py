"""Decoding by FFmpeg, through PyAV: what libsndfile does not read, or reads wrongly.

FFmpeg is given an open file and the one format that the file was recognised as: it opens no other file, no link and no
playlist, and no codec but those of music.
"""

from __future__ import annotations

from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, BinaryIO

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.stream import Disposition

from outpaint_mcp.audio.files.decoder import NotDecodable, Probe
from outpaint_mcp.audio.files.flac import read_streaminfo
from outpaint_mcp.audio.files.values import convert, mask_of, values_of

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator

    import numpy.typing as npt
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream

_SUBTYPES = {
    "mp3": "MPEG_LAYER_III",
    "mp3float": "MPEG_LAYER_III",
    "mp2": "MPEG_LAYER_II",
    "mp2float": "MPEG_LAYER_II",
    "pcm_alaw": "ALAW",
    "pcm_mulaw": "ULAW",
    **dict.fromkeys(("wmav1", "wmav2", "wmapro", "wmavoice"), "WMA"),
    **dict.fromkeys(("adpcm_ms", "adpcm_ima_qt", "adpcm_ima_wav"), "IMA_ADPCM"),
    **{
        name: name.upper()
        for name in ("aac", "vorbis", "opus", "ac3", "eac3", "dca", "speex", "amrnb", "amrwb")
    },
}
"""The encodings that are lossy, or decode to 16 bits whatever they are, by FFmpeg's name of the decoder."""
_LOSSLESS = ("flac", "alac", "wmalossless", "truehd", "pcm_")
_CODECS = ",".join((
    *_SUBTYPES, "flac", "alac", "wmalossless", "truehd",
    *(f"pcm_{kind}{order}" for kind in ("s16", "s24", "s32", "f32", "f64") for order in ("le", "be")),
    "pcm_u8", "pcm_s8", "pcm_s16le_planar", "pcm_bluray", "pcm_dvd",
))  # fmt: skip
"""The decoders that may run; those of pictures are none of them."""
_OPTIONS = {
    "codec_whitelist": _CODECS,
    "protocol_whitelist": "",
    "probesize": "2000000",
    "analyzeduration": "10000000",
}
_FLAC_OPTIONS = {"err_detect": "crccheck+explode"}
"""FFmpeg takes a frame with a wrong checksum for sound, unless it is asked not to."""

_NO_TRIMMING = 1 << 29
"""AV_CODEC_FLAG2_SKIP_MANUAL. FFmpeg trims the end of ALAC in CAF by what its last packet lacks already."""

_DEPTHS = {"u8": 8, "s16": 16, "s32": 32, "flt": 0, "dbl": 0}
_MOST_DAMAGED = 1_000
"""Packets in a row that cannot be decoded; what goes on like this is not audio any more."""
_MOST_PLANES = 8
"""PyAV 18.1 reads past the list of a frame's planes where there are as many."""
_GAPLESS = "iTunSMPB"
"""Where Apple's encoders write, in hexadecimal and behind a zero, the delay, the padding and the true length."""
_TICKS_PER_SECOND = 1_000_000


class FFmpegDecoder:
    """Decodes the sound of a file that FFmpeg reads; packets that are damaged are left out.

    Attributes:
        intact: False once a packet could not be decoded.
    """

    def __init__(
        self, file: BinaryIO | io.RawIOBase, demuxer: str, container: str, *, frames: int | None = None
    ) -> None:
        """Open a file.

        Args:
            file: it is closed with the decoder.
            demuxer: FFmpeg's name of the format.
            container: ours.
            frames: its length, where that is known better than by FFmpeg.

        Raises:
            OSError: the file cannot be read.
            av.FFmpegError: it is not what it was recognised as.
            NotDecodable: none of its streams is decoded here.
        """
        self._files = ExitStack()
        self._files.callback(file.close)
        try:
            self._container = av.open(file, "r", format=demuxer, options=_OPTIONS, metadata_errors="replace")
            self._files.callback(self._container.close)
            self._stream = self._choose()
            self._codec = self._stream.codec_context
            self._codec.thread_count = 1
            self._layout = self._codec.layout
            if self._codec.name == "flac":
                self._codec.options = _FLAC_OPTIONS
            if self._codec.name == "alac" and container == "CAF":
                self._codec.flags2 |= _NO_TRIMMING
            self.probe = self._describe(container, frames)
            self._decoder = _reference(self._codec)
        except BaseException:
            self.close()
            raise
        self.intact = True
        self._form: tuple[int, str, str] | None = None
        self._resampler: av.AudioResampler | None = None
        self._blocks = self._decode()
        self._block: npt.NDArray[Any] = np.zeros((0, self.probe.channels), np.float32)
        self._left = self._gapless_frames()

    def read_into(self, out: npt.NDArray[Any]) -> int:
        """See `Decoder.read_into`."""
        filled = 0
        while filled < len(out):
            if not len(self._block):
                block = next(self._blocks, None)
                if block is None:
                    break
                self._block = block[: self._left]
                self._left = None if self._left is None else self._left - len(self._block)
                if not len(self._block):
                    break
            count = min(len(out) - filled, len(self._block))
            convert(self._block[:count], out[filled : filled + count])
            self._block = self._block[count:]
            filled += count
        return filled

    def close(self) -> None:
        """See `Decoder.close`."""
        self._files.close()

    def _choose(self) -> AudioStream:
        stream = self._container.streams.best("audio")
        if stream is None:
            raise NotDecodable("has no sound")
        name = getattr(stream.codec_context, "name", "unknown")  # None where FFmpeg has no decoder for it
        if name not in _SUBTYPES and not name.startswith(_LOSSLESS):
            raise NotDecodable(f"has sound in an encoding that is not supported ({name})")
        return stream  # type: ignore[return-value]  # audio

    def _describe(self, container: str, frames: int | None) -> Probe:
        codec, subtype = self._codec, self._subtype()
        pictures = [
            each for each in self._container.streams.video if not each.disposition & Disposition.attached_pic
        ]
        rate = codec.sample_rate or 0
        is_exact = frames is not None or (
            subtype not in _SUBTYPES.values() and container in {"M4A", "MP4", "MOV", "WAV"}
        )
        return Probe(
            container,
            subtype,
            rate,
            codec.channels,
            self._estimate(rate) if frames is None else frames,
            is_exact=is_exact,
            layout=mask_of(codec.layout),
            is_video=bool(pictures),
            is_ordinary=False,
        )

    def _subtype(self) -> str:
        """The encoding, by the names of `Probe`."""
        name, extra = self._codec.name, self._codec.extradata or b""
        if name in _SUBTYPES:
            return _SUBTYPES[name]
        depth = _DEPTHS.get(self._codec.format.name.rstrip("p"), 16)
        if name == "alac":
            at = extra.find(b"alac")
            return f"ALAC_{extra[at + 13] if 0 <= at < len(extra) - 13 else depth}"
        if name == "flac":
            info = read_streaminfo(extra)
            depth = info.bits if info else depth
        elif name.startswith("pcm_"):
            depth = next((bits for bits in (8, 16, 24, 32) if str(bits) in name and "f" not in name[4:5]), 0)
        if not depth:
            return "DOUBLE" if "64" in name else "FLOAT"
        if depth <= 8:  # noqa: PLR2004 - bits
            return "PCM_U8" if name == "pcm_u8" else "PCM_S8"
        return next(f"PCM_{bits}" for bits in (16, 24, 32) if depth <= bits)

    def _estimate(self, rate: int) -> int:
        """The length by what the container says; where it says nothing, by its packets, all of which are read."""
        # In ADTS nothing is stated: FFmpeg guesses by the bit rate of the beginning.
        is_stated = self._container.format.name != "aac"
        seconds = 0.0
        if is_stated and self._stream.duration and self._stream.time_base:
            seconds = float(self._stream.duration * self._stream.time_base)
        elif is_stated and self._container.duration:
            seconds = self._container.duration / _TICKS_PER_SECOND - self._late_seconds()
        else:
            for packet in self._container.demux(self._stream):
                seconds += float((packet.duration or 0) * (packet.time_base or 0))
            self._container.seek(0)
        return max(0, round(seconds * rate))

    def _late_seconds(self) -> float:
        """How much later than the file its sound begins: nothing is put in front of it."""
        first, base = self._stream.start_time, self._stream.time_base
        begins = float(first * base) if first and base else 0.0
        return max(0.0, begins - (self._container.start_time or 0) / _TICKS_PER_SECOND)

    def _gapless_frames(self) -> int | None:
        """The true length by Apple's note, which may be wrong; None where there is none that can be meant."""
        words = self._container.metadata.get(_GAPLESS, "").split()
        with suppress(ValueError, IndexError):
            delay, padding, frames = (int(word, 16) for word in words[1:4])
            if (
                delay
                and frames
                and abs(self.probe.frames - frames) <= delay + padding + self.probe.sample_rate // 10
            ):
                return frames
        return None

    def _decode(self) -> Iterator[npt.NDArray[Any]]:
        damaged = 0
        packets = self._container.demux(self._stream)
        while damaged < _MOST_DAMAGED:
            try:
                packet = next(packets, None)
                if packet is None:
                    break
                for frame in self._decoder.decode(packet):
                    yield from self._values(frame)
                damaged = 0
            except EOFError:
                break
            except av.FFmpegError:
                self.intact = False
                damaged += 1
        yield from self._flush()

    def _values(self, frame: AudioFrame) -> Iterator[npt.NDArray[Any]]:
        """The frames `[frames, channels]`, at the rate and with the channels of the beginning, whatever changes."""
        form = frame.sample_rate, frame.layout.name, frame.format.name
        if form != self._form:
            yield from self._flush()
            self._form = form
            rate, channels = self.probe.sample_rate, self.probe.channels
            is_alike = (frame.sample_rate, frame.layout.nb_channels) == (rate, channels)
            if not is_alike:
                self._resampler = av.AudioResampler("flt", self._layout, rate)
            elif frame.format.is_planar and channels >= _MOST_PLANES:
                self._resampler = av.AudioResampler(frame.format.packed.name, frame.layout, rate)
        if self._resampler is None:
            yield values_of(frame)
        else:
            yield from map(values_of, self._resampler.resample(frame))

    def _flush(self) -> Iterator[npt.NDArray[Any]]:
        """What is still held back of what was of another rate."""
        if self._resampler is not None:
            yield from map(values_of, self._resampler.resample(None))
            self._resampler = None


def _reference(codec: AudioCodecContext) -> AudioCodecContext:
    """The decoder to decode with: for Opus its own library where there is it, from which FFmpeg's differs audibly."""
    if codec.name == "opus":
        with suppress(av.codec.codec.UnknownCodecError):
            own = AudioCodecContext.create("libopus", "r")
            own.extradata = codec.extradata
            return own
    return codec
