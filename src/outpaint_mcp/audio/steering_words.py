"""Which tags steer what is chosen from a recording, and which do not; numpy is not loaded for this.

Without a model, only two things can be asked of a recording's own material: its energy, and one of its sections.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Energy = Literal["calm", "loud", "build"]
SectionName = Literal["chorus", "verse", "intro", "bridge", "outro"]

_ALWAYS: dict[Energy, re.Pattern[str]] = {
    "build": re.compile(r"build-?ups?|crescendo|rising|building|swelling"),
    "calm": re.compile(
        r"calm(er|ing|ly)?|quiet(er|ly)?|sparser?|gentl(e|er|y)|mellow(er)?|subdued|peaceful|relax(ed|ing)|tranquil"
        r"|serene|soothing|hushed|low-?key"
    ),
    "loud": re.compile(
        r"loud(er|ly)?|driving|energetic|intense|powerful|aggressive|energi[sz]ed|upbeat|explosive|climactic|bus(y|ier)"
    ),
}
"""Words with one meaning wherever they stand in a tag."""
_ALONE: dict[Energy, re.Pattern[str]] = {
    "build": re.compile(r"builds?|growing|gradual(ly)?|increasing|intensifying"),
    "calm": re.compile(
        r"soft(er|ly)?|minimal|intimate|ambient|light(er)?|low(er)?|thin(ner)?|chill|stripped(-down)?"
    ),
    "loud": re.compile(r"full(er)?|big(ger)?|heav(y|ier)|hard(er)?|high(er)?|strong(er)?|epic|climax|peak"),
}
"""Words that, beside others, belong to a genre or an instrument: soft rock, full orchestra, big band."""
_BESIDE = re.compile(
    r"an?|the|and|very|more|much|too|so|really|quite|rather|fairly|energy|mood|feel(ing)?|part|section|passage|music|sound"
    r"|dynamics?|intensity|level|song|track|up|down|slowly|steadily|of|in|with|to(wards)?"
)
_BY_AMOUNT: dict[Energy, re.Pattern[str]] = {
    "build": re.compile(
        r"((get|gets|getting|grow|grows|growing|becoming) .*(louder|bigger|fuller|stronger|more).*)|louder and louder"
    ),
    "calm": re.compile(r"less (energy|intensity|dynamics?)"),
    "loud": re.compile(r"more (energy|intensity|power|drive)"),
}
_TURNED = re.compile(r"not|no|less|never|without")
_OPPOSITE: dict[Energy, Energy | None] = {"calm": "loud", "loud": "calm", "build": None}

_SECTIONS: dict[str, SectionName] = {
    "chorus": "chorus",
    "choruses": "chorus",
    "refrain": "chorus",
    "hook": "chorus",
    "verse": "verse",
    "verses": "verse",
    "intro": "intro",
    "introduction": "intro",
    "opening": "intro",
    "beginning": "intro",
    "bridge": "bridge",
    "outro": "outro",
    "ending": "outro",
    "coda": "outro",
}
_LIKE = (
    r"(?:(?:just |more |sounds? |same )*(?:like|as in|as|from|of|repeat|use|reuse) )?"
    r"(?:(?:in|the|a|an|its|another|more|same) )*"
)
_NAMED = re.compile(rf"{_LIKE}(?P<name>{'|'.join(_SECTIONS)})(?: section| part| again| material| feel)*")
_LETTERED = re.compile(rf"(?:{_LIKE}(?:section|part) |like )(?P<letter>[a-l])(?: section| part| again)*")


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked of the material.

    Attributes:
        energy: how energetic it should be; `build` for more and more of it.
        section: the section to take it from: a name, or the letter that the analysis gives it; None for any.
        steering: the tags that say so, as they were written.
        idle: the tags that do not steer, as they were written.
    """

    energy: Energy | None = None
    section: str | None = None
    steering: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()

    @property
    def steers(self) -> bool:
        """Whether anything is asked."""
        return self.energy is not None or self.section is not None


def read_wish(tags: str) -> Wish:
    """Find what comma-separated tags ask of the material; where two contradict each other, the first one holds."""
    energy: Energy | None = None
    section: str | None = None
    steering: list[str] = []
    idle: list[str] = []
    for tag in (part.strip() for part in re.split(r"[,;\n]", tags)):
        words = re.sub(r"[\s_]+", " ", tag.casefold()).strip(" .!\"'()[]")
        asked, place = _energy(words), _section(words)
        if place is not None and section in {None, place}:
            section = place
            steering.append(tag)
        elif place is None and asked is not None and energy in {None, asked}:
            energy = asked
            steering.append(tag)
        elif tag:
            idle.append(tag)
    return Wish(energy, section, tuple(steering), tuple(idle))


def describe_wish(wish: Wish) -> str:
    """Which of the tags steer the choice of material, and which do not; empty where there were none."""
    if not wish.steers:
        sentence = (
            f"{_listed(wish.idle)} {_verb(wish.idle)} not steer the built-in provider" if wish.idle else ""
        )
        return f"{sentence}, which takes all its material from the recording." if sentence else ""
    wanted = [_WANTED[wish.energy]] if wish.energy else []
    if wish.section:
        wanted.append(f"like {_place(wish.section)}")
    chosen = f"{_listed(wish.steering)} {_chooses(wish.steering)} material that is {' and '.join(wanted)}"
    return f"{chosen}; {_listed(wish.idle)} {_verb(wish.idle)} not steer." if wish.idle else f"{chosen}."


_WANTED: dict[Energy, str] = {
    "calm": "calmer than the rest",
    "loud": "more energetic than the rest",
    "build": "calm at first and more and more energetic",
}


def _place(section: str) -> str:
    return f"section {section}" if len(section) == 1 else f"the {section}"


def _listed(tags: tuple[str, ...]) -> str:
    quoted = [f'"{tag}"' for tag in tags]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def _verb(tags: tuple[str, ...]) -> str:
    return "does" if len(tags) == 1 else "do"


def _chooses(tags: tuple[str, ...]) -> str:
    return "looks for" if len(tags) == 1 else "look for"


def _section(words: str) -> str | None:
    lettered = _LETTERED.fullmatch(words)
    if lettered is not None:
        return lettered["letter"].upper()
    named = _NAMED.fullmatch(words)
    return None if named is None else _SECTIONS[named["name"]]


def _energy(words: str) -> Energy | None:
    """The energy that a tag asks for; "not" and "less" ask for the opposite."""
    for energy, amount in _BY_AMOUNT.items():
        if amount.fullmatch(words):
            return energy
    found = [word.strip("'\"!.") for word in words.split()]
    turned = any(_TURNED.fullmatch(word) for word in found)
    plain = [word for word in found if not (_BESIDE.fullmatch(word) or _TURNED.fullmatch(word))]
    for energy, always in _ALWAYS.items():
        sure = [bool(always.fullmatch(word)) for word in plain]
        alone = [bool(_ALONE[energy].fullmatch(word)) for word in plain]
        if any(sure) or (plain and all(alone)):
            return _OPPOSITE[energy] if turned else energy
    return None
