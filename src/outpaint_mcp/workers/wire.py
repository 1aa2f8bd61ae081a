"""How orders, replies and errors cross the process boundary: as lines of JSON that are checked where they arrive.

The server and its workers write with the standard library. Pydantic reads: it refuses a missing or unknown field and a
value of another type. Its adapters are built at first use, one for each record.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_args, get_origin

from outpaint_mcp import errors
from outpaint_mcp.workers import looks, orders
from outpaint_mcp.workers.order import Order

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pydantic import TypeAdapter

_log = logging.getLogger(__name__)

AnswerT = TypeVar("AnswerT")
_RecordT = TypeVar("_RecordT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a worker is.

    Attributes:
        share: of the whole work, from 0 to 1.
        step: what it is doing, in a few words.
    """

    share: float
    step: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorRecord:
    """A worker's `OutpaintError` as JSON; see there for the attributes."""

    kind: str
    message: str
    hint: str | None
    field: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply(Generic[AnswerT]):
    """One line of a worker: its progress, or the answer or the error that it ends with."""

    progress: Progress | None = None
    answer: AnswerT | None = None
    error: ErrorRecord | None = None


def answer_type(order_type: type[Order[AnswerT]]) -> type[AnswerT]:
    """Return the type of an order's answer, which is the type argument of `Order`."""
    for base in getattr(order_type, "__orig_bases__", ()):
        if get_origin(base) is Order:
            answer: type[AnswerT] = get_args(base)[0]
            return answer
    raise TypeError(f"{order_type.__name__} has no answer type")


def encode(record: object, paths: Mapping[Path, str] | None = None) -> str:
    """Return a dataclass as one line of JSON; numbers that are not finite survive, and these paths have other names."""
    names = paths or {}
    return json.dumps(asdict(record), default=lambda value: names.get(value) or _path_text(value))  # type: ignore[call-overload]


def decode(record_type: type[_RecordT], text: str | bytes) -> _RecordT:
    """Read a dataclass from JSON.

    Raises:
        InternalError: the JSON does not fit the type; the log says where.
    """
    try:
        return prepare(record_type).validate_json(text, strict=True, extra="forbid")
    except ValueError as exc:  # pydantic's own errors are ValueErrors
        _log.error("A worker process and its server disagree on %s: %s", record_type, _faults(exc))
        raise errors.InternalError(
            "Internal error: this program and a worker process do not understand each other. The log has the details."
        ) from None


def encode_order(order: Order[Any], paths: Mapping[Path, str] | None = None) -> bytes:
    """Return an order as the line that a worker reads; see `encode`."""
    return f"{type(order).__name__} {encode(order, paths)}\n".encode()


def decode_order(line: bytes) -> Order[Any]:
    """Read the line of an order; raises as `decode` does."""
    task, _, body = line.decode().partition(" ")
    return decode(order_type(task), body)


def order_type(task: str) -> type[Order[Any]]:
    """Return the class of orders with this name.

    Raises:
        InternalError: there is none.
    """
    for module in (looks, orders):
        found = getattr(module, task, None)
        if isinstance(found, type) and issubclass(found, Order) and found is not Order:
            return found
    raise errors.InternalError(f"Internal error: no worker knows a task {task!r}.")


def encode_error(error: errors.OutpaintError) -> ErrorRecord:
    """Return an error as a record."""
    return ErrorRecord(kind=type(error).__name__, message=str(error), hint=error.hint, field=error.field)


def reply_type(order: type[Order[AnswerT]]) -> type[Reply[AnswerT]]:
    """Return the type of the replies to an order."""
    reply: Any = Reply
    found: type[Reply[AnswerT]] = reply[answer_type(order)]
    return found


def prepare(record_type: type[_RecordT]) -> TypeAdapter[_RecordT]:
    """Return what reads a record; building it takes a moment, once."""
    if record_type not in _adapters:
        from pydantic import TypeAdapter  # noqa: PLC0415 - takes a tenth of a second

        _adapters[record_type] = TypeAdapter(record_type)
    return _adapters[record_type]


_adapters: dict[object, TypeAdapter[Any]] = {}


def _path_text(value: object) -> str:
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"{type(value).__name__} does not cross the process boundary")


def _faults(exc: ValueError) -> object:
    from pydantic import ValidationError  # noqa: PLC0415 - as above

    if isinstance(exc, ValidationError):
        return [(each["loc"], each["type"]) for each in exc.errors(include_input=False, include_url=False)]
    return type(exc).__name__
