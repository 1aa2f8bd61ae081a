"""Every surface speaks in its own words: no tool's name at a terminal, no option in a tool, nothing of pydantic's."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import json
import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from mcp.client import Client
from mcp.types import CallToolResult, TextContent
from tests.stores import DELIVERY
from tests.warm import around

import outpaint_mcp
from outpaint_mcp import errors
from outpaint_mcp.audio.surroundings import FullMusic
from outpaint_mcp.cli.main import main
from outpaint_mcp.cli.wording import TERMINAL
from outpaint_mcp.errors import Hint, InvalidRequest, OutpaintError
from outpaint_mcp.export_options import ExportOptions
from outpaint_mcp.models import CancelOutcome, Status, SubmitRequest
from outpaint_mcp.providers.registry import PROVIDERS, describe
from outpaint_mcp.reports import listing, requests, submissions
from outpaint_mcp.reports.placement import loop_words, placement_words
from outpaint_mcp.reports.wording import explain
from outpaint_mcp.server.app import build_server
from outpaint_mcp.server.tools import all_tools
from outpaint_mcp.server.wording import TOOLS
from outpaint_mcp.storage.records import RequestProgress, RequestRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

    from outpaint_mcp.audio.surroundings import EdgeName
    from outpaint_mcp.config import Settings
    from outpaint_mcp.reports.wording import Vocabulary
    from outpaint_mcp.wishes import BeginningName, EndingName

ID = "op_0123456789abcdef0123"
SURFACES = pytest.mark.parametrize("vocabulary", [TOOLS, TERMINAL], ids=["tools", "terminal"])

ARGUMENTS = {name for tool in all_tools("local") for name in tool.parameters["properties"]}
_TOOL_WORDS = re.compile(
    r"(submit|get|cancel|list)_outpaints?\w*|(analyze|list)_audio"  # a tool
    rf"|\b({'|'.join(sorted(ARGUMENTS))})="  # an argument with its value
    rf"|\b({'|'.join(sorted(name for name in ARGUMENTS if '_' in name))})\b"  # or one that is no plain word
)
_TERMINAL_WORDS = re.compile(r"(?<!\w)--[a-z]|outpaint-mcp (extend|get|list|files|analyze|demo)|Ctrl-C")
_LIBRARY_WORDS = re.compile(
    r"pydantic|validation error|type=|Input should|input_value|Traceback", re.IGNORECASE
)


def check(text: str, vocabulary: Vocabulary) -> None:
    """Hold a text against the surface that shows it."""
    foreign = _TOOL_WORDS if vocabulary is TERMINAL else _TERMINAL_WORDS
    assert text.strip()
    assert not foreign.search(text), text
    assert not _LIBRARY_WORDS.search(text), text
    assert "None" not in text


@SURFACES
def test_every_hint_is_a_sentence_of_the_surface(vocabulary: Vocabulary) -> None:
    for hint, request_id in itertools.product(Hint, [None, ID]):
        sentence = vocabulary.advise(hint, request_id=request_id)
        check(sentence, vocabulary)
        assert re.fullmatch(r"[A-Z][^{}]*\.", sentence)


@SURFACES
def test_the_analysis_and_every_input_has_a_name(vocabulary: Vocabulary) -> None:
    check(vocabulary.analysis, vocabulary)
    for name, value in itertools.product(ARGUMENTS, [None, 83, 1.5, True, False, "a b"]):
        check(vocabulary.input(name, value), vocabulary)


@pytest.mark.parametrize(
    ("name", "value", "tool", "terminal"),
    [
        ("source_end_seconds", 83, "source_end_seconds=83", "--to 83"),
        ("source_start_seconds", 1.5, "source_start_seconds=1.5", "--from 1.5"),
        ("extend_after_duration", None, "extend_after_duration", "--after"),
        ("restore_source", None, "restore_source", "--no-restore"),
        ("restore_source", False, "restore_source=false", "--no-restore"),
        ("restore_source", True, "restore_source=true", "without --no-restore"),
        ("lyrics", "[inst]", 'lyrics="[inst]"', '--lyrics "[inst]"'),
        ("part", "whole", 'part="whole"', "--part whole"),
        ("audio", None, "audio", "SOURCE"),
        ("audio", ID, f'audio="{ID}"', ID),
    ],
)
def test_an_input_is_named_as_it_is_given(name: str, value: object, tool: str, terminal: str) -> None:
    assert (TOOLS.input(name, value), TERMINAL.input(name, value)) == (tool, terminal)


@pytest.mark.parametrize("name", ["", "a" * 41, "two words", "x\ny", "<script>"])
def test_a_name_that_somebody_made_up_is_repeated_only_if_it_looks_like_one(name: str) -> None:
    assert TOOLS.input(name) == "an unknown argument"


KINDS = [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, OutpaintError)]


@SURFACES
def test_every_error_is_explained_with_every_hint_and_every_field(vocabulary: Vocabulary) -> None:
    for kind, hint, field in itertools.product(KINDS, [None, *Hint], [None, *SubmitRequest.model_fields]):
        error = kind("It went wrong", hint=hint, field=field, request_id=ID, path="/music/song.wav")
        text = explain(error, vocabulary)
        check(text, vocabulary)
        assert text.startswith(f"{vocabulary.input(field)}: It" if field else "It went wrong.")
        assert hint is None or text.endswith(vocabulary.advise(hint, request_id=ID))


def test_all_that_is_wrong_is_explained_and_the_same_advice_once() -> None:
    error = InvalidRequest("Give more.", field="takes", hint=Hint.SUBMIT_AGAIN)
    error.others = (InvalidRequest("Give less", field="seed", hint=Hint.SUBMIT_AGAIN),)
    assert explain(error, TERMINAL) == (
        f"--takes: Give more. --seed: Give less. {TERMINAL.advise(Hint.SUBMIT_AGAIN)}"
    )


WRONG: dict[str, list[Any]] = {
    "audio": [None, 3, [], {}, True, "", "\ud800"],
    "tags": [None, 3, [], "x" * 2_001, "\ud800"],
    "lyrics": [None, {}, "x" * 20_001],
    "extend_before_duration": [None, True, "long", [], -1, 241, math.nan, math.inf, 10**400],
    "extend_after_duration": [None, False, "", {}, -1, 1e9, -math.inf],
    "seed": [None, True, "random", 1.5, -2, 2**31, 10**5_000],
    "source_start_seconds": [None, True, "1:75", -1, math.nan],
    "source_end_seconds": [None, "1:2:3:4", -1, math.inf],
    "takes": [None, True, 0, 5, 1.5, "many"],
}


@SURFACES
def test_every_wrong_input_is_refused_in_the_words_of_the_surface(vocabulary: Vocabulary) -> None:
    for name, value in ((each, value) for each in WRONG for value in WRONG[each]):
        with pytest.raises(InvalidRequest) as refused:
            SubmitRequest.of(**{"audio": "song.wav", "tags": "lofi"} | {name: value})
        text = explain(refused.value, vocabulary)
        check(text, vocabulary)
        assert text.startswith(f"{vocabulary.input(name)}: ")
        assert len(text) < 200


@SURFACES
def test_inputs_that_do_not_go_together_are_refused_in_the_words_of_the_surface(
    vocabulary: Vocabulary,
) -> None:
    for inputs in (
        {"extend_before_duration": 0, "extend_after_duration": 0},
        {"source_start_seconds": 5, "source_end_seconds": 4},
    ):
        with pytest.raises(InvalidRequest) as refused:
            SubmitRequest.of(audio="song.wav", tags="lofi", **inputs)
        check(explain(refused.value, vocabulary), vocabulary)
    for inputs in ({"source_start_seconds": 99}, {"source_end_seconds": 99}):
        with pytest.raises(InvalidRequest) as refused:
            SubmitRequest.of(audio="song.wav", tags="lofi", **inputs).used_seconds(10)
        check(explain(refused.value, vocabulary), vocabulary)


def record(status: Status, provider: str = "local", **values: Any) -> RequestRecord:  # noqa: ANN401 - its fields
    """A request as the journal has it, with something in every field that is required."""
    required: dict[str, Any] = {
        name: {"str": "x", "float": 1.0, "int": 1, "bool": False}.get(
            str(parameter.annotation).split(" ")[0], {}
        )
        for name, parameter in inspect.signature(RequestRecord).parameters.items()
        if parameter.default is inspect.Parameter.empty
    }
    required |= {"request_id": ID, "provider": provider, "status": status, "error": None, "basis": None}
    required |= {"error_kind": None, "error_hint": None, "error_field": None, "live": None, "outcome": None}
    required |= {"estimated_cost_usd": 0.5, "cost_usd": None, "expected_duration_seconds": 5.0, "takes": 1}
    required |= {"title": "song", "created_at": 1.0}
    known = inspect.signature(RequestRecord).parameters
    return RequestRecord(**{name: of for name, of in (required | values).items() if name in known})


def reports(vocabulary: Vocabulary) -> Iterator[str]:
    """Everything that the reports can say."""
    seen = RequestProgress(status=Status.IN_PROGRESS, progress=0.5, step="listening")
    failure = InvalidRequest("Too long.", field="source_end_seconds", hint=Hint.SUBMIT_AGAIN)
    for provider in PROVIDERS:
        for status in Status:
            one = record(status, provider)
            two = [
                record(status, provider, takes=2),
                record(Status.FAILED, provider, takes=2, error="It broke."),
            ]
            for live in (seen, None):
                looked_at = dataclasses.replace(one, live=live)
                yield requests.status(looked_at, vocabulary, [looked_at]).message
                yield requests.status(dataclasses.replace(two[0], live=live), vocabulary, two).message
                yield requests.not_delivered(looked_at, vocabulary).message
            ended = record(
                status, provider, error="Too long.", error_kind="InvalidRequest", error_field="tags"
            )
            yield requests.status(ended, vocabulary, [ended]).error or ""
            yield listing.summary(ended, vocabulary, [ended], shows_paths=True).error or ""
            for outcome in CancelOutcome:
                yield requests.cancellation(one, vocabulary, outcome, [one]).message
                yield requests.cancellation(two[0], vocabulary, outcome, two).message
            for waits_for in ("", "preparing"):
                for refused in ([], [failure]):
                    if status is not Status.UNKNOWN:
                        yield submissions.submitted(
                            two[0], vocabulary, two, waits_for=waits_for, refused=refused
                        ).message
            yield submissions.submitted_before(one, vocabulary, 12.0).message
        completed = record(Status.COMPLETED, provider, takes=2)
        for status in (Status.COMPLETED, Status.IN_PROGRESS):
            for options in (
                ExportOptions(),
                ExportOptions(part="after", format="mp3"),
                ExportOptions(format="wav16"),
            ):
                yield requests.being_written(completed, vocabulary, options, 0.4).message
                whole = record(status, provider, takes=2)
                takes = [completed, record(status, provider, takes=2, request_id=f"{ID[:-1]}4")]
                report = requests.delivered(
                    whole, vocabulary, takes, {ID: DELIVERY}, {takes[1].request_id: failure}, options
                )
                yield report.message
                yield from (take.error for take in report.takes or () if take.error)


@SURFACES
def test_every_report_speaks_in_the_words_of_the_surface(vocabulary: Vocabulary) -> None:
    messages = list(reports(vocabulary))
    assert len(set(messages)) > 25
    for message in messages:
        check(message, vocabulary)


def test_every_provider_describes_itself() -> None:
    assert {*PROVIDERS} == {"local", "runcomfy"}
    for each in map(describe, PROVIDERS):
        assert f"Provider: {each.name}" in each.instructions
        assert not _TERMINAL_WORDS.search(each.instructions + each.tool_text)


NEUTRAL = ("audio", "sources", "config", "errors.py", "inputs.py", "models.py", "reports", "jobs")
"""What is shown by every surface. The server and the command line have their own words."""
_OF_A_TOOLS_SCHEMA = {'End of the part to extend ("continue from 1:23" is 83). 0: the source\'s end.'}


def texts(path: Path) -> Iterator[str]:
    """Every text in a module that a person may read: sentences and parts of them, but no docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    silent = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        text = node.value if isinstance(node, ast.Constant) and id(node) not in silent else None
        if isinstance(text, str) and " " in text.strip():
            yield text


def test_no_text_below_the_surfaces_names_a_tool_an_argument_or_an_option() -> None:
    root = Path(outpaint_mcp.__file__).parent
    modules = [
        path
        for name in NEUTRAL
        for path in ([root / name] if name.endswith(".py") else (root / name).rglob("*.py"))
    ]
    assert len(modules) > 50
    for path in modules:
        for text in texts(path):
            if text not in _OF_A_TOOLS_SCHEMA:
                assert not _TERMINAL_WORDS.search(text), (path.name, text)
                assert not _TOOL_WORDS.search(text), (path.name, text)


def test_no_text_below_the_server_speaks_of_its_log() -> None:
    root = Path(outpaint_mcp.__file__).parent
    for path in {*root.rglob("*.py")} - {*(root / "server").rglob("*.py")}:
        for text in texts(path):
            assert "server's log" not in text, (path.name, text)


async def answers(client: Client, tool: str, arguments: dict[str, Any]) -> str:
    answer = await client.call_tool(tool, arguments)
    assert isinstance(answer, CallToolResult)
    assert answer.is_error, arguments
    return "".join(block.text for block in answer.content if isinstance(block, TextContent))


_JUNK = [None, True, 3, -1e9, 1.5, "words", [], {}, [1], {"a": 1}]


def accepted(schema: dict[str, Any], value: object) -> bool:
    """Whether a tool may take a value, as far as its schema says."""
    kind = schema["type"]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if "enum" in schema:
        return value in schema["enum"]
    if kind == "string":
        return isinstance(value, str)
    if kind == "boolean":
        return isinstance(value, bool) or value in (0, 1)
    in_bounds = is_number and schema.get("minimum", -math.inf) <= value <= schema.get("maximum", math.inf)
    return in_bounds and (kind == "number" or value == int(value))  # type: ignore[call-overload]


@pytest.mark.anyio
async def test_every_tool_refuses_every_wrong_argument_in_its_own_words(settings: Settings, era: str) -> None:
    async with Client(build_server(settings, surroundings=around()), mode=era) as client:
        for tool in all_tools("local"):
            properties = tool.parameters["properties"]
            good = dict.fromkeys(tool.parameters.get("required", ()), "x")
            for name, schema in properties.items():
                for value in _JUNK:
                    is_left_out = value is None and name not in good
                    if not is_left_out and not accepted(schema, value):
                        text = await answers(client, tool.name, good | {name: value})
                        check(text, TOOLS)
                        assert text.startswith(f"{name}: "), text
                        assert "words" not in text
            for name in good:
                without = {each: of for each, of in good.items() if each != name}
                text = await answers(client, tool.name, without)
                check(text, TOOLS)
                assert f"{name}: This input is required: give text." in text
            text = await answers(client, tool.name, good | {"secret thing": "hunter2", "lenght": 3})
            check(text, TOOLS)
            assert "an unknown argument: There is no such input. lenght: There is no such input." in text
            assert text.endswith(f"{tool.name} takes {', '.join(properties)}.")
            assert "hunter2" not in text


COMMANDS: list[list[str]] = [
    ["extend", "gone.wav"],
    ["extend", "song.wav", "--after", "0"],
    ["extend", "song.wav", "--after", "241"],
    ["extend", "song.wav", "--before", "nan"],
    ["extend", "song.wav", "--seed", "-2"],
    ["extend", "song.wav", "--takes", "9"],
    ["extend", "song.wav", "--from", "5", "--to", "4"],
    ["extend", "song.wav", "--from", "99"],
    ["extend", "song.wav", "--to", "99"],
    ["extend", "song.wav", "--tags", "x" * 2_001],
    ["extend", "song.wav", "--takes", "2", "--output", "mine.wav"],
    ["extend", "song.wav", "--output", "mine.m4a"],
    ["extend", "http://example.com/a.mp3"],
    ["extend", "https://127.0.0.1/a.mp3"],
    ["extend", "ftp://example.com/a.mp3"],
    ["extend", "sandbox:/mnt/data/song.wav"],
    ["extend", "data:text/html;base64,PGh0bWw+"],
    ["extend", "op_last"],
    ["extend", "song.wav", "--after", "1"],
    ["extend", "song.wav", "--after", "1", "--takes", "2"],
    ["extend", "song.wav", "--after", "2", "--json"],
    ["analyze", "song.wav"],
    ["analyze", "song.wav", "--json"],
    ["analyze", "gone.wav"],
    ["extend", "sing"],
    ["files"],
    ["files", "sing", "--json"],
    ["files", "--folder", "/etc"],
    ["files", "--limit", "0"],
    ["list"],
    ["list", "--json"],
    ["--help"],
    *([command, "--help"] for command in ("serve", "extend", "get", "analyze", "files", "list", "demo")),
    ["serve", "--http", "--host", "0.0.0.0"],
]


def values(answer: object) -> Iterator[str]:
    """The texts in a JSON answer; the names in it are the contract."""
    if isinstance(answer, dict):
        answer = list(answer.values())
    if isinstance(answer, list):
        for each in answer:
            yield from values(each)
    elif isinstance(answer, str):
        yield answer


def test_every_command_speaks_the_words_of_the_terminal(
    song: Path,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(song.parent)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for command in COMMANDS:
        with pytest.raises(SystemExit):
            main(command)
        out, err = capsys.readouterr()
        if "--json" in command and out:
            out = "\n".join(values(json.loads(out)))
        assert out + err
        check(out + err, TERMINAL)


def test_the_variables_are_named_alike_on_every_surface() -> None:
    assert "OUTPAINT_INPUT_DIRS" in TOOLS.advise(Hint.OPEN_FOLDER)
    assert "OUTPAINT_INPUT_DIRS" in TERMINAL.advise(Hint.OPEN_FOLDER)
    assert os.environ.get("PYDANTIC_ERRORS_INCLUDE_URL") is None


@pytest.mark.parametrize("beginning", ["natural", "cut"])
@pytest.mark.parametrize("ending", ["natural", "fade"])
def test_only_an_end_that_is_left_natural_is_said_to_come_again(
    beginning: BeginningName, ending: EndingName
) -> None:
    music = FullMusic(100 * 1000, 1000, 4000, 90_000, "fades", "fades")
    request = SubmitRequest(
        audio="song.wav",
        tags="",
        extend_before_duration=20,
        extend_after_duration=20,
        beginning=beginning,
        ending=ending,
    )
    words = placement_words(music, request, TOOLS, is_generative=False)
    assert ("its fade-in begins the longer file" in words) == (beginning == "natural")
    assert ("its fade ends the longer file" in words) == (ending == "natural")


@pytest.mark.parametrize("beginning", ["full", "fades", "rings out", "silence", "own", "ours"])
@pytest.mark.parametrize("before_seconds", [0, 20])
@pytest.mark.parametrize("ending", ["loop", "natural"])
def test_a_soft_beginning_that_no_loop_can_join_is_named_with_the_cut_that_would_do(
    beginning: EdgeName, before_seconds: float, ending: EndingName
) -> None:
    music = FullMusic(100 * 1000, 1000, 4250, 100_000, beginning, "full")
    request = SubmitRequest(
        audio="song.wav",
        tags="",
        source_start_seconds=10,
        extend_before_duration=before_seconds,
        extend_after_duration=20,
        ending=ending,
    )
    words = loop_words(music, request, TOOLS)
    is_in_vain = beginning in {"fades", "rings out", "silence"} and not before_seconds and ending == "loop"
    assert bool(words) == is_in_vain
    assert not words or "source_start_seconds=14.25" in words
