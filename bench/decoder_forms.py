"""What `bench.decoders` writes and with what, and the reference decoders that it is read with."""

from __future__ import annotations

import shlex
import struct
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from outpaint_mcp.audio.files.sound_file import VORBIS_ORDER

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

LIBSNDFILE = "libsndfile"
"""In place of a program: written by it, through soundfile."""
_SPEAKERS = {1: 0x4, 2: 0x3, 6: 0x3F}
_SECONDS, _ODD_FRAMES = 1.3, 7
_PICTURES = "-f lavfi -i testsrc=size=64x48:rate=10:duration=1.3"


@dataclass(frozen=True, slots=True)
class Form:
    """One format, as one program writes it.

    Attributes:
        name: as the table has it.
        suffix: the file's.
        command: writes `{out}` from `{wav}`; or libsndfile with its format and its subtype.
        references: those that decode it, as in `decode_by`.
        bits: of the source; 0 for floating point.
        depth: how many of these bits are used; 0 for all.
    """

    name: str
    suffix: str
    command: str
    references: tuple[str, ...]
    bits: int = 24
    depth: int = 0

    @property
    def writer(self) -> str:
        """The program that writes it."""
        return self.command.split()[0]

    @property
    def is_lossless(self) -> bool:
        """Whether samples have to be equal to the last bit."""
        return not self.name.startswith(_LOSSY)

    @property
    def family(self) -> str:
        """The name without what varies: one line of the table."""
        codec, _, container = self.name.partition(" in ")
        first = codec.split()[0]
        return f"{first} in {container.replace(',', ' ').split()[0]}" if container else first


_LIBOPUS = "ffmpeg -c:a libopus"
_OPUS = ("opusdec", _LIBOPUS)
_LOSSY = ("MP3", "MP2", "Vorbis", "Opus", "AAC", "AC-3", "E-AC-3", "WMA")


def _ffmpeg(name: str, suffix: str, options: str, *references: str, bits: int = 24) -> Form:
    return Form(
        name, suffix, f"ffmpeg -v error -y -i {{wav}} {options} {{out}}", references or ("ffmpeg",), bits
    )


def _sox(name: str, suffix: str, options: str, *references: str, bits: int = 24) -> Form:
    return Form(name, suffix, f"sox -D {{wav}} {options} {{out}}", references or ("sox", "ffmpeg"), bits)


def _sndfile(name: str, suffix: str, kind: str, *references: str, bits: int = 24) -> Form:
    return Form(name, suffix, f"{LIBSNDFILE} {kind}", references or ("sox", "ffmpeg"), bits)


_PCM = (
    ("16", "-b 16", "-c:a pcm_s16{}", "PCM_16", 16),
    ("24", "-b 24", "-c:a pcm_s24{}", "PCM_24", 24),
    ("32", "-b 32", "-c:a pcm_s32{}", "PCM_32", 32),
    ("float", "-e floating-point -b 32", "-c:a pcm_f32{}", "FLOAT", 0),
    ("double", "-e floating-point -b 64", "-c:a pcm_f64{}", "DOUBLE", 0),
    ("µ-law", "-e mu-law", "-c:a pcm_mulaw", "ULAW", 16),
    ("A-law", "-e a-law", "-c:a pcm_alaw", "ALAW", 16),
)


def _pcm() -> list[Form]:
    forms = [
        _sox("WAV 8", "wav", "-b 8", bits=8),
        _ffmpeg("WAV 8", "wav", "-c:a pcm_u8", "sox", "ffmpeg", bits=8),
    ]
    for name, sox, ffmpeg, subtype, bits in _PCM:
        little, big = ffmpeg.format("le"), ffmpeg.format("be")
        both = ("sox", "ffmpeg")
        forms += [
            _sox(f"WAV {name}", "wav", sox, bits=bits),
            _ffmpeg(f"WAV {name}", "wav", little, *both, bits=bits),
            _sndfile(f"WAV extensible {name}", "wav", f"WAVEX {subtype}", bits=bits),
            _ffmpeg(f"RF64 {name}", "wav", f"{little} -rf64 always", "ffmpeg", bits=bits),
            _sndfile(f"RF64 {name}", "rf64", f"RF64 {subtype}", "ffmpeg", bits=bits),
            _ffmpeg(f"W64 {name}", "w64", little, *both, bits=bits),
            _sndfile(f"W64 {name}", "w64", f"W64 {subtype}", *both, bits=bits),
            _sox(f"AIFC {name}", "aifc", sox, bits=bits),
            _ffmpeg(f"AIFC {name}", "aiff", big, *both, bits=bits),
            _sox(f"AU {name}", "au", sox, bits=bits),
            _ffmpeg(f"AU {name}", "au", big, *both, bits=bits),
            _ffmpeg(f"CAF {name}", "caf", big, *both, bits=bits),
            _sndfile(f"CAF {name}", "caf", f"CAF {subtype}", *both, bits=bits),
            _ffmpeg(f"MOV {name}", "mov", big, bits=bits),
            _ffmpeg(f"MKV {name}", "mkv", little, bits=bits),
        ]
    forms += [
        _ffmpeg("WAV into a pipe", "wav", "-c:a pcm_s16le -f wav - | cat >", "sox", "ffmpeg", bits=16),
        _sox("AIFF 8", "aiff", "-b 8", bits=8),
        _sndfile("AIFF 24", "aiff", "AIFF PCM_24"),
        _sox("AIFF 24", "aiff", "-b 24"),
        _ffmpeg("WAV IMA ADPCM", "wav", "-c:a adpcm_ima_wav", "sox", "ffmpeg", bits=16),
        _ffmpeg("WAV MS ADPCM", "wav", "-c:a adpcm_ms", "sox", "ffmpeg", bits=16),
        _sndfile("WAV MS ADPCM", "wav", "WAV MS_ADPCM", "sox", "ffmpeg", bits=16),
    ]
    return forms


def _flac() -> list[Form]:
    forms = []
    for bits, depth in ((8, 8), (16, 12), (16, 16), (24, 20), (24, 24), (32, 32)):
        for level in (0, 8):
            how = f"flac -s -f -{level} {{wav}} -o {{out}}"
            both = ("flac", "ffmpeg") if bits < 32 else ("flac",)
            forms.append(Form(f"FLAC {depth}", "flac", how, both, bits, depth))
            if level and bits < 32:
                how = f"flac -s -f --ogg -{level} {{wav}} -o {{out}}"
                forms.append(Form(f"FLAC {depth} in OGG", "oga", how, ("flac --ogg", "ffmpeg"), bits, depth))
    for bits, kind in ((16, "s16"), (24, "s32")):
        for level in (0, 8):
            options = f"-c:a flac -sample_fmt {kind} -compression_level {level}"
            forms.append(_ffmpeg(f"FLAC {bits}", "flac", options, "flac", "ffmpeg", bits=bits))
        forms.append(_ffmpeg(f"FLAC {bits} in OGG", "ogg", options, "flac --ogg", "ffmpeg", bits=bits))
        piped = f"{options} -f flac - | cat >"
        forms.append(_ffmpeg(f"FLAC {bits} into a pipe", "flac", piped, "flac", "ffmpeg", bits=bits))
    forms.append(_sox("FLAC 24", "flac", "-b 24", "flac", "ffmpeg"))
    forms.append(_sndfile("FLAC 24", "flac", "FLAC PCM_24", "flac", "ffmpeg"))
    return forms


def _lossy() -> list[Form]:
    mp3 = ("mpg123", "ffmpeg")
    lame = "lame --quiet {0} {{wav}} {{out}}"
    forms = [
        Form(f"MP3 {name}", "mp3", lame.format(options), mp3, 16)
        for name, options in (
            ("CBR", "-b 128"),
            ("CBR with checksums", "-b 128 -p"),
            ("VBR", "-V 2"),
            ("ABR", "--abr 160"),
            ("CBR without a tag", "-b 128 -t"),
            ("VBR without a tag", "-V 4 -t"),
            ("free format", "-b 80 --freeformat"),
        )
    ]
    forms += [
        _ffmpeg("MP3 CBR", "mp3", "-c:a libmp3lame -b:a 128k", *mp3),
        _ffmpeg("MP3 VBR", "mp3", "-c:a libmp3lame -q:a 3", *mp3),
        _ffmpeg("MP3 CBR without a tag", "mp3", "-c:a libmp3lame -write_xing 0 -id3v2_version 0", *mp3),
        _sox("MP3 CBR", "mp3", "-C 128", *mp3),
        _sndfile("MP3 VBR", "mp3", "MP3 MPEG_LAYER_III", *mp3),
        _ffmpeg("MP2", "mp2", "-c:a mp2", *mp3),
        Form("Vorbis", "vorbis.ogg", "oggenc -Q -q 5 {wav} -o {out}", ("oggdec", "ffmpeg")),
        _ffmpeg("Vorbis", "vorbis.ogg", "-c:a libvorbis -q:a 5", "oggdec", "ffmpeg"),
        _sndfile("Vorbis", "vorbis.ogg", "OGG VORBIS", "oggdec", "ffmpeg"),
        _sox("Vorbis", "vorbis.ogg", "-t vorbis", "oggdec", "ffmpeg"),
        Form("Opus", "opus", "opusenc --quiet {wav} {out}", _OPUS),
        Form("Opus speech", "opus", "opusenc --quiet --speech --bitrate 16 {wav} {out}", _OPUS),
        _ffmpeg("Opus", "opus", "-c:a libopus", *_OPUS),
        _ffmpeg("Opus family 255", "opus", "-c:a libopus -mapping_family 255", *_OPUS),
        _sndfile("Opus", "opus", "OGG OPUS", *_OPUS),
    ]  # fmt: skip
    aac = ("ffmpeg", "faad")
    forms += [
        _ffmpeg("AAC in ADTS", "aac", "-c:a aac -b:a 160k -aac_pns 0", *aac),
        _ffmpeg("AAC in M4A", "m4a", "-c:a aac -b:a 160k -aac_pns 0", *aac),
        _ffmpeg("AAC in M4A, main", "m4a", "-c:a aac -profile:a aac_main -strict -2 -aac_pns 0", *aac),
        _ffmpeg("AAC in M4A, fragmented", "m4a", "-c:a aac -f mp4 -movflags frag_keyframe+empty_moov"),
        _ffmpeg("AAC in M4A, index first", "m4a", "-c:a aac -movflags faststart -aac_pns 0", *aac),
        _ffmpeg("AAC in MP4 with pictures", "mp4", f"{_PICTURES} -c:v mpeg4 -c:a aac"),
        _ffmpeg("AAC in MOV", "mov", "-c:a aac"),
        _ffmpeg("AAC in CAF", "caf", "-c:a aac"),
        _ffmpeg("AAC in MKV", "mkv", "-c:a aac"),
        _ffmpeg("Opus in MP4", "mp4", "-c:a libopus -strict -2", _LIBOPUS),
        _ffmpeg("FLAC in MP4", "mp4", "-c:a flac -strict -2"),
        _ffmpeg("MP3 in MP4", "mp4", "-c:a libmp3lame"),
        _ffmpeg("AC-3 in MP4", "mp4", "-c:a ac3"),
        _ffmpeg("AC-3 in MKV", "mkv", "-c:a ac3"),
        _ffmpeg("E-AC-3 in MKV", "mkv", "-c:a eac3"),
        _ffmpeg("FLAC in MKV", "mkv", "-c:a flac"),
        _ffmpeg("MP3 in MKV", "mkv", "-c:a libmp3lame"),
        _ffmpeg("Vorbis in MKV", "mkv", "-c:a libvorbis", "ffmpeg"),
        _ffmpeg("Opus in MKV", "mkv", "-c:a libopus", _LIBOPUS),
        _ffmpeg("Vorbis in WebM", "webm", "-c:a libvorbis", "ffmpeg"),
        _ffmpeg("Opus in WebM", "webm", "-c:a libopus", _LIBOPUS),
        _ffmpeg("Opus in WebM with pictures", "webm", f"{_PICTURES} -c:v libvpx -c:a libopus", _LIBOPUS),
        _ffmpeg("WMA 1", "wma", "-c:a wmav1"),
        _ffmpeg("WMA 2", "wma", "-c:a wmav2"),
    ]  # fmt: skip
    for bits, kind in ((16, "s16p"), (24, "s32p")):
        for suffix in ("m4a", "mov", "mkv", "caf"):
            name = f"ALAC {bits} in {suffix.upper()}"
            forms.append(_ffmpeg(name, suffix, f"-c:a alac -sample_fmt {kind}", bits=bits))
        forms.append(_sndfile(f"ALAC {bits} in CAF", "caf", f"CAF ALAC_{bits}", "ffmpeg", bits=bits))
    return forms


FORMS = (*_pcm(), *_flac(), *_lossy())


def write(form: Form, path: Path, sample_rate: int, channels: int) -> bool:
    """Write a file; returns whether its program could: not every format has every rate and number of channels."""
    samples = music(sample_rate, channels)
    program, *options = form.command.split()
    if program == LIBSNDFILE:
        container, subtype = options
        try:
            soundfile.write(path, samples, sample_rate, subtype, format=container)
        except (soundfile.LibsndfileError, ValueError):
            return False
        return True
    source = path.with_name(f"source-of-{path.name}.wav")
    source.write_bytes(wav(samples, sample_rate, form.bits, form.depth or form.bits))
    command = form.command.format(wav=shlex.quote(str(source)), out=shlex.quote(str(path)))
    done = subprocess.run(["/bin/bash", "-o", "pipefail", "-c", command], capture_output=True, check=False)
    source.unlink()
    return done.returncode == 0 and path.exists() and path.stat().st_size > 0


def music(sample_rate: int, channels: int) -> npt.NDArray[np.float64]:
    """Return something different in every channel: tones that come and go, noise beneath, and a blow."""
    frames = round(_SECONDS * sample_rate) + _ODD_FRAMES
    rng = np.random.default_rng(channels)
    t = np.arange(frames)[:, None] / sample_rate
    number = np.arange(1, channels + 1)
    hertz = np.minimum(110 * 1.5**number, sample_rate / 5)
    samples = 0.3 * np.sin(2 * np.pi * hertz * t) * (0.6 + 0.4 * np.sin(2 * np.pi * number * t))
    samples += 0.02 * rng.standard_normal(samples.shape)
    after = t[: frames - frames // 3]
    samples[frames // 3 :] += 0.2 * rng.standard_normal((len(after), channels)) * np.exp(-40 * after)
    return np.asarray(samples.clip(-0.95, 0.95))


def wav(samples: npt.NDArray[np.float64], sample_rate: int, bits: int, depth: int) -> bytes:
    """Return an extensible WAV with its speakers, and with fewer bits than it has room for where that is asked."""
    channels = samples.shape[1]
    if bits:
        values = np.rint(samples * 2.0 ** (depth - 1)).astype(np.int64) << (bits - depth)
        values += 128 if bits == 8 else 0
        content = values.astype("<i8").reshape(-1, 1).view(np.uint8)[:, : bits // 8].tobytes()
    else:
        content = samples.astype("<f4").tobytes()
    width = bits or 32
    block = channels * width // 8
    form = struct.pack("<HHIIHH", 0xFFFE, channels, sample_rate, sample_rate * block, block, width)
    kind = struct.pack("<H", 1 if bits else 3) + bytes.fromhex("000000001000800000aa00389b71")
    form += struct.pack("<HHI", 22, depth or width, _SPEAKERS[channels]) + kind
    body = (
        b"WAVEfmt "
        + struct.pack("<I", len(form))
        + form
        + b"data"
        + struct.pack("<I", len(content))
        + content
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


_BY = {
    "sox": "sox -V1 {path} -t raw {sox} -",
    "flac": "flac -s -d -c {path}",
    "flac --ogg": "flac -s -d -c --ogg {path}",
    "mpg123": "mpg123 -q -e f32 -s {path}",
    "oggdec": "oggdec -Q -R -o - {path}",
    "opusdec": "opusdec --quiet --float --rate 48000 {path} -",
    "faad": "faad -q -b 4 -f 2 -w {path}",
}


def decode_by(reference: str, form: Form, path: Path, channels: int) -> npt.NDArray[np.float64] | None:
    """Decode a file by a reference decoder, `[frames, channels]`; None where that does not read it."""
    is_whole = form.is_lossless and form.bits > 0
    raw, sox = ("s32le", "-e signed -b 32") if is_whole else ("f64le", "-e floating-point -b 64")
    codec = reference.removeprefix("ffmpeg")
    ffmpeg = f"ffmpeg -v error{codec} -i {{path}} -map 0:a:0 -c:a pcm_{raw} -f {raw} -"
    command = _BY.get(reference, ffmpeg).format(path=shlex.quote(str(path)), sox=sox)
    done = subprocess.run(["/bin/bash", "-c", command], capture_output=True, check=False)
    if done.returncode or not done.stdout:
        return None
    program, content = reference.split(maxsplit=1)[0], done.stdout
    if program == "flac":
        _, _, rest = content.partition(b"data")
        return _whole(rest[4 : 4 + int.from_bytes(rest[:4], "little")], form.bits, channels)
    if program == "oggdec":
        return _in_order(_whole(content, 16, channels))
    if program in {"sox", "ffmpeg"}:
        return _whole(content, 32, channels) if is_whole else _floating(content, "<f8", channels)
    if program == "faad" and channels == 1:
        return _floating(content, "<f4", 2)[:, :1]
    samples = _floating(content, "<f4", channels)
    return _in_order(samples) if program == "opusdec" and "255" not in form.name else samples


def _in_order(samples: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """What is raw is in the order of Vorbis; in that of WAV."""
    order = VORBIS_ORDER.get(samples.shape[1])
    return samples if order is None else samples[:, np.argsort(order)]


def _floating(raw: bytes, kind: str, channels: int) -> npt.NDArray[np.float64]:
    width = int(kind[-1]) * channels
    return np.frombuffer(raw[: len(raw) // width * width], kind).astype(np.float64).reshape(-1, channels)


def _whole(raw: bytes, bits: int, channels: int) -> npt.NDArray[np.float64]:
    width = bits // 8
    octets = np.frombuffer(raw[: len(raw) // (width * channels) * width * channels], np.uint8)
    values = np.zeros((len(octets) // width, 4), np.uint8)
    values[:, 4 - width :] = octets.reshape(-1, width) ^ (
        0x80 if width == 1 else 0
    )  # WAV's 8 bits have no sign
    return (values.view("<i4")[:, 0] / 2.0**31).reshape(-1, channels)
