"""Material is preferred by its energy and its section, and what came of it is measured."""

from functools import cache

import numpy as np
import pytest
from tests.audio.composing import sequenced

from outpaint_mcp.audio.engine.analysis import Music, analyse
from outpaint_mcp.audio.engine.choice import describe_choice
from outpaint_mcp.audio.engine.section_names import find_section
from outpaint_mcp.audio.engine.steering import Steering, steer, stretches_of, unit_energy
from outpaint_mcp.audio.sections import Stretch
from outpaint_mcp.audio.steering_words import Wish, read_wish
from outpaint_mcp.audio.types import Floats, Samples, Segment

RATE = 11_025
PART_SECONDS = 16
SONG = [
    Stretch(0, 10, "A", -9.0),
    Stretch(10, 30, "B", -2.0),
    Stretch(30, 50, "C", 2.0),
    Stretch(50, 70, "B", -3.0),
    Stretch(70, 80, "C", 1.0),
    Stretch(80, 90, "C", 2.0),
    Stretch(90, 100, "D", -4.0),
    Stretch(100, 120, "C", 2.0),
    Stretch(120, 130, "E", -80.0),
]


def song(*gains_db: float) -> Samples:
    """The same 16 s again and again, each time at another level."""
    part, _ = sequenced(beats=32, sample_rate=RATE, channels=1)
    return np.concatenate([part * np.float32(10 ** (gain / 20)) for gain in gains_db])


@cache
def uneven() -> Music:
    music = analyse(song(-3, -12, 0, -12), RATE).music
    assert music is not None
    return music


def wanting(tags: str) -> Steering:
    return steer(read_wish(tags), uneven(), RATE)


def preference(tags: str) -> Floats:
    found = wanting(tags).preference
    assert found is not None
    return found


def cost_of_part(costs: Floats, part: int) -> float:
    at = uneven().units.bounds[:-1] / RATE
    inner = (at > part * PART_SECONDS + 3) & (at < (part + 1) * PART_SECONDS - 3)
    return float(costs[..., inner].mean())


def test_calm_music_is_quieter_and_loud_music_is_louder() -> None:
    calm, loud = preference("calm"), preference("loud")
    assert max(cost_of_part(calm, part) for part in (1, 3)) < 0.1
    assert cost_of_part(calm, 2) > 0.2
    assert cost_of_part(loud, 2) < 0.1
    assert cost_of_part(loud, 1) > 0.2


def test_a_build_goes_from_quiet_to_loud() -> None:
    costs = preference("build")
    assert cost_of_part(costs[:8], 1) < cost_of_part(costs[:8], 2)
    assert cost_of_part(costs[-8:], 1) > cost_of_part(costs[-8:], 2)


def test_a_fade_is_not_calm() -> None:
    faded = song(0, -6, 0)
    faded[-4 * RATE :] *= np.linspace(1, 0, 4 * RATE, dtype=np.float32)[:, None] ** 4
    music = analyse(faded, RATE).music
    assert music is not None
    energy = unit_energy(music, RATE)
    assert energy is not None
    assert np.isnan(energy[-2:]).all()
    costs = steer(read_wish("calm"), music, RATE).preference
    assert costs is not None
    assert costs[-1] == costs.max()


def test_music_that_does_not_vary_cannot_be_chosen_by_energy() -> None:
    music = analyse(song(0, 0, 0), RATE).music
    assert music is not None
    found = steer(read_wish("calm"), music, RATE)
    assert (found.preference, found.unmet) == (None, ("it is equally energetic throughout",))


def test_a_section_costs_nothing_inside_and_the_same_everywhere_else() -> None:
    stretches = [Stretch(0, 16, "A", 0.0), Stretch(16, 64, "B", 0.0)]
    costs = steer(read_wish("like section A"), uneven(), RATE, stretches).preference
    assert costs is not None
    assert cost_of_part(costs, 0) == 0
    assert cost_of_part(costs, 1) == cost_of_part(costs, 3) > 0


def test_no_wish_prefers_nothing() -> None:
    assert wanting("rock, 120 bpm") == Steering(None)


@pytest.mark.parametrize(
    ("name", "starts"),
    [
        ("chorus", [30, 70, 100]),
        ("verse", [10, 50]),
        ("bridge", [90]),
        ("intro", [0]),
        ("outro", [100]),
        ("A", [0]),
        ("C", [30, 70, 100]),
    ],
)
def test_sections_are_known_by_what_can_be_measured(name: str, starts: list[float]) -> None:
    found = find_section(name, SONG)
    assert not isinstance(found, str)
    assert [each.start_seconds for each in found] == starts


@pytest.mark.parametrize(
    ("name", "stretches", "reason"),
    [
        ("F", SONG, "it has no section F, only A, B, C, D"),
        ("chorus", SONG[:1], "it is one section throughout"),
        ("outro", SONG[:1], "it is one section throughout"),
        ("verse", SONG[:3], "no section comes again, as a verse does"),
        ("bridge", SONG[:2], "no section inside it comes only once, as a bridge does"),
    ],
)
def test_what_is_not_there_is_named(name: str, stretches: list[Stretch], reason: str) -> None:
    assert find_section(name, stretches) == reason


def test_the_sections_of_a_region_cover_it() -> None:
    stretches = stretches_of(uneven(), RATE)
    assert stretches[0].start_seconds == 0
    assert stretches[-1].end_seconds == pytest.approx(4 * PART_SECONDS, abs=0.01)


def test_the_choice_is_described_as_it_was_measured() -> None:
    quiet = (Segment(0, 17 * RATE, 8 * RATE), Segment(8 * RATE, 50 * RATE, 4 * RATE))
    found = describe_choice(Wish("calm"), wanting("calm"), quiet, uneven(), RATE, 60)
    assert found == "chosen from 1:17 to 1:25 and 1:50 to 1:54, 8 LU quieter than the average"


def test_nothing_is_said_to_be_chosen_where_all_of_a_loop_is_played() -> None:
    found = describe_choice(Wish("calm"), wanting("calm"), None, uneven(), RATE)
    assert "chosen" not in found
    assert "loop" in found


def test_a_build_is_described_by_its_first_and_last_third() -> None:
    rising = (Segment(0, 18 * RATE, 8 * RATE), Segment(8 * RATE, 34 * RATE, 8 * RATE))
    found = describe_choice(Wish("build"), wanting("build"), rising, uneven(), RATE)
    assert found == "chosen from 0:18 to 0:26 and 0:34 to 0:42, its last third 12 LU louder than its first"


def test_a_choice_by_section_says_how_much_of_it_is_inside() -> None:
    wanted = Steering(np.zeros(1), (Stretch(16, 32, "B", -2.0),))
    played = (Segment(0, 24 * RATE, 6 * RATE), Segment(6 * RATE, 40 * RATE, 2 * RATE))
    found = describe_choice(Wish(section="chorus"), wanted, played, uneven(), RATE)
    assert (
        found
        == "chosen from 0:24 to 0:30 and 0:40 to 0:42, 75% of it from section B, the loudest that comes again"
    )
