"""A decoder that was taken over: it tries everything that could harm the person, and says what it got at.

This stands in the place of `soundfile` in a worker's interpreter. `REACH` is put before it: where what it is after is.
"""

from __future__ import annotations

import ctypes
import fcntl
import importlib.util
import json
import os
import resource
import signal
import socket
import struct
import sys
from contextlib import suppress
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

REACH: dict[str, Any] = globals().get("REACH", {})
_SYSCALL = ctypes.CDLL(None).syscall


def _read(path: str) -> bool:
    with open(path, "rb") as file:  # noqa: PTH123 - as plain as it gets
        return bool(file.read(1))


def _done(act: Callable[..., None], *arguments: object) -> bool:
    act(*arguments)
    return True


def _read_memory(pid: int) -> bool:
    with open(f"/proc/{pid}/mem", "rb"):  # noqa: PTH123
        return True


def _append(path: str) -> bool:
    with open(path, "ab") as file:  # noqa: PTH123
        return file.write(b"!") > 0


def _write_new(folder: str) -> bool:
    path = os.path.join(folder, f"new-{os.getpid()}")  # noqa: PTH118
    with open(path, "xb"):  # noqa: PTH123
        return True


def _connect(family: int, kind: int, address: str | tuple[str, int]) -> bool:
    with socket.socket(family, kind) as opened:
        opened.connect(address)
        opened.send(b"hello")
    return True


def _spawn() -> bool:
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)
    return True


def _fork() -> bool:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return True


def _exec() -> bool:
    """Whether it would be let; a program that is none is refused later than by the filter."""
    try:
        os.execv(REACH["no_program"], ["x"])
    except OSError as exc:
        return exc.errno == 8


def _call(name: str, *arguments: int) -> bool:
    called = getattr(ctypes.CDLL(None, use_errno=True), name)
    return bool(called(*map(ctypes.c_long, arguments)) >= 0)


def _attempts() -> dict[str, Callable[[], object]]:
    server, victim = REACH["server"], REACH["victim"]
    return {
        "environment of the parent": lambda: _read(f"/proc/{os.getppid()}/environ"),
        "environment of the server": lambda: _read(f"/proc/{server}/environ"),
        "list of programs": lambda: os.listdir("/proc"),  # noqa: PTH208
        "memory of the server": lambda: _read_memory(server),
        "tracing the server": lambda: _call("ptrace", 0x4206, server, 0, 0),
        "token": lambda: _read(REACH["token"]),
        "private key": lambda: _read(REACH["key"]),
        "list of the home": lambda: os.listdir(REACH["home"]),  # noqa: PTH208
        "start-up file": lambda: _append(REACH["bashrc"]),
        "output folder": lambda: _write_new(REACH["output"]),
        "journal": lambda: _append(REACH["journal"]),
        "another order's source": lambda: _read(REACH["other"]),
        "users of the system": lambda: _read("/etc/passwd"),
        "new file in /tmp": lambda: _write_new("/tmp"),
        "permissions": lambda: _done(os.chmod, victim, 0o644),
        "times": lambda: _done(os.utime, victim),
        "length": lambda: _done(os.truncate, victim, 1),
        "name": lambda: _done(os.rename, victim, f"{victim}.x") and _done(os.rename, f"{victim}.x", victim),
        "TCP": lambda: _connect(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", REACH["port"])),
        "UDP": lambda: _connect(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 9)),
        "Unix socket": lambda: _connect(socket.AF_UNIX, socket.SOCK_STREAM, REACH["socket"]),
        "pair of sockets": socket.socketpair,
        "signal to the server": lambda: _done(os.kill, server, 0),
        "signal to its group": lambda: _done(os.kill, 0, signal.SIGCONT),
        "limits of the server": lambda: resource.prlimit(server, resource.RLIMIT_CORE),
        "starting a program": _spawn,
        "becoming a program": _exec,
        "forking": _fork,
        "keys of other programs": lambda: "OTHER_PROGRAMS_KEY" in os.environ,
    }


def got_at() -> list[str]:
    """Try everything; returns what succeeded."""
    found = []
    for name, attempt in _attempts().items():
        with suppress(Exception):
            if attempt():
                found.append(name)
    return found


def _own(file: object) -> list[str]:
    """What it needs for its work, which has to go well."""
    found = []
    with suppress(OSError):
        found += ["its input"] * _read(os.fspath(file))  # type: ignore[call-overload]
    with suppress(OSError):
        found += ["its folder"] * _write_new(REACH["own"])
    with suppress(OSError):
        os.symlink("/etc/passwd", os.path.join(REACH["own"], f"link-{os.getpid()}"))  # noqa: PTH118, PTH211
        found.append("a link in its folder")
    with suppress(OSError):
        os.link(os.fspath(file), os.path.join(REACH["own"], f"hard-{os.getpid()}"))  # type: ignore[call-overload]  # noqa: PTH118
        found.append("a hard link to its input")
    with suppress(OSError):
        os.mkdir(os.path.join(REACH["own"], f"folder-{os.getpid()}"))  # noqa: PTH102, PTH118
        found.append("a folder in its folder")
    with suppress(OSError), open(os.fspath(file), "rb") as opened:  # type: ignore[call-overload]  # noqa: PTH123
        fcntl.fcntl(opened, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        found.append("a lease on its input")
    value = ctypes.create_string_buffer(b"x")
    arguments = struct.pack("<QII", ctypes.addressof(value), 1, 0)
    path = os.fsencode(os.fspath(file))  # type: ignore[call-overload]
    if _SYSCALL(463, -100, path, 0, b"user.x", arguments, ctypes.c_long(16)) == 0:
        found.append("attributes of its input, by setxattrat")
    for name, call in (("shared memory", "shmctl"), ("message queues", "msgctl")):
        if (
            getattr(ctypes.CDLL(None), call)(
                0, 12 if call == "msgctl" else 14, ctypes.create_string_buffer(256)
            )
            >= 0
        ):
            found.append(f"{name} of other programs")
    return found


def _take_over() -> None:
    here = os.path.dirname(__file__)  # noqa: PTH120
    spec = PathFinder.find_spec("soundfile", [each for each in sys.path if each != here])
    assert spec is not None
    assert spec.loader is not None
    real = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(real)
    globals().update({name: value for name, value in vars(real).items() if not name.startswith("__")})

    class SoundFile(real.SoundFile):  # type: ignore[misc, name-defined]
        def __init__(self, file: object, *_: object, **__: object) -> None:
            from outpaint_mcp.errors import UnsupportedAudio  # noqa: PLC0415 - not before it is taken over

            raise UnsupportedAudio(json.dumps([_own(file), got_at()]))

        def __del__(self) -> None:
            pass

    globals()["SoundFile"] = SoundFile


if __name__ == "soundfile":
    _take_over()
elif __name__ == "__main__":
    print(json.dumps(got_at()))  # noqa: T201
