"""Threads for work on files, which can be slow: a network drive must not hold up everything else."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")

_THREADS = 4
_STOP_SECONDS = 1.0


class FileThreads:
    """A few threads apart from those of `asyncio.to_thread`, which read the journal for everybody."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="files")

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function in a thread.

        When cancelled, wait until the function has returned: something else has asked it to stop. One that
        hangs with its disk is left behind.
        """
        call = asyncio.get_running_loop().run_in_executor(self._executor, partial(function, *args, **kwargs))
        try:
            return await asyncio.shield(call)
        except asyncio.CancelledError:
            await asyncio.wait({call}, timeout=_STOP_SECONDS)
            raise

    def close(self) -> None:
        """Accept no more calls; returns at once."""
        self._executor.shutdown(wait=False, cancel_futures=True)
