"""A stand-in for a decoder that a recording has taken over: what it tries to reach from within a worker.

As `sitecustomize` on Python's path it is there in the process that forks the workers, and does nothing until a worker
opens a recording. What it reached goes out as an error, by the only way that a worker has: to its server.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import socket
import sys
from contextlib import suppress
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.machinery import ModuleSpec

MARK = "a decoder that was taken over reached "
_SEIZE = 0x4206  # attaches without stopping: the server has to live to tell
# Beside this file when the process that forks the workers starts, and not yet when the server does.
_PLACES = Path(__file__).with_name("places.json")


def _read(path: str) -> bool:
    return bool(Path(path).read_bytes())


def _write(path: str) -> bool:
    with Path(path).open("ab") as file:
        file.write(b"x")
    return True


def _list(path: str) -> bool:
    return bool(list(Path(path).iterdir()))


def _link(path: str) -> bool:
    os.link(path, f"{path}.linked")
    return True


def _rename(path: str) -> bool:
    Path(path).rename(f"{path}.renamed")
    return True


def _make(path: str) -> bool:
    Path(path, "made").mkdir()
    return True


def _environment_of(pid: int) -> bool:
    return bool(Path(f"/proc/{pid}/environ").read_bytes())


def _memory_of(pid: int) -> bool:
    with Path(f"/proc/{pid}/mem").open("rb"):
        return True


def _descriptors_of(pid: int) -> bool:
    return bool(list(Path(f"/proc/{pid}/fd").iterdir()))


def _attach(pid: int) -> bool:
    return bool(ctypes.CDLL(None).ptrace(_SEIZE, pid, 0, 0) == 0)


def _signal(pid: int) -> bool:
    os.kill(pid, 0)
    return True


def _connect(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=1):
        return True


def _datagram(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        return own.sendto(b"x", ("127.0.0.1", port)) == 1


def _listen(_: int) -> bool:
    with socket.create_server(("127.0.0.1", 0)):
        return True


def _local(_: int) -> bool:
    first, second = socket.socketpair()
    first.close()
    second.close()
    return True


def _program(_: int) -> bool:
    return os.posix_spawn("/bin/true", ["true"], {}) > 0


def _fork(_: int) -> bool:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return True


def _core(_: int) -> bool:
    import resource  # noqa: PLC0415 - as late as what it stands for

    return resource.getrlimit(resource.RLIMIT_CORE)[0] > 1  # at 1, not even a handler gets one


def _variables(words: list[str]) -> bool:
    return any(word in value for value in os.environ.values() for word in words)


_BY_PATH: dict[str, Callable[[str], bool]] = {
    "read": _read,
    "write": _write,
    "list": _list,
    "link": _link,
    "rename": _rename,
    "make": _make,
}
_BY_PID: tuple[Callable[[int], bool], ...] = (_environment_of, _memory_of, _descriptors_of, _attach, _signal)
_BY_PORT: tuple[Callable[[int], bool], ...] = (_connect, _datagram, _listen, _local, _program, _fork, _core)


def _reached(places: dict[str, Any]) -> tuple[int, list[str]]:
    tried, got = 0, []

    def attempt(name: str, reach: Callable[[Any], bool], what: Any) -> None:  # noqa: ANN401 - as the reach has it
        nonlocal tried
        tried += 1
        with suppress(OSError, ValueError, AttributeError):
            if reach(what):
                got.append(name if isinstance(what, list) else f"{name} {what}")

    attempt("a secret variable", _variables, places["secrets"])
    for name, reach in _BY_PATH.items():
        for path in places[name]:
            attempt(name, reach, path)
    for each in _BY_PID:
        for pid in {*places.get("pids", []), os.getppid()}:
            attempt(each.__name__, each, pid)
    for other in _BY_PORT:
        attempt(other.__name__, other, places["port"])
    return tried, got


class _Finder(MetaPathFinder):
    """Lets soundfile be loaded as ever, and has every file that it opens take it over."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:  # noqa: ARG002
        if name != "soundfile":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        execute = spec.loader.exec_module

        def take_over(module: Any) -> None:  # noqa: ANN401 - soundfile
            execute(module)
            module.SoundFile.__init__ = _opened

        spec.loader.exec_module = take_over  # type: ignore[method-assign]
        return spec


def _opened(*_: object, **__: object) -> None:
    # An error that no decoder has, and that nothing in the product expects.
    raise ArithmeticError(MARK + json.dumps(_reached(json.loads(_TEXT))) + "\n")


_TEXT = _PLACES.read_text() if _PLACES.is_file() else ""
if __name__ == "sitecustomize" and _TEXT:
    sys.meta_path.insert(0, _Finder())
