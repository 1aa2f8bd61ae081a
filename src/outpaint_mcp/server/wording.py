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
    Hint.AGREE: "Tell the user these figures. Ask the user to run `outpaint-mcp approve {id}` at a terminal of the"
    " machine that this server runs on, if they agree; where the host can ask questions, get_outpaint_result asks them."
    " If they do not, call cancel_outpaint.",
    Hint.CHECK_STATUS: "Call get_outpaint_status in a moment.",
    Hint.SUBMIT_AGAIN: "Call submit_outpaint again with the same arguments.",
    Hint.CHOOSE_ANOTHER_PLACE: "Pass another save_as to get_outpaint_result, or ask the user to move that file.",
    Hint.SET_LENGTH: "Set extend_before_duration or extend_after_duration above 0.",
    Hint.SET_TOTAL: "For more, give the length of the whole file as total_seconds: the steps are planned for you.",
    Hint.END_EARLIER: "That end is source_end_seconds.",
    Hint.FIND_FILE: "Call list_audio to see what the files are called.",
    Hint.OPEN_FOLDER: "Ask the user to copy the file into one of these folders, or to add its folder to"
    " OUTPAINT_INPUT_DIRS.",
    Hint.SET_CREDENTIALS: "Ask the user to add that variable to this server's env in the host's settings and to restart"
    ' the host, or submit with provider="local", which is free.',
    Hint.START: "To start it, call submit_outpaint again with dry_run=false.",
    Hint.SEND_FILE: "Ask the user to open {link} and drop the file there (one file, within the hour); or, where you can"
    ' run commands beside the file: curl -T FILE "{put}?name=NAME". Then call again with its name as audio.',
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

    def advise(self, hint: Hint, *, request_id: str | None = None, link: str = "") -> str:
        """See `Vocabulary.advise`; an agent has the id at hand, a person has not."""
        put = link.replace("/drop/", "/files/")
        return _ADVICE[hint].replace("{id}", request_id or "ID").replace("{link}", link).replace("{put}", put)


TOOLS: Vocabulary = ToolWords()
"""The words of every tool's answer."""
