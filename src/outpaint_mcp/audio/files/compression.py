"""How hard a lossy encoder compresses: AAC's bit rate, and libsndfile's compression levels, 0 to 1, for the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from outpaint_mcp.audio.files.conversion import SampleSpec

_USUAL = {"MPEG_LAYER_III": 0.0, "VORBIS": 0.2, "OPUS": 0.65}
"""320 kb/s, quality 0.8 (about 260 kb/s), about 94 kb/s per channel.

The quality is high because a delivered file may be extended again.
"""
_AAC_CHANNEL_KBPS = 160.0
"""The usual bit rate of each channel, 320 kb/s in stereo: there FFmpeg's error is 32 dB below a mix of tones and beats,
and 26 dB at 256 kb/s, as in an MP3 of 320.
"""
_AAC_FRAME_BITS, _AAC_FRAMES = 6_144, 1_024
"""The most bits that a channel may take in a packet of so many frames (ISO/IEC 14496-3, 4.5.3)."""
_HIGHEST = 0.999
"""Rounded up to 1 in single precision, libsndfile would refuse it."""

_MP3_KBPS = ((32_000, 32, 320), (16_000, 8, 160), (0, 8, 64))
"""Lowest and highest bit rate of MPEG 1, 2 and 2.5, from which sample rate on; libsndfile interpolates."""

_VORBIS_LEVELS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_VORBIS_KBPS = (500, 320, 256, 224, 192, 160, 128, 112, 96, 80, 64)
"""Nominal bit rates of quality 10 to 0 (Xiph.Org, libvorbis 1.3) in stereo at 44.1 kHz; the music decides."""

_OPUS_LEAST_KBPS, _OPUS_SPAN_KBPS = 6.0, 250.0
"""Per channel, as libsndfile 1.2 maps its level to Opus's target."""


def compression_level(subtype: str, spec: SampleSpec, bitrate_kbps: int | None) -> float | None:
    """Return what a writer needs to know for a bit rate: libsndfile's compression level, or AAC's kilobits per second.

    MP3 has the nearest constant bit rate that there is at the sample rate. Vorbis is steered by quality, Opus by a
    target: they come near, and so does AAC.

    Args:
        subtype: libsndfile's name of the encoding.
        spec: what is encoded.
        bitrate_kbps: None for the usual one.

    Returns:
        None for an encoding that has no levels.
    """
    if subtype == "AAC":
        most = _AAC_FRAME_BITS / _AAC_FRAMES * spec.sample_rate / 1000
        return min(bitrate_kbps or _AAC_CHANNEL_KBPS * spec.channels, most * spec.channels)
    if bitrate_kbps is None or subtype not in _USUAL:
        return _USUAL.get(subtype)
    if subtype == "MPEG_LAYER_III":
        _, least, most = next(each for each in _MP3_KBPS if spec.sample_rate >= each[0])
        level = (most - bitrate_kbps) / (most - least)
    elif subtype == "VORBIS":
        stereo_kbps = 2 * bitrate_kbps / spec.channels
        level = float(np.interp(-stereo_kbps, [-each for each in _VORBIS_KBPS], _VORBIS_LEVELS))
    else:
        level = 1 - (bitrate_kbps / spec.channels - _OPUS_LEAST_KBPS) / _OPUS_SPAN_KBPS
    return min(max(0.0, level), _HIGHEST)
