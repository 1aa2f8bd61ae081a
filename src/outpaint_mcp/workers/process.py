"""One worker process, as the server sees it: an order goes in, and an answer or an error comes out."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, TypeVar

from outpaint_mcp import errors
from outpaint_mcp.workers import answers, wire
from outpaint_mcp.workers.pipes import Pipes, open_pipes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_log = logging.getLogger(__name__)

_AnswerT = TypeVar("_AnswerT")

# One worker a core: threads of its linear algebra would only get in each other's way, and sums
# taken in another order would make another take of the same seed.
SINGLE_THREADED = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

# An interpreter finds itself, its libraries and its language by these. The last tells whose worker it is.
_PASSED_ON = frozenset(
    {
        *(
            "PATH",
            "HOME",
            "LANG",
            "LANGUAGE",
            "TZ",
            "LD_LIBRARY_PATH",
            "DYLD_LIBRARY_PATH",
            "DYLD_FALLBACK_LIBRARY_PATH",
        ),
        *("PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "PYTHONNOUSERSITE", "PYTHONUTF8", "PYTHONIOENCODING"),
        *("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "PYTHONHASHSEED"),
        *("SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "PATHEXT", "APPDATA", "USERPROFILE", "TEMP", "TMP"),
        "OUTPAINT_DATA_DIR",
    }
)

# What the system's out-of-memory killer sends; Windows has no name for it.
_KILLED = -9
# Sent to a whole group of processes, and not for what the worker did.
_INTERRUPTIONS = {-signal.SIGINT, -signal.SIGTERM, -getattr(signal, "SIGHUP", signal.SIGTERM)}
# Exit codes of Windows from here on are crashes.
_WINDOWS_CRASH = 0xC0000000

_QUERY = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s?#'\"]*)[?#][^\s'\"]*", re.IGNORECASE)
_CREDENTIAL = re.compile(
    r"((?:token|secret|signature|password|credential|authorization|api[_-]?key)[\w-]*['\"]?\s*[=:]\s*"
    r"(?:bearer\s+)?['\"]?)[^\s'\"&,;]+",
    re.IGNORECASE,
)
_BEARER = re.compile(r"(\bbearer\s+)[^\s'\"]+", re.IGNORECASE)


class Process(Protocol):
    """A started process, and how to end it."""

    @property
    def pipes(self) -> Pipes:
        """The server's ends of its pipes."""

    def send(self, order: bytes) -> None:
        """Send its order, and begin to read.

        Raises:
            OSError: the system does not let us read.
        """

    def kill(self) -> None:
        """End it, if it has not ended, by a signal that it cannot catch."""

    async def exit_code(self) -> int | None:
        """Wait for its end; returns the exit code, below 0 for a signal, None where nobody knows it."""


class PlainProcess:
    """A worker in an interpreter of its own."""

    def __init__(self, inputs: Sequence[int] = ()) -> None:
        """Start it with these descriptors.

        Raises:
            OSError: the system starts no more processes.
        """
        with open_pipes() as (self.pipes, (stdin, stdout, stderr)):
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                # -P: imports nothing from a host's folder
                [sys.executable, "-P", "-m", "outpaint_mcp.workers.worker", *map(str, inputs)],
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                env=worker_environment(),
                pass_fds=inputs,
                # A signal to the server's whole group (Ctrl-C, a closed terminal, a service manager) is for the
                # server, which hands its jobs back.
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # the same on Windows
            )
        self._loop = asyncio.get_running_loop()
        self._exited: asyncio.Future[int] = self._loop.create_future()

    def send(self, order: bytes) -> None:
        """See `Process.send`."""
        try:
            self.pipes.start(order, on_end=self._wait)
        except OSError:
            self._process.kill()
            self._exited.set_result(self._process.wait())
            raise

    def kill(self) -> None:
        """See `Process.kill`."""
        with suppress(ProcessLookupError):
            self._process.kill()

    async def exit_code(self) -> int | None:
        """See `Process.exit_code`."""
        return await asyncio.shield(self._exited)

    def _wait(self) -> None:
        code = self._process.wait()
        with suppress(RuntimeError):  # the loop has closed, as when the server leaves a worker to itself
            self._loop.call_soon_threadsafe(self._exited.set_result, code)


class Worker:
    """A worker process with one order.

    Args:
        process: it was started, and was sent nothing.
        order: what it is to do, as `wire.encode_order` has it.
        folder: the order's own, which alone its answer may name files in.
    """

    def __init__(self, process: Process, order: bytes, folder: Path | None = None) -> None:
        self._process = process
        self._order = order
        self._folder = folder
        self._is_released = False

    async def answer(
        self, reply_type: type[wire.Reply[_AnswerT]], on_progress: Callable[[float, str], None]
    ) -> _AnswerT:
        """Have the order carried out.

        Raises:
            ProviderUnavailable: the system has no room for another worker.
            WorkerDied: the worker did; or WorkerInterrupted, for a signal that was not meant for it.
            ServerStopping: the worker was released meanwhile.
            OutpaintError: what the worker says went wrong.
        """
        try:
            self._process.send(self._order)
        except OSError as exc:
            raise not_started(exc) from exc
        while line := await self._process.pipes.line():
            reply = wire.decode(reply_type, line)
            if reply.progress is not None:
                on_progress(*answers.progress_in(reply.progress))
            elif reply.answer is not None:
                answers.check_answer(reply.answer, self._folder)
                return reply.answer
            elif reply.error is not None:
                raise await self._error(answers.error_of(reply.error))
            else:
                raise answers.nonsense("a reply without anything in it")
        if self._is_released:
            raise errors.ServerStopping("This server is shutting down. The work goes on without it.")
        code = await self._process.exit_code()
        self._log_stderr(await self._process.pipes.last_words())
        raise _death(code)

    async def end(self) -> None:
        """Kill the worker unless it was released, and wait until it has ended."""
        if not self._is_released:
            self._process.kill()
            await self._process.exit_code()

    def kill(self) -> None:
        """Have the worker end now, whatever it is doing."""
        self._process.kill()

    def release(self) -> None:
        """Leave the worker to itself: one that may outlive its server goes on, and nobody waits for it."""
        self._is_released = True
        self._process.pipes.hang_up()

    async def _error(self, error: errors.OutpaintError) -> errors.OutpaintError:
        if isinstance(error, errors.InternalError):
            self._process.kill()  # all of its traceback is in the pipe
            self._log_stderr(await self._process.pipes.last_words())
        return error

    def _log_stderr(self, text: str) -> None:
        if text.strip():
            _log.error("A worker process failed:\n%s", redacted(text).strip())


def not_started(exc: OSError) -> errors.ProviderUnavailable:
    """Return the error for a worker that the system does not start."""
    return errors.ProviderUnavailable(
        f"No worker process can be started: {exc.strerror or exc}. Close other programs, then try again."
    )


def worker_environment() -> dict[str, str]:
    """Return the environment of a worker: what an interpreter needs of the server's, and one thread for algebra."""
    passed_on = {
        name: value for name, value in os.environ.items() if name in _PASSED_ON or name.startswith("LC_")
    }
    return passed_on | SINGLE_THREADED


def redacted(text: str) -> str:
    """Return a text without what comes after `?` or `#` in a link, and without tokens; paths stay."""
    for pattern in (_QUERY, _BEARER, _CREDENTIAL):
        text = pattern.sub(r"\1…", text)
    return text


def _death(code: int | None) -> errors.OutpaintError:
    """Return the error for a worker that ended without an answer."""
    if code is None:
        kind, cause = errors.WorkerDied, "ended early"
    elif code in _INTERRUPTIONS:
        kind, cause = errors.WorkerInterrupted, f"was interrupted ({signal.Signals(-code).name})"
    elif code == _KILLED:
        kind, cause = errors.WorkerDied, "was killed, most likely because the machine ran out of memory"
    elif code < 0:
        kind, cause = errors.WorkerDied, f"crashed ({signal.Signals(-code).name})"
    elif code >= _WINDOWS_CRASH:
        kind, cause = errors.WorkerDied, f"crashed ({code:#x})"
    else:
        return errors.InternalError(
            f"Internal error: a worker process ended without an answer (exit code {code}). The log has the details."
        )
    return kind(f"The worker process {cause}. Nothing else is affected.")
