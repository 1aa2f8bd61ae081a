"""The figures as Markdown."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
from bench.verdict import UNUSUAL_PCT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bench.runs import Run, Seam

_HEAD = (
    "| method | interior seams | join at a loud edge | join at a quiet edge "
    "| unique material | heard again < 16 s | source bit-exact | seconds |"
)

_CAUSE_HEAD = (
    "| method | edge | seams | flux | click | loudness | chroma | phase | the edge's own "
    "| novel | median LU | median beat slip ms (90th) |"
)
_EDGES = ("in", "loud", "quiet")
_NONE = "-"


def pass_percent(seams: Iterable[Seam], *, set_aside: bool = False) -> float | None:
    """The share of seams that pass; with `set_aside`, of those whose failures are not all the edge's own."""
    counted = [seam for seam in seams if not (set_aside and all_the_edges_own(seam))]
    return 100 * sum(not seam.failures for seam in counted) / len(counted) if counted else None


def all_the_edges_own(seam: Seam) -> bool:
    """Whether a seam fails, and by nothing but what its edge fails alone."""
    return bool(seam.failures) and set(seam.failures) <= set(seam.edges_own)


def main_table(runs: list[Run]) -> str:
    """The table of methods; a join's second figure leaves out those that fail by the edge alone."""
    rows = [_HEAD, "|" + "---|" * 8]
    for method in dict.fromkeys(run.method for run in runs):
        own = [run for run in runs if run.method == method]
        classes = [[seam for run in own for seam in run.seams if seam.edge == edge] for edge in _EDGES]
        cells = [
            method,
            _share(classes[0]),
            *(_both_shares(seams) for seams in classes[1:]),
            _mean([run.repetition.unique for run in own]),
            _mean([run.repetition.heard_again for run in own]),
            "yes" if all(run.exact for run in own) else "**no**",
            _mean([run.seconds for run in own]),
        ]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def cause_table(runs: list[Run]) -> str:
    """Why seams fail, and the medians of what is measured, for each method and edge."""
    rows = [_CAUSE_HEAD, "|" + "---|" * 12]
    for method in dict.fromkeys(run.method for run in runs):
        for edge in _EDGES:
            seams = [seam for run in runs if run.method == method for seam in run.seams if seam.edge == edge]
            if not seams:
                continue
            causes = Counter(cause for seam in seams for cause in seam.failures)
            own = sum(map(all_the_edges_own, seams))
            counts = [str(causes[cause]) for cause in ("flux", "click", "loudness", "chroma", "phase")]
            loudness = _quantile(seams, lambda seam: abs(seam.measures.lufs), 50)
            slip = [_quantile(seams, lambda seam: seam.measures.phase, q) for q in (50, 90)]
            cells = [method, edge, str(len(seams)), *counts, str(own), _novel(seams), loudness]
            cells.append(f"{slip[0]} ({slip[1]})")
            rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def failure_list(runs: list[Run], method: str) -> str:
    """One line for each seam of a method that fails."""
    lines = []
    for run in runs:
        for seam in run.seams if run.method == method else ():
            if seam.failures:
                m = seam.measures
                own = f" (the edge's own: {', '.join(seam.edges_own)})" if seam.edges_own else ""
                lines.append(
                    f"{run.recording:24} seed {run.seed} {seam.side:6} {seam.edge:5} {m.at_seconds:7.2f} s  "
                    f"{', '.join(seam.failures)}{own}  [flux {m.flux_pct:.1f} click {m.click_ratio:.2f} "
                    f"{m.lufs:+.1f} LU ({m.lufs_pct:.1f}) chroma {m.chroma_pct:.1f} slip {m.phase:.0f} ms]"
                )
    return "\n".join(lines)


def _share(seams: list[Seam], *, set_aside: bool = False) -> str:
    percent = pass_percent(seams, set_aside=set_aside)
    return _NONE if percent is None else f"{percent:.1f} %"


def _both_shares(seams: list[Seam]) -> str:
    raw, rest = _share(seams), _share(seams, set_aside=True)
    return raw if raw == rest else f"{raw} ({rest})"


def _novel(seams: list[Seam]) -> str:
    """Share of seams whose change of sound is beyond nearly all of the source's own; no limit, and never tuned for."""
    changes = np.array([seam.measures.novelty_pct for seam in seams])
    changes = changes[np.isfinite(changes)]
    return f"{100 * np.mean(changes >= UNUSUAL_PCT):.0f} %" if len(changes) else _NONE


def _quantile(seams: list[Seam], value: Callable[[Seam], float], percent: int) -> str:
    values = np.array([value(seam) for seam in seams])
    values = values[np.isfinite(values)]
    return f"{np.percentile(values, percent):.1f}" if len(values) else _NONE


def _mean(values: list[float]) -> str:
    return _NONE if np.isnan(values).any() else f"{np.mean(values):.2f}"
