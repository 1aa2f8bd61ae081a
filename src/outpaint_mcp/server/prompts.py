"""Prompts for the usual wishes: what a person picks from a menu becomes the calls that an agent has to make."""

from __future__ import annotations

import json
from math import isfinite
from typing import TYPE_CHECKING, NamedTuple

from mcp.server.mcpserver.prompts import Prompt
from mcp.server.mcpserver.prompts.base import PromptArgument

if TYPE_CHECKING:
    from mcp.server import MCPServer

    from outpaint_mcp.server.content import Lifespan

_AUDIO = (
    "audio",
    "The recording: its file name or path, an https link, or the request_id of an earlier result.",
    "",
)
_WAIT = """\
Then call get_outpaint_result with the request_id that it returns, and wait_seconds=45 (3 if your calls are cut off
sooner), again and again until status is completed, failed, cancelled or unknown. Do not submit it again because a wait
ended. Tell me the path or the link, and what the verdict says, faults included. If there is a cost, tell me that,
too."""
_TAGS = """\
Call analyze_audio with audio={audio} until it is completed. Then call submit_outpaint with the same audio and, as tags,
those that it measured, and the style that I ask for, if any. If it has no vocals, pass lyrics="[inst]"."""


class _Wish(NamedTuple):
    """One entry of the menu.

    Attributes:
        arguments: name, description and default of each; an empty default makes it required.
        text: what the agent reads.
    """

    name: str
    title: str
    description: str
    arguments: tuple[tuple[str, str, str], ...]
    text: str


_WISHES = (
    _Wish(
        "longer",
        "Make it longer",
        "Let a recording go on after its end.",
        (_AUDIO, ("seconds", "How many seconds to add. 30 unless given.", "30")),
        f"""\
Make {{audio}} longer by {{seconds}} seconds. {_TAGS} Pass extend_after_duration={{seconds}}. {_WAIT}""",
    ),
    _Wish(
        "intro",
        "Add an intro",
        "Put new music before a recording.",
        (_AUDIO, ("seconds", "How long the intro is, in seconds. 15 unless given.", "15")),
        f"""\
Put an intro of {{seconds}} seconds in front of {{audio}}. {_TAGS} Pass extend_before_duration={{seconds}} and
extend_after_duration=0. If I want it to build up layer by layer, pass beginning="build". {_WAIT}""",
    ),
    _Wish(
        "outro",
        "Add an outro",
        "Let a recording run out over a while.",
        (_AUDIO, ("seconds", "How long the outro is, in seconds. 20 unless given.", "20")),
        f"""\
Give {{audio}} an outro of {{seconds}} seconds. {_TAGS} Pass extend_after_duration={{seconds}}. Pass ending="fade" if I
want it to fade out, ending="breakdown" if layers should drop out one by one, or leave ending out for the recording's
own kind of ending. {_WAIT}""",
    ),
    _Wish(
        "loop",
        "Make a loop",
        "Make a recording into a loop that repeats seamlessly.",
        (_AUDIO, ("seconds", "How long the loop is, in seconds. 60 unless given.", "60")),
        """\
Make a seamless loop of about {seconds} seconds out of {audio}. Call submit_outpaint with audio={audio}, tags="",
total_seconds={seconds}, ending="loop" and provider="local", which is the one that loops. The length comes out in whole
bars. """
        + _WAIT
        + " Tell me the exact length.",
    ),
    _Wish(
        "exact_length",
        "Make it an exact length",
        "Extend a recording to an exact length.",
        (_AUDIO, ("length", "How long the whole has to be: seconds, or minutes:seconds such as 5:00.", "")),
        f"""\
Extend {{audio}} so that the whole lasts exactly {{length}}. {_TAGS} Pass total_seconds={{length}}, and neither
extend_before_duration nor extend_after_duration. If I want to keep the recording's beginning and ending, pass
placement="inside". {_WAIT} Tell me the exact length that came out.""",
    ),
    _Wish(
        "fix_ending",
        "Fix the ending",
        "Give a recording that stops abruptly, or fades too soon, a proper ending.",
        (_AUDIO,),
        f"""\
The ending of {{audio}} needs to be fixed. {_TAGS} See first how it ends (`ending` and `carry_on_from_seconds`), and
tell me. If it stops abruptly, pass extend_after_duration=8, so that it comes to rest. If it fades or breaks off too
soon, pass extend_after_duration=20, and the new music goes on from the last full bar. If there is something at the
end that should go, pass source_end_seconds with the place where it begins. Leave ending out, unless I have asked for
a fade (ending="fade"). {_WAIT}""",
    ),
    _Wish(
        "compare_takes",
        "Compare takes",
        "Make several takes of an extension and say which one to keep.",
        (
            _AUDIO,
            ("seconds", "How many seconds to add. 30 unless given.", "30"),
            ("takes", "How many takes. 3 unless given.", "3"),
        ),
        f"""\
Make {{takes}} takes of {{audio}}, each longer by {{seconds}} seconds, and compare them. {_TAGS} Pass
extend_after_duration={{seconds}} and takes={{takes}}. Each take is billed separately: with a paid provider, pass
dry_run=true first, and ask me whether I agree to the cost. {_WAIT} The answer lists the takes, best first. Compare
their verdicts in a short table, recommend one with the reason, and ask which I want to keep.""",
    ),
)


def add_prompts(server: MCPServer[Lifespan]) -> None:
    """Add all prompts to a server."""
    for wish in _WISHES:
        server.add_prompt(_prompt(wish))


def _prompt(wish: _Wish) -> Prompt:
    # Built as it is, and not from a function: the SDK would create a model and a validator for each at the start.
    defaults = {name: default for name, _, default in wish.arguments if default}

    async def render(**given: str) -> str:
        values = defaults | {name: value.strip() for name, value in given.items() if value.strip()}
        return " ".join(wish.text.format(**{name: _shown(value) for name, value in values.items()}).split())

    return Prompt(
        name=wish.name,
        title=wish.title,
        description=wish.description,
        arguments=[
            PromptArgument(name=name, description=description, required=not default)
            for name, description, default in wish.arguments
        ],
        fn=render,
        context_kwarg=None,
    )


def _shown(value: str) -> str:
    """Write a value as a tool's argument: a number as it is, anything else in quotes."""
    try:
        is_number = isfinite(float(value))
    except ValueError:
        is_number = False
    return value if is_number else json.dumps(value, ensure_ascii=False)
