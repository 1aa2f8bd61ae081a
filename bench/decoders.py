"""Every format that people have, read here and by its reference decoder: `python -m bench.decoders`.

Each format is written at five rates, in mono, stereo and 5.1, by at least two programs where there are two. It is
decoded here and by the reference decoders, and frames and samples are compared. What differs is listed with its reason;
without one, the command ends with 1. It needs Debian's ffmpeg, flac, lame, mpg123, vorbis-tools, opus-tools,
sox and faad.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from bench.decoder_forms import FORMS, Form, decode_by, write

from outpaint_mcp.audio.files.decode import AudioReader, probe
from outpaint_mcp.errors import OutpaintError

RATES_HZ = (8_000, 22_050, 44_100, 48_000, 96_000)
CHANNELS = (1, 2, 6)
_LOSSY_SLACK = 1e-4
_SEARCHED_FRAMES = 8_192

_BY_LIBSNDFILE = "sox reads it by libsndfile as whole numbers, which clip or are noise; FFmpeg agrees with us"
_ADPCM = "FFmpeg rounds otherwise than Microsoft; sox agrees with us"
_OPUS_RATE = (
    "libopus decodes at the rate in the header, or the next that Opus has (RFC 7845, 5.1); they at 48 kHz"
)
_OPUS_DELAY = (
    "FFmpeg 8 trims the delay as if it were counted at the rate that the file names: up to 6 ms stay in front"
)
REASONS: tuple[tuple[str, str, str], ...] = (
    ("WAV IMA", "ffmpeg", _ADPCM),
    ("WAV MS", "ffmpeg", _ADPCM),
    ("W64", "sox", _BY_LIBSNDFILE),
    ("CAF", "sox", _BY_LIBSNDFILE),
    ("WAV", "sox", "sox works with 32 bits, and rounds floating point to them"),
    ("AIFC", "sox", "sox works with 32 bits, and rounds floating point to them"),
    ("AU", "sox", "sox works with 32 bits, and rounds floating point to them"),
    (
        "Vorbis",
        "ffmpeg",
        "FFmpeg does not trim a stream whose only page of sound is its last; oggdec agrees with us",
    ),
    ("Opus in", "ffmpeg", _OPUS_DELAY),
    (
        "Opus family 255",
        "ffmpeg",
        "channels without places stay as in the file, which FFmpeg orders; and the rate, as below",
    ),
    ("Opus", "", _OPUS_RATE),
    (
        "AAC in ADTS",
        "faad",
        "faad leaves the first frame out, and doubles rates below 32 kHz for an SBR that may come",
    ),
    ("AAC in M4A, main", "faad", "the main profile predicts from what is decoded, so that rounding adds up"),
)
"""What begins a format's name, the reference, and why they differ by design."""


@dataclass(slots=True)
class Comparison:
    """One file, read twice.

    Attributes:
        reference: by whom besides.
        ours: frames decoded here; -1 for none.
        theirs: frames decoded there; -1 for none.
        worst: the largest difference of two samples, where both have the same frames.
        words: what else there is to say.
        stated: the length by the probe, and whether that is exact.
    """

    form: Form
    sample_rate: int
    channels: int
    reference: str
    ours: int = -1
    theirs: int = -1
    worst: float = 0.0
    words: str = ""
    stated: tuple[int, bool] = (0, True)

    @property
    def is_equal(self) -> bool:
        """Whether frames and samples are the same."""
        return self.ours == self.theirs >= 0 and self.worst <= (0 if self.form.is_lossless else _LOSSY_SLACK)

    def sentence(self) -> str:
        """Return what was found."""
        where = f"{self.form.name} at {self.sample_rate:,} Hz in {self.channels}"
        if self.ours == self.theirs:
            return f"{where}: by {self.worst:.1e}"
        return f"{where}: {self.ours:,} and {self.theirs:,} frames"


def main() -> int:
    """Print the tables; the exit code is 1 where a difference has no reason."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default="", help="formats whose name begins so")
    parser.add_argument("--keep", type=Path, help="leave the files here")
    options = parser.parse_args()
    tries = [
        (form, rate, channels)
        for form in FORMS
        if form.name.startswith(options.only)
        for rate in RATES_HZ
        for channels in CHANNELS
    ]
    with tempfile.TemporaryDirectory() as own, ThreadPoolExecutor(2) as pool:
        folder = options.keep or Path(own)
        asked = [pool.submit(compare, folder, *each, keep=bool(options.keep)) for each in tries]
        found = [each for written in asked for each in written.result()]
    return report(found)


def compare(folder: Path, form: Form, sample_rate: int, channels: int, *, keep: bool) -> list[Comparison]:
    """Write a file and read it with everyone; nothing where its program does not write it."""
    name = (
        f"{form.name} {form.writer} {abs(hash(form.command)) % 1000} {sample_rate} {channels}.{form.suffix}"
    )
    path = folder / name.replace("/", "")
    try:
        if not write(form, path, sample_rate, channels):
            return []
        ours, stated, problem = read(path, form)
        found = []
        for reference in form.references:
            each = Comparison(form, sample_rate, channels, reference, stated=stated, words=problem)
            own_channels = channels if ours is None else ours.shape[1]
            theirs = decode_by(reference, form, path, own_channels)
            each.ours = -1 if ours is None else len(ours)
            if theirs is None:  # the reference does not read it
                continue
            each.theirs = len(theirs)
            if ours is not None:
                settle(each, ours, theirs)
            found.append(each)
        return found
    finally:
        if not keep:
            path.unlink(missing_ok=True)


def read(path: Path, form: Form) -> tuple[npt.NDArray[np.float64] | None, tuple[int, bool], str]:
    """Decode a file here: its samples at full scale, what the probe says of its length, and remarks."""
    is_whole = form.is_lossless and form.bits > 0
    try:
        found = probe(path)
        with AudioReader(path) as source:
            dtype = np.int32 if is_whole else np.float64 if form.is_lossless else np.float32
            blocks = [block.copy() for block in source.blocks(dtype)]
            words = source.remark
    except OutpaintError as exc:
        return None, (0, True), str(exc)
    samples = np.concatenate(blocks).astype(np.float64)
    return samples / 2.0**31 if is_whole else samples, (found.frames, found.is_exact), words


def settle(each: Comparison, ours: npt.NDArray[np.float64], theirs: npt.NDArray[np.float64]) -> None:
    """Compare samples; where they are not alike in place, look for where they are."""
    if ours.shape == theirs.shape:
        each.worst = float(np.abs(ours - theirs).max())
        if each.is_equal:
            return
    lag = _lag(ours[:, 0], theirs[:, 0])
    first, second = ours[max(lag, 0) :], theirs[max(-lag, 0) :]
    count = min(len(first), len(second))
    orders = [int(np.abs(second[:count] - column[:count, None]).mean(axis=0).argmin()) for column in first.T]
    apart = np.abs(first[:count] - second[:count, orders]).max(axis=1)
    wrong = np.flatnonzero(apart > (0 if each.form.is_lossless else _LOSSY_SLACK))
    each.words += (
        f" lag {lag}, order {orders}, largest {apart.max():.1e},"
        f" rms {np.sqrt((apart**2).mean()):.1e}, wrong {len(wrong)} of {count}"
        + (f" in {wrong[0]}…{wrong[-1]}" if len(wrong) else "")
    )


def _lag(ours: npt.NDArray[np.float64], theirs: npt.NDArray[np.float64]) -> int:
    """By how many frames what is read here begins earlier."""
    size = 1 << (len(ours) + len(theirs)).bit_length()
    both = np.fft.irfft(np.fft.rfft(ours, size) * np.conj(np.fft.rfft(theirs, size)), size)
    lags = np.concatenate([both[:_SEARCHED_FRAMES], both[-_SEARCHED_FRAMES:]])
    best = int(lags.argmax())
    return best if best < _SEARCHED_FRAMES else best - 2 * _SEARCHED_FRAMES


def reason(each: Comparison) -> str:
    """Return why two readings differ; empty for no reason."""
    return next(
        (
            words
            for name, reference, words in REASONS
            if each.form.name.startswith(name) and each.reference.startswith(reference)
        ),
        "",
    )


def report(found: list[Comparison]) -> int:
    """Print the tables; returns 1 where a difference has no reason."""
    groups: dict[str, list[Comparison]] = {}
    for each in found:
        groups.setdefault(each.form.family, []).append(each)
    print(
        "| format | written by | read beside | files | comparisons | frames equal | samples equal | worst | length |"
    )
    print("|" + "---|" * 9)
    for name, every in groups.items():
        print(f"| {name} | {' | '.join(_cells(every))} |")
    odd = [each for each in found if not each.is_equal]
    unexplained = [each for each in odd if not reason(each)]
    lying = [each for each in found if each.stated[1] and each.ours >= 0 and each.stated[0] != each.ours]
    print(f"\n{len(found):,} comparisons, {len(odd)} differ, {len(unexplained)} of them without a reason.\n")
    print("| format | beside | comparisons | an example | reason |\n|---|---|---|---|---|")
    causes: dict[tuple[str, str, str], list[Comparison]] = {}
    for each in odd:
        if reason(each):
            causes.setdefault((each.form.family, each.reference, reason(each)), []).append(each)
    for (name, reference, words), every in causes.items():
        print(f"| {name} | {reference} | {len(every)} | {every[0].sentence()} | {words} |")
    for each in unexplained:
        print(
            f"WITHOUT A REASON {each.form.name}, {each.form.writer}, {each.reference}: {each.sentence()} {each.words}"
        )
    for each in lying:
        print(
            f"LENGTH {each.form.name}, {each.form.writer}: {each.stated[0]} called exact; {each.sentence()}"
        )
    return int(bool(lying or unexplained))


def _cells(every: list[Comparison]) -> tuple[str, ...]:
    alike = [each for each in every if each.ours == each.theirs]
    off = max((abs(each.stated[0] - each.ours) for each in every if each.ours >= 0), default=0)
    return (
        ", ".join(dict.fromkeys(each.form.writer for each in every)),
        ", ".join(dict.fromkeys(each.reference for each in every)),
        str(len({(each.form, each.sample_rate, each.channels) for each in every})),
        str(len(every)),
        str(len(alike)),
        str(sum(each.is_equal for each in every)),
        f"{max((each.worst for each in every if each.is_equal), default=0):.0e}".replace("0e+00", "0"),
        f"up to {off} off" if off else "exact",
    )


if __name__ == "__main__":
    sys.exit(main())
