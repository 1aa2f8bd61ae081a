"""An assistant at work: the SDK's own client on a real server, and the calls that it makes again and again."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyio.from_thread import start_blocking_portal
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.types import CallToolResult, TextContent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from anyio.from_thread import BlockingPortal

Json = dict[str, Any]

PATIENT_SECONDS, IMPATIENT_SECONDS = 45, 3
"""How long a call waits in a host that lets it, and in one that ends calls after five seconds."""

_MOST_CALLS = 100
_UNDER_WAY = {"in_queue", "in_progress"}


@dataclass(frozen=True, slots=True)
class Extended:
    """One request from its submission to its file.

    Attributes:
        submission: what submitting answered.
        result: what the last look at the result answered.
    """

    submission: Json
    result: Json

    @property
    def path(self) -> Path:
        """The delivered file."""
        return Path(self.result["path"])


@dataclass(frozen=True, slots=True)
class Folders:
    """What the person has on this machine."""

    music: Path
    results: Path
    desktop: Path
    records: Path

    @classmethod
    def below(cls, home: Path) -> Folders:
        """Make them in a folder of the test's own."""
        folders = cls(home / "Music", home / "Outpaint", home / "Desktop", home / "data")
        for each in (folders.music, folders.desktop):
            each.mkdir()
        return folders

    @property
    def environment(self) -> dict[str, str]:
        """The settings that a host gives to its server; a token is not among them."""
        return {
            "OUTPAINT_INPUT_DIRS": str(self.music),
            "OUTPAINT_OUTPUT_DIR": str(self.results),
            "OUTPAINT_EXPORT_DIRS": str(self.desktop),
            "OUTPAINT_DATA_DIR": str(self.records),
        }


class Assistant:
    """Calls tools as an assistant does that was asked for something.

    Attributes:
        folders: what the person has.
    """

    def __init__(self, portal: BlockingPortal, client: Client, folders: Folders) -> None:
        self._portal = portal
        self._client = client
        self.folders = folders

    def answer(
        self,
        tool: str,
        *,
        cut_after_seconds: float | None = None,
        **arguments: Any,  # noqa: ANN401 - JSON
    ) -> CallToolResult:
        """Call a tool and return its whole answer.

        Raises:
            MCPError: the host has cut the call off.
        """
        answer = self._portal.call(self._client.call_tool, tool, arguments, cut_after_seconds)
        assert isinstance(answer, CallToolResult)
        return answer

    def call(self, tool: str, **arguments: Any) -> Json:  # noqa: ANN401 - JSON
        """Call a tool and return its structured answer.

        Raises:
            AssertionError: the tool has refused.
        """
        answer = self.answer(tool, **arguments)
        assert not answer.is_error, words_of(answer)
        structure = answer.structured_content
        assert isinstance(structure, dict)
        return structure

    def refusal(self, tool: str, **arguments: Any) -> str:  # noqa: ANN401 - JSON
        """Call a tool that has to refuse, and return its words."""
        answer = self.answer(tool, **arguments)
        assert answer.is_error, answer.structured_content
        return words_of(answer)

    def extend(self, audio: str, tags: str = "", **arguments: Any) -> Extended:  # noqa: ANN401 - JSON
        """Submit, and get the file; the seed is always the same one, where none is given."""
        submission = self.call("submit_outpaint", audio=audio, tags=tags, **{"seed": 1} | arguments)
        return Extended(submission, self.get(submission["request_id"]))

    def get(self, request_id: str, wait_seconds: float = PATIENT_SECONDS, **arguments: Any) -> Json:  # noqa: ANN401 - JSON
        """Ask for a result until it is there.

        Raises:
            AssertionError: there will be none.
        """
        asked = {"request_id": request_id, "wait_seconds": wait_seconds} | arguments
        return self.repeat("get_outpaint_result", **asked)[-1]

    def repeat(self, tool: str, **arguments: Any) -> list[Json]:  # noqa: ANN401 - JSON
        """Call a tool with the same arguments until what it waits for has ended, and return every answer.

        Raises:
            AssertionError: it failed, or does not end.
        """
        answers: list[Json] = []
        while not answers or answers[-1]["status"] in _UNDER_WAY:
            assert len(answers) < _MOST_CALLS, answers[-1]
            answers.append(self.call(tool, **arguments))
        assert answers[-1]["status"] == "completed", answers[-1]
        return answers


def words_of(answer: CallToolResult) -> str:
    """Return the text of an answer, as a model reads it."""
    return "\n".join(block.text for block in answer.content if isinstance(block, TextContent))


@contextmanager
def connected(folders: Folders, extra: Mapping[str, str] | None = None) -> Iterator[Assistant]:
    """Start a server on these folders, and connect an assistant to it."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("OUTPAINT_")}
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "outpaint_mcp"], env=own | folders.environment | dict(extra or {})
    )
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(Client(server)) as client:
        yield Assistant(portal, client, folders)
