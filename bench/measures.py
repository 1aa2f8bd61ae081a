"""What is measured at a seam, and the same measures at the source's own beats to compare with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from bench.listening import CHROMA_HOPS, Sound, cepstrum, k_weighted, residual
from bench.phase import beat_slip_ms

if TYPE_CHECKING:
    from outpaint_mcp.audio.types import Floats, Ints

_MARGIN_SECONDS = 1.2
_MOST_POINTS = 400
_PHASE_POINTS = 150
_LOUDNESS_SECONDS = 0.4
_FILTER_WARM_UP_SECONDS = 0.5
_NO_LIMIT = 10**18


@dataclass(frozen=True, slots=True)
class Reference:
    """Every measure at interior points of the source: its beats, or random points where it has none.

    Attributes:
        period_frames: of the beat; None where the source has none.
        novelty: distance of the mean cepstrum one second before and after.
        chroma: cosine of the summed chroma one second before and after.
        flux: strongest flux within 50 ms, dB.
        click: strongest residual within 3 ms.
        loudness: change of loudness over 400 ms before and after, LU, unsigned.
        phase: beat slip in ms, NaN where it cannot be measured.
    """

    period_frames: float | None
    novelty: Floats
    chroma: Floats
    flux: Floats
    click: Floats
    loudness: Floats
    phase: Floats

    @property
    def phase_is_reliable(self) -> bool:
        """Whether the source itself, at nine of ten of its own beats, shows no slip over 40 ms."""
        known = self.phase[np.isfinite(self.phase)]
        return len(known) >= 10 and float(np.percentile(known, 90)) <= 40.0


@dataclass(frozen=True, slots=True)
class SeamMeasures:
    """One seam against the source's own beats; percentiles are of those beats, 0 to 100."""

    at_seconds: float
    novelty_pct: float
    chroma: float
    chroma_pct: float
    flux_pct: float
    click_pct: float
    click_ratio: float
    lufs: float
    lufs_pct: float
    phase: float


def context(sound: Sound, frame: int, seconds: float = 1.0) -> tuple[float, float]:
    """Cepstral distance and chroma cosine of the time before and after a frame; NaN at the very ends."""
    at, count = frame // sound.hop, int(seconds * 100)
    if min(at, sound.log_mel.shape[1] - at) < 5:
        return float("nan"), float("nan")
    timbre = [
        cepstrum(sound.log_mel[:, max(0, at - count) : at]),
        cepstrum(sound.log_mel[:, at : at + count]),
    ]
    novelty = float(np.linalg.norm(timbre[0].mean(axis=1) - timbre[1].mean(axis=1)))
    at, count = frame // (sound.hop * CHROMA_HOPS), int(seconds * 25)
    left = sound.chroma[:, max(0, at - count) : at].sum(axis=1)
    right = sound.chroma[:, at : at + count].sum(axis=1)
    return novelty, float(left @ right / (np.linalg.norm(left) * np.linalg.norm(right) + 1e-12))


def flux_at(sound: Sound, frame: int) -> float:
    """The strongest flux within 50 ms."""
    at = frame // sound.hop
    near = sound.flux[max(0, at - 5) : at + 6]
    return float(near.max()) if len(near) else 0.0


def click_at(sound: Sound, frame: int) -> float:
    """The strongest residual within 3 ms."""
    width = int(0.003 * sound.sample_rate)
    start, stop = max(0, frame - width), min(len(sound.mono), frame + width)
    first = max(0, start - 2)
    near = residual(sound.mono[first : stop + 2])[start - first : stop - first]
    return float(near.max()) if len(near) else 0.0


def loudness_step(sound: Sound, frame: int) -> float:
    """Loudness of the 400 ms after less that of the 400 ms before, LU."""
    width, warm_up = (int(s * sound.sample_rate) for s in (_LOUDNESS_SECONDS, _FILTER_WARM_UP_SECONDS))
    first = max(0, frame - width - warm_up)
    weighted = k_weighted(sound.mono[first : frame + width], sound.sample_rate)
    return _step(weighted, frame - first, width)


def reference(sound: Sound, beats: Ints, period_frames: float | None) -> Reference:
    """The measures at the source's beats, at least 1.2 s inside it."""
    rng = np.random.default_rng(0)
    margin = _MARGIN_SECONDS * sound.sample_rate
    points = beats[(beats > margin) & (beats < len(sound.mono) - margin)]
    if len(beats) <= 8:
        points = rng.integers(int(margin), max(int(margin) + 1, len(sound.mono) - int(margin)), 200)
    if len(points) > _MOST_POINTS:
        points = rng.choice(points, _MOST_POINTS, replace=False)
    contexts = np.array([context(sound, int(p)) for p in points]).reshape(-1, 2)
    weighted = k_weighted(sound.mono, sound.sample_rate)
    width = int(_LOUDNESS_SECONDS * sound.sample_rate)
    slips = (
        [beat_slip_ms(sound, int(p), period_frames) for p in points[:_PHASE_POINTS]] if period_frames else []
    )
    return Reference(
        period_frames=period_frames,
        novelty=contexts[:, 0],
        chroma=contexts[:, 1],
        flux=np.array([flux_at(sound, int(p)) for p in points]),
        click=np.array([click_at(sound, int(p)) for p in points]),
        loudness=np.abs([_step(weighted, int(p), width) for p in points]),
        phase=np.array(slips or [np.nan]),
    )


def measure_seams(known: Reference, sound: Sound, seams: list[int]) -> list[SeamMeasures]:
    """Measure the seams, frames in `sound`, in order; each phase looks no further than the next seam."""
    ordered = sorted(seams)
    measured = []
    for i, frame in enumerate(ordered):
        room = (
            frame - ordered[i - 1] if i else _NO_LIMIT,
            ordered[i + 1] - frame if i + 1 < len(ordered) else _NO_LIMIT,
        )
        novelty, chroma = context(sound, frame)
        click, step = click_at(sound, frame), loudness_step(sound, frame)
        period = known.period_frames
        measured.append(
            SeamMeasures(
                at_seconds=frame / sound.sample_rate,
                novelty_pct=percentile_of(novelty, known.novelty),
                chroma=chroma,
                chroma_pct=100 - percentile_of(chroma, known.chroma),
                flux_pct=percentile_of(flux_at(sound, frame), known.flux),
                click_pct=percentile_of(click, known.click),
                click_ratio=click / (float(np.percentile(known.click, 99)) + 1e-12),
                lufs=step,
                lufs_pct=percentile_of(abs(step), known.loudness),
                phase=beat_slip_ms(sound, frame, period, room=room) if period else float("nan"),
            )
        )
    return measured


def measure_itself(known: Reference) -> list[SeamMeasures]:
    """The source's own beats as though they were seams, as many as have a phase."""
    highest = float(np.percentile(known.click, 99)) + 1e-12
    return [
        SeamMeasures(
            at_seconds=float("nan"),
            novelty_pct=percentile_of(known.novelty[i], known.novelty),
            chroma=known.chroma[i],
            chroma_pct=100 - percentile_of(known.chroma[i], known.chroma),
            flux_pct=percentile_of(known.flux[i], known.flux),
            click_pct=percentile_of(known.click[i], known.click),
            click_ratio=known.click[i] / highest,
            lufs=known.loudness[i],
            lufs_pct=percentile_of(known.loudness[i], known.loudness),
            phase=known.phase[i],
        )
        for i in range(min(len(known.phase), len(known.flux)))
    ]


def percentile_of(value: float, values: Floats) -> float:
    """How many of the finite values are at most this one, in percent; NaN without any."""
    finite = values[np.isfinite(values)]
    return float(100 * np.mean(finite <= value)) if len(finite) else float("nan")


def _step(weighted: Floats, at: int, width: int) -> float:
    before, after = weighted[max(0, at - width) : at], weighted[at : at + width]
    return _loudness(after) - _loudness(before)


def _loudness(weighted: npt.NDArray[np.float64]) -> float:
    return -0.691 + 10 * float(np.log10(np.mean(weighted**2) + 1e-12)) if len(weighted) else -120.0
