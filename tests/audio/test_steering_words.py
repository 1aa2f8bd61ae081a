"""Which tags steer, and which do not."""

import subprocess
import sys

import pytest

from outpaint_mcp.audio.steering_words import Wish, describe_wish, read_wish


@pytest.mark.parametrize(
    ("tag", "energy"),
    [
        ("calm", "calm"),
        ("very quiet", "calm"),
        ("Soft", "calm"),
        ("calm piano", "calm"),
        ("less energetic", "calm"),
        ("not too loud", "calm"),
        ("low energy", "calm"),
        ("loud", "loud"),
        ("driving techno", "loud"),
        ("full", "loud"),
        ("more energy", "loud"),
        ("build", "build"),
        ("build-up", "build"),
        ("slowly rising", "build"),
        ("getting louder", "build"),
    ],
)
def test_words_for_energy_steer(tag: str, energy: str) -> None:
    assert read_wish(tag) == Wish(energy=energy, steering=(tag,))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("tag", "section"),
    [
        ("like the chorus", "chorus"),
        ("as in the refrain", "chorus"),
        ("verse", "verse"),
        ("same as the intro", "intro"),
        ("the bridge again", "bridge"),
        ("like the ending", "outro"),
        ("like section B", "B"),
        ("section c", "C"),
        ("like D", "D"),
    ],
)
def test_sections_steer_by_name_and_by_letter(tag: str, section: str) -> None:
    assert read_wish(tag) == Wish(section=section, steering=(tag,))


@pytest.mark.parametrize(
    "tag",
    [
        "soft rock",
        "full orchestra",
        "big band",
        "heavy metal",
        "ambient techno",
        "120 bpm",
        "C major",
        "no drums",
        "chorus effect",
        "female vocals",
        "B",
        "no chorus",
        "deep house",
    ],
)
def test_genres_instruments_and_keys_do_not_steer(tag: str) -> None:
    assert read_wish(tag) == Wish(idle=(tag,))


def test_energy_and_section_are_one_wish() -> None:
    wish = read_wish("quiet, like the verse, strings, ")
    assert wish == Wish("calm", "verse", ("quiet", "like the verse"), ("strings",))


def test_the_first_of_two_that_contradict_each_other_holds() -> None:
    assert read_wish("loud, calm, like the chorus, like the verse") == Wish(
        "loud", "chorus", ("loud", "like the chorus"), ("calm", "like the verse")
    )


@pytest.mark.parametrize(
    ("tags", "sentence"),
    [
        ("", ""),
        ("calm", '"calm" looks for material that is calmer than the rest.'),
        (
            "full, like section B, piano, 90 bpm",
            (
                '"full" and "like section B" look for material that is more energetic than the rest and like section B;'
                ' "piano" and "90 bpm" do not steer.'
            ),
        ),
        (
            "rock",
            '"rock" does not steer the built-in provider, which takes all its material from the recording.',
        ),
    ],
)
def test_every_tag_is_accounted_for(tags: str, sentence: str) -> None:
    assert describe_wish(read_wish(tags)) == sentence


def test_reading_a_wish_loads_no_numpy() -> None:
    code = "import sys; import outpaint_mcp.audio.steering_words; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
