"""What a model does with the tools, and what it has to be able to read: one conversation for every client."""

from __future__ import annotations

import re
import urllib.request
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import soundfile

from outpaint_mcp.server.tools import all_tools

if TYPE_CHECKING:
    from collections.abc import Generator

SOURCE_SECONDS, ADDED_SECONDS = 3.0, 2.0
_SHORT_WAIT_SECONDS, _LONG_WAIT_SECONDS = 3, 6
_MOST_WAITS = 40
_MOST_SUBMISSIONS, _REQUESTS = 6, 2
_TEXT_OF_PICTURE_BYTES = 10_000


@dataclass(frozen=True, slots=True)
class Call:
    """A tool that the model calls."""

    tool: str
    arguments: dict[str, object]


@dataclass(frozen=True, slots=True)
class Shown:
    """What the client shows the model as the answer.

    Attributes:
        text: all text of it.
        pictures: how many pictures are beside it.
        seconds: how long the call took.
    """

    text: str
    pictures: int
    seconds: float

    def field(self, name: str) -> str:
        """Read a field of the answer, in whatever way the client writes it down; empty where there is none."""
        found = re.search(rf"""{name}\\*["']\s*:\s*(?:\\*["'](.*?)\\*["']|([\d.]+))\s*[,}}]""", self.text)
        return (found[1] or found[2] or "") if found else ""


@dataclass(slots=True)
class Record:
    """How far a conversation came, and what is worth knowing of the client's ways."""

    step: str = "connect"
    calls: int = 0
    ways: list[str] = field(default_factory=list)


def check_offer(tools: list[dict[str, Any]]) -> None:
    """Check that the model is offered every tool, with its text and all of its arguments.

    Raises:
        AssertionError: it is not.
    """
    ours = {tool.name: set(tool.parameters["properties"]) for tool in all_tools("local")}
    theirs = {tool["name"]: set(tool["parameters"].get("properties", ())) for tool in tools}
    assert theirs == ours
    assert all(tool["description"] for tool in tools), tools


def converse(record: Record, source: Path, results: Path | None) -> Generator[Call, Shown, None]:
    """Extend a recording, look at it, cancel another request, and get errors on the way.

    Args:
        record: written while it goes on.
        source: the recording, in a folder that the server reads.
        results: where its results come; None for a client on another machine, who has links for everything.

    Raises:
        AssertionError: the model was not shown what it needs.
    """
    record.step = "error"
    shown = yield _submit("nowhere.wav")
    _check_words(shown, "nowhere.wav", "sk the user")
    audio = source.name if results else _upload(source, shown)

    record.step = "extend"
    request_id = yield from _submitted(audio, extend_after_duration=ADDED_SECONDS, seed=1)

    record.step = "wait"
    shown = yield from _ended("get_outpaint_result", request_id=request_id)

    record.step = "result"
    assert shown.field("status") == "completed", shown
    assert shown.field("verdict"), shown
    assert _seconds(shown, results) == SOURCE_SECONDS + ADDED_SECONDS, shown

    record.step = "picture"
    shown = yield from _ended("analyze_audio", audio=request_id, picture=True)
    assert float(shown.field("duration_seconds")) == SOURCE_SECONDS + ADDED_SECONDS, shown
    if len(shown.text) > _TEXT_OF_PICTURE_BYTES:
        record.ways.append(f"puts a picture into the prompt as {len(shown.text):,} characters of text")
    elif not shown.pictures:
        record.ways.append("shows the model no picture")

    record.step = "error of an argument"  # not beside the first: some end a run that has two errors in a row
    shown = yield _submit(audio, extend_after_duration=999)
    _check_words(shown, "extend_after_duration", "240")

    record.step = "cancel"
    request_id = yield from _submitted(audio, total_seconds=7200, takes=4)
    shown = yield Call("get_outpaint_result", {"request_id": request_id, "wait_seconds": _LONG_WAIT_SECONDS})
    assert shown.text.strip(), "the model has to read something, even where the client gave up"
    if shown.field("request_id") != request_id:
        record.ways.append(f"cuts a call off after {shown.seconds:.0f} s: “{_gist(shown.text)}”")
    shown = yield Call("cancel_outpaint", {"request_id": request_id})
    assert shown.field("outcome") == "cancelled", shown
    shown = yield Call("get_outpaint_status", {"request_id": request_id})
    assert shown.field("status") == "cancelled", shown

    record.step = "list"
    shown = yield Call("list_outpaints", {})
    created = set(re.findall(r"\d\d:\d\d:\d\d", shown.text))  # some show an answer twice
    assert len(created) == _REQUESTS, shown


def _submit(audio: str, **arguments: object) -> Call:
    return Call("submit_outpaint", {"audio": audio, "tags": "", **arguments})


def _check_words(shown: Shown, *words: str) -> None:
    assert [word for word in words if word not in shown.text] == [], shown


def _upload(source: Path, shown: Shown) -> str:
    """Do what a caller on another machine is advised to, and return the name that the recording has afterwards."""
    link = re.search(r"http://[^\s\"\\]+/files/[^\s\"\\]+\?name=(?=NAME)", shown.text)
    assert link, shown
    name = f"uploaded {source.name}"
    request = urllib.request.Request(link[0] + quote(name), source.read_bytes(), method="PUT")
    with urllib.request.urlopen(request):
        return name


def _submitted(audio: str, **arguments: object) -> Generator[Call, Shown, str]:
    """Submit a request; where the client did not wait for the answer, look for it, or submit the same again."""
    for _ in range(_MOST_SUBMISSIONS):
        shown = yield _submit(audio, **arguments)
        if (request_id := shown.field("request_id")).startswith("op_"):
            return request_id
        assert shown.text.strip(), "the model has to read something"
        shown = yield Call("list_outpaints", {"status": "in_progress"})
        if (request_id := shown.field("request_id")).startswith("op_"):
            return request_id
    raise AssertionError(shown)


def _ended(tool: str, **arguments: object) -> Generator[Call, Shown, Shown]:
    """Wait as a model does whose calls are cut off early."""
    for _ in range(_MOST_WAITS):
        shown = yield Call(tool, {**arguments, "wait_seconds": _SHORT_WAIT_SECONDS})
        if shown.field("status") not in {"in_queue", "in_progress"}:
            return shown
    raise AssertionError("it never ended")


def _seconds(shown: Shown, results: Path | None) -> float:
    """Open the file that the answer names, wherever that is, and return its length."""
    if results:
        path = Path(shown.field("path"))
        assert path.parent == results, shown
        info = soundfile.info(path)
    else:
        with urllib.request.urlopen(shown.field("url")) as answer:
            info = soundfile.info(BytesIO(answer.read()))
    return float(info.frames / info.samplerate)


def _gist(text: str) -> str:
    words = " ".join(text.split()).replace("|", "/")
    return words if len(words) <= 90 else f"{words[:89]}…"
