"""Calling a worker process from the event loop."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from outpaint_mcp import errors

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger(__name__)

# One worker a core: threads of its linear algebra would only get in each other's way, and sums
# taken in another order would make another take of the same seed.
SINGLE_THREADED = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

# Whatever opens files from outside has no use for these.
_SECRETS = ("RUNCOMFY_", "AWS_", "AZURE_", "GOOGLE_")

# What the system's out-of-memory killer sends; Windows has no name for it.
_KILLED = -9

# A line of the protocol is far shorter; a longer one is a worker gone mad.
_MAX_LINE_BYTES = 1 << 20


async def call_worker(
    order: dict[str, Any], *, on_progress: Callable[[float, str], None] = lambda _share, _step: None
) -> dict[str, Any]:
    """Have a fresh worker process carry out one order, and return its outcome.

    Cancelling the call kills the worker.

    Raises:
        ProviderUnavailable: no worker process can be started.
        WorkerDied: it did, and how.
        OutpaintError: what the worker said went wrong.
    """
    try:
        process = await _start_worker()
    except OSError as exc:
        raise errors.ProviderUnavailable(
            f"No worker process can be started: {exc.strerror or exc}. Close other programs, then try again."
        ) from exc
    assert process.stdin is not None  # noqa: S101 - asked for above
    assert process.stdout is not None  # noqa: S101
    try:
        with suppress(ConnectionError):  # a worker that died at once is told by its exit code
            process.stdin.write(json.dumps(order).encode() + b"\n")
            await process.stdin.drain()
        async for line in process.stdout:
            answer = json.loads(line)
            if "outcome" in answer:
                outcome: dict[str, Any] = answer["outcome"]
                return outcome
            if "error" in answer:
                raise getattr(errors, answer["kind"])(answer["error"])
            on_progress(answer["progress"], answer["step"])
        raise errors.WorkerDied(_epitaph(await process.wait()))
    finally:
        _kill(process)
        await process.wait()


def _kill(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        if os.name == "nt":
            process.kill()
        elif process.returncode is None:
            # Not `kill()`, which looks first whether it has ended, and so takes its exit code away from asyncio.
            os.kill(process.pid, signal.SIGKILL)


async def _start_worker() -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",  # a host's working folder is no place to import from
        "-m",
        "outpaint_mcp.workers.worker",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL if not _log.isEnabledFor(logging.DEBUG) else None,
        env={name: value for name, value in os.environ.items() if not name.startswith(_SECRETS)}
        | SINGLE_THREADED,
        limit=_MAX_LINE_BYTES,
        # A signal to the server's whole group (Ctrl-C, a closed terminal, a service manager) is for the
        # server, which hands its jobs back; a worker that died of it would have failed its job.
        start_new_session=True,
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # the same on Windows
    )


def _epitaph(code: int) -> str:
    if code == _KILLED:
        cause = "was killed, most likely because the machine ran out of memory"
    elif code < 0:
        cause = f"crashed ({signal.Signals(-code).name})"
    else:
        cause = f"ended early (exit code {code})"
    return (
        f"The worker process {cause}. Nothing else is affected; submit the request again, with a shorter"
        " source or extension if it fails again."
    )
