"""The form of a file in a few words, as measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from outpaint_mcp.workers.looks import WrittenForm

_DEPTHS = {
    "PCM_U8": "8 bit",
    "PCM_S8": "8 bit",
    "PCM_16": "16 bit",
    "PCM_24": "24 bit",
    "PCM_32": "32 bit",
    "FLOAT": "32-bit float",
    "DOUBLE": "64-bit float",
    "ALAC_16": "16 bit",
    "ALAC_24": "24 bit",
}
_CONTAINERS = {"WAVEX": "WAV", "RF64": "WAV (RF64)", "M4A": "ALAC"}


def in_words(form: WrittenForm) -> str:
    """Say what was written: `MP3, 320 kbit/s, 44100 Hz`."""
    rate = f"{form.sample_rate} Hz"
    if form.kbit_per_second is None:
        container = _CONTAINERS.get(form.container, form.container)
        return f"{container}, {_DEPTHS.get(form.subtype, form.subtype)}, {rate}"
    about = "" if form.container == "MP3" else "about "
    name = {"OPUS": "Opus", "VORBIS": "OGG Vorbis", "AAC": "AAC"}.get(form.subtype, "MP3")
    return f"{name}, {about}{form.kbit_per_second:.0f} kbit/s, {rate}"
