"""What an analysis says in words, beside its figures."""

from __future__ import annotations

import pytest

from outpaint_mcp.audio.hearing.records import Analysis, Beginning, Ending
from outpaint_mcp.audio.tonality import Key
from outpaint_mcp.reports.analysis import report

MINUS = "\N{MINUS SIGN}"


def analysis(**changes: object) -> Analysis:
    found: dict[str, object] = {
        "container": "WAV", "subtype": "PCM_16", "sample_rate": 44_100, "channels": 2, "frames": 9_702_000,
        "seconds": 220.0, "intact": True, "lufs": -14.0, "range_lu": 5.0, "true_peak_dbtp": -1.0,
        "full_scale_frames": 0, "dc_offset": 0.0, "starts_at_seconds": 0.0, "ends_at_seconds": 220.0,
        "beginning": Beginning("sudden", None), "ending": Ending("hard cut", None, None), "carry_on_from_seconds": None,
        "tempo": None, "key": Key(9, "minor", 0.8), "sections": (), "character": None, "tags": (),
    }  # fmt: skip
    return Analysis(**(found | changes))  # type: ignore[arg-type]


def message(**changes: object) -> str:
    return report(analysis(**changes), title="song", details=False).message


@pytest.mark.parametrize(
    ("lufs", "words"),
    [
        (-15.9, f"1.9 dB quieter than the {MINUS}14 LUFS that streaming services play at."),
        (-9.0, f"5.0 dB louder than the {MINUS}14 LUFS that streaming services play at: they turn it down."),
        (-14.3, f"About as loud as the {MINUS}14 LUFS that streaming services play at."),
    ],
)
def test_the_loudness_is_said_with_its_consequence(lufs: float, words: str) -> None:
    assert words in message(lufs=lufs)


def test_peaks_over_full_scale_are_said_with_what_to_do() -> None:
    over = "Its peaks go 0.6 dB over full scale: lower it or limit it before uploading."
    assert over in message(true_peak_dbtp=0.6)
    assert "full scale" not in message(true_peak_dbtp=-0.1)
    assert "LUFS" not in message(lufs=None)


@pytest.mark.parametrize(
    ("kind", "words"), [("fade-out", "fades out"), ("rings out", "rings out"), ("hard cut", "is silent")]
)
def test_an_end_that_is_no_place_to_carry_on_from_is_said(kind: str, words: str) -> None:
    found = report(
        analysis(ending=Ending(kind, None, None), carry_on_from_seconds=213.4),  # type: ignore[arg-type]
        title="song",
        details=False,
    )
    assert found.carry_on_from_seconds == 213.4
    assert f"It {words} from 3:33: an extension carries on from there." in found.message


def test_a_result_is_carried_on_from_where_its_made_ending_begins() -> None:
    found = report(
        analysis(carry_on_from_seconds=215.0), title="song", details=False, carry_on_from_seconds=200.0
    )
    assert found.carry_on_from_seconds == 200.0


def test_an_end_in_full_music_and_a_key_that_is_none_are_said_plainly() -> None:
    found = report(analysis(key=None), title="song", details=False)
    assert found.carry_on_from_seconds is None
    assert found.key is None
    assert "No clear key." in found.message
    assert "carries on" not in found.message
