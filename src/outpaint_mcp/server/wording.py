"""What the tools call things, for the agent that calls them."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from outpaint_mcp.errors import Hint

if TYPE_CHECKING:
    from outpaint_mcp.reports.wording import Vocabulary

_ADVICE = {
    Hint.FIND_REQUEST: "Copy the request_id from submit_outpaint's answer, or find it with list_outpaints.",
    Hint.AWAIT_RESULT: "Call get_outpaint_result with wait_seconds=45 (or 3 if your host ends calls early).",
    Hint.FETCH_RESULT: "Call get_outpaint_result for the file.",
    Hint.GET_RESULT: "Call get_outpaint_result again.",
    Hint.CHECK_STATUS: "Call get_outpaint_status in a moment.",
    Hint.SUBMIT_AGAIN: "Call submit_outpaint again with the same arguments.",
    Hint.CHOOSE_ANOTHER_PLACE: "Ask the user to move that file, then call get_outpaint_result again.",
    Hint.SET_LENGTH: "Set extend_before_duration or extend_after_duration above 0.",
    Hint.OPEN_FOLDER: "Ask the user to copy the file into one of these folders, or to add its folder to"
    " OUTPAINT_INPUT_DIRS.",
    Hint.SAVE_ATTACHMENT: "This server cannot see files attached to the chat: ask the user to save the file into one of"
    " these folders and give its name, or give a public https link to it.",
}
_SHOWABLE = re.compile(r"\w{1,40}")


class ToolWords:
    """The tools' names, arguments and next steps."""

    analysis = "analyze_audio"

    def input(self, name: str, value: object | None = None) -> str:
        """See `Vocabulary.input`; a name that somebody made up is repeated only if it looks like one."""
        if not _SHOWABLE.fullmatch(name):
            return "an unknown argument"
        if value is None:
            return name
        return (
            f"{name}={f'{value:.10g}' if isinstance(value, float) else json.dumps(value, ensure_ascii=False)}"
        )

    def advise(self, hint: Hint, *, request_id: str | None = None) -> str:  # noqa: ARG002 - an agent has the id at hand
        """See `Vocabulary.advise`."""
        return _ADVICE[hint]


TOOLS: Vocabulary = ToolWords()
"""The words of every tool's answer."""
