"""What the command line calls things, for the person at the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outpaint_mcp.errors import Hint

if TYPE_CHECKING:
    from outpaint_mcp.reports.wording import Vocabulary

_INPUTS = {
    "audio": "SOURCE",
    "extend_before_duration": "--before",
    "extend_after_duration": "--after",
    "source_start_seconds": "--from",
    "source_end_seconds": "--to",
    "total_seconds": "--total",
    "restore_source": "--no-restore",
    "bitrate_kbps": "--bitrate",
}
"""Where the option is not simply called like the input."""

_ADVICE = {
    Hint.FIND_REQUEST: 'Find its id with "outpaint-mcp list".',
    Hint.AWAIT_RESULT: 'Waiting for it. If the terminal is closed, "outpaint-mcp get {id}" gets it later.',
    Hint.FETCH_RESULT: 'Get the file with "outpaint-mcp get {id}".',
    Hint.GET_RESULT: 'Run "outpaint-mcp get {id}" again.',
    Hint.AGREE: 'To agree, run "outpaint-mcp approve {id}"; then "outpaint-mcp get {id}" waits for the rest.',
    Hint.CHECK_STATUS: 'See its status with "outpaint-mcp list".',
    Hint.SUBMIT_AGAIN: 'Run "outpaint-mcp extend" again with the same options.',
    Hint.CHOOSE_ANOTHER_PLACE: 'Give it another name with "outpaint-mcp get {id} --output NAME".',
    Hint.SET_LENGTH: "Set --before or --after above 0.",
    Hint.SET_TOTAL: "For more, give the length of the whole file with --total.",
    Hint.END_EARLIER: "That end is --to.",
    Hint.FIND_FILE: 'See what there is with "outpaint-mcp files".',
    Hint.OPEN_FOLDER: "Copy the file into one of these folders, or add its folder to OUTPAINT_INPUT_DIRS.",
    Hint.SET_CREDENTIALS: "Set that variable in this shell's environment, or use --provider local, which is free.",
    Hint.START: "To start it, run this again without --dry-run.",
    Hint.SEND_FILE: "Send the file at {link}, then give its name.",
    Hint.SAVE_ATTACHMENT: "Save the file on this machine and give its path, or give a public https link to it.",
}


class TerminalWords:
    """The commands, their options and next steps."""

    analysis = "outpaint-mcp analyze"

    def input(self, name: str, value: object | None = None) -> str:
        """See `Vocabulary.input`; what is switched off is named with a "without" in front of it."""
        option = _INPUTS.get(name, f"--{name.replace('_', '-')}")
        if name == "restore_source" or isinstance(value, bool):
            is_given = value is not (name == "restore_source")
            return option if is_given else f"without {option}"
        if value is None:
            return option
        text = f"{value:.10g}" if isinstance(value, float) else str(value)
        if option.isupper():  # positional
            return text
        return (
            f'{option} "{text}"'
            if not text or set(text) & set(" []*?$&|<>;(){}'!`\\~#")
            else f"{option} {text}"
        )

    def advise(self, hint: Hint, *, request_id: str | None = None, link: str = "") -> str:
        """See `Vocabulary.advise`."""
        return _ADVICE[hint].replace("{id}", request_id or "ID").replace("{link}", link)


TERMINAL: Vocabulary = TerminalWords()
"""The words of everything that the commands print."""
