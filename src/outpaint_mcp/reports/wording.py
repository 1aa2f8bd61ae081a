"""The words of a surface: what an input and a next step are called in a tool or at a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from outpaint_mcp.errors import InvalidRequest

if TYPE_CHECKING:
    from outpaint_mcp.errors import Hint, OutpaintError


class Vocabulary(Protocol):
    """What one surface calls things; reports and errors are written with it.

    Attributes:
        analysis: the name of what measures a recording.
    """

    analysis: str

    def input(self, name: str, value: object | None = None) -> str:
        """Name an input, with a value where one is given: `source_end_seconds=83`, `--to 83`.

        Args:
            name: as in `SubmitRequest`, or as the tools have it (`limit`, `restore_source`).
            value: what to set it to.
        """

    def advise(self, hint: Hint, *, request_id: str | None = None, link: str = "") -> str:
        """Say what to do next, in a full sentence.

        Args:
            hint: what to do.
            request_id: the request to do it with.
            link: where to do it.
        """


def explain(error: OutpaintError, vocabulary: Vocabulary) -> str:
    """Write an error for a surface: the input at fault, what happened, and what to do next."""
    faults = (error, *(error.others if isinstance(error, InvalidRequest) else ()))
    sentences = [
        f"{vocabulary.input(each.field)}: {_sentence(str(each))}" if each.field else _sentence(str(each))
        for each in faults
    ]
    hints = dict.fromkeys(each.hint for each in faults if each.hint is not None)
    link = getattr(error, "link", "")  # of a file that is on another machine
    advice = (vocabulary.advise(each, request_id=error.request_id, link=link) for each in hints)
    return " ".join((*sentences, *advice))


def _sentence(text: str) -> str:
    text = text.strip()
    return text if not text or text.endswith((".", "!", "?", "…")) else f"{text}."
