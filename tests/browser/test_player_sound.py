"""What the player lets one hear, computed from what it has scheduled."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile

if TYPE_CHECKING:
    import numpy.typing as npt
    from tests.browser.conftest import Show, Shown

pytestmark = pytest.mark.browser

RATE = 44_100
SEAM_SECONDS = 10.0
SECOND_SEAM_SECONDS = 34.0
LEAD_IN_SECONDS = 2.5
FROM_SECONDS = SECOND_SEAM_SECONDS - LEAD_IN_SECONDS
_MOST_SLIP = 20


@pytest.fixture(scope="session")
def music(result: dict[str, Any]) -> npt.NDArray[np.float64]:
    """The left channel of the file that was delivered."""
    samples, rate = soundfile.read(result["structuredContent"]["path"], always_2d=True)
    assert rate == RATE
    left: npt.NDArray[np.float64] = samples[:, 0]
    return left


def rendered(shown: Shown, seconds: float, *, since: int = 0) -> npt.NDArray[np.float64]:
    """What comes out from the first sound on, or from a later one."""
    begins = shown.frame.evaluate(f"scheduled()[{since}].at")
    return np.array(shown.frame.evaluate(f"rendered({begins}, {begins + seconds}, {RATE})"))


def slip(heard: npt.NDArray[np.float64], music: npt.NDArray[np.float64], seconds: float) -> int:
    """By how many samples what is heard lies beside the music from a second on; MP3 in between costs some likeness."""
    first = round(seconds * RATE)
    likeness = {
        by: float(np.corrcoef(heard, music[first + by : first + by + len(heard)])[0, 1])
        for by in range(-_MOST_SLIP, _MOST_SLIP + 1)
    }
    best = max(likeness, key=likeness.__getitem__)
    assert likeness[best] > 0.9
    return best


def test_it_plays_from_two_and_a_half_seconds_before_a_seam(
    show: Show, result: dict[str, Any], music: npt.NDArray[np.float64]
) -> None:
    with show(result) as shown:
        shown.frame.get_by_role("button", name="Seam 0:34").click()
        shown.play_for(0.5)
        assert shown.frame.get_by_role("button", name="Pause").is_visible()
        heard = rendered(shown, 4)
        assert np.sqrt(np.mean(heard**2)) > 0.03
        assert slip(heard, music, FROM_SECONDS) == 0
        assert slip(heard[3:], music, FROM_SECONDS) == 3  # the control


def test_pieces_follow_one_another_to_the_sample(
    show: Show, result: dict[str, Any], music: npt.NDArray[np.float64]
) -> None:
    with show(result) as shown:
        seam = shown.frame.get_by_role("button", name="Seam 0:10")
        seam.click()
        shown.until("scheduled().length > 1")
        # Both pieces are here now, however slow the machine is.
        since = shown.frame.evaluate("scheduled().length")
        seam.click()
        shown.until(f"scheduled().length > {since} + 1")
        heard = rendered(shown, 6, since=since)
        join = round(LEAD_IN_SECONDS * RATE)
        assert slip(heard[:join], music, 7.5) == 0
        assert slip(heard[join:], music, 10) == 0
        error = heard - music[round(7.5 * RATE) :][: len(heard)]
        around_it = error[join - 500 : join + 500]
        assert np.abs(around_it).max() <= np.abs(error).max()
        assert np.sqrt(np.mean(around_it**2)) < 3 * np.sqrt(np.mean(error**2))


def test_another_take_goes_on_at_the_same_sample(
    show: Show, result: dict[str, Any], music: npt.NDArray[np.float64]
) -> None:
    with show(result) as shown:
        shown.frame.get_by_role("button", name="Seam 0:34").click()
        shown.play_for(0.4)
        shown.frame.get_by_label("Take 2").check()
        shown.until("scheduled().some((each) => each.stop !== null)")
        shown.play_for(0.2)
        sounds = shown.frame.evaluate("scheduled()")
        (left,) = [each for each in sounds if each["stop"] is not None and each["stop"] > each["at"] + 0.1]
        (entered,) = [
            each
            for each in sounds
            if each["buffer"] != left["buffer"] and left["stop"] - 0.01 < each["at"] < left["stop"]
        ]
        elapsed = entered["at"] - left["at"]
        assert entered["offset"] - left["offset"] == pytest.approx(elapsed, abs=0.01 / RATE)
        # The takes are the same, value by value: nobody can hear where one became the other.
        heard = rendered(shown, elapsed + 1)
        switched = round(elapsed * RATE)
        assert slip(heard[:switched], music, FROM_SECONDS) == 0
        assert slip(heard[switched:], music, FROM_SECONDS + elapsed) == 0
        around_it = slice(switched - 500, switched + 1000)
        error = heard - music[round(31.5 * RATE) :][: len(heard)]
        assert np.sqrt(np.mean(error[around_it] ** 2)) < 3 * np.sqrt(np.mean(error**2))


def test_the_source_alone_is_the_take_without_what_was_added(
    show: Show, result: dict[str, Any], music: npt.NDArray[np.float64]
) -> None:
    with show(result) as shown:
        shown.frame.get_by_label("Source").check()
        shown.frame.get_by_role("button", name="Seam 0:34").click()
        shown.play_for(0.3)
        heard = rendered(shown, 4)
        until_seam = round(LEAD_IN_SECONDS * RATE)
        assert slip(heard[:until_seam], music, FROM_SECONDS) == 0
        assert np.abs(heard[until_seam:]).max() == 0


def test_the_louder_take_is_turned_down_to_the_quieter_one(show: Show, result: dict[str, Any]) -> None:
    second = result["structuredContent"]["takes"][1]["request_id"]

    def louder(uri: str, content: dict[str, Any]) -> None:
        if uri.endswith("/peaks"):
            content["loudness_lufs"] = -10.0 if content["request_id"] == second else -16.0

    with show(result, reads=louder) as shown:
        seam = shown.frame.get_by_role("button", name="Seam 0:34")
        seam.click()
        shown.play_for(0.1)
        quieter = rendered(shown, 2)
        shown.frame.locator("#play").click()
        shown.frame.get_by_label("Take 2").check()
        since = shown.frame.evaluate("scheduled().length")
        seam.click()
        shown.until(f"scheduled().length > {since}")
        turned = 20 * np.log10(np.sqrt(np.mean(rendered(shown, 2, since=since) ** 2) / np.mean(quieter**2)))
        assert turned == pytest.approx(-6, abs=0.01)


def test_a_seam_is_repeated_without_an_end(
    show: Show, result: dict[str, Any], music: npt.NDArray[np.float64]
) -> None:
    with show(result) as shown:
        shown.frame.get_by_role("button", name="Seam 0:34").click()
        shown.frame.get_by_role("button", name="Loop seam").click()
        shown.play_for(0.3)
        assert shown.frame.locator("#loop").get_attribute("aria-pressed") == "true"
        shown.play_for(2)
        sounds = shown.frame.evaluate("scheduled().filter((each) => each.stop === null)")
        jumps = [
            (one, next_)
            for one, next_ in pairwise(sounds)
            if next_["at"] > one["at"] and next_["offset"] < one["offset"]
        ]
        assert jumps
        begins = shown.frame.evaluate("scheduled()[0].at")
        back = jumps[0][1]["at"]
        heard = np.array(shown.frame.evaluate(f"rendered({back}, {back + 2}, {RATE})"))
        assert begins < back
        assert slip(heard, music, FROM_SECONDS) == 0


def test_seeking_and_pausing_leave_no_click(show: Show, result: dict[str, Any]) -> None:
    with show(result) as shown:
        shown.frame.get_by_role("button", name="Play", exact=True).click()
        shown.play_for(0.3)
        shown.frame.locator("#wave").press("ArrowRight")
        shown.play_for(0.3)
        shown.frame.locator("#play").click()
        shown.until("$('play').getAttribute('aria-label') === 'Play'")
        heard = rendered(shown, 3)
        quiet_from = np.flatnonzero(heard)[-1]
        assert quiet_from < len(heard) - 1
        assert abs(heard[quiet_from]) < 0.01
        assert shown.text("#now") >= "0:05.2"
