"""The cage of a worker: whoever takes a decoder over gets at the files of its own order, and at nothing else.

On Linux, Landlock takes away all other files, the network and signals to other programs, and a seccomp filter what
Landlock does not know: starting programs, forking, and every socket. No process can undo them, nor can what it loads.
Other systems have neither: a worker can do there what its user can.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from outpaint_mcp.workers.syscalls import filter_program

if TYPE_CHECKING:
    from collections.abc import Sequence

_IS_LINUX = sys.platform == "linux"

_PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 4, 22, 38
_SECCOMP_MODE_FILTER = 2
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # alike on every machine
_ASK_VERSION, _PATH_BENEATH = 1, 1

# What Landlock controls, by the version since which it does.
_FILES_SINCE = {1: (1 << 13) - 1, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
_NETWORK_SINCE, _NETWORK = 4, 0b11
_SCOPES_SINCE, _SCOPES = 6, 0b11  # abstract Unix sockets, signals
_WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_FILE, _MAKE_FILE, _TRUNCATE = (
    1 << bit for bit in (1, 2, 3, 5, 8, 14)
)
_READ = _READ_FILE | _READ_DIR
# No links, sockets, pipes or folders: the server takes a name in this folder for a file, and deletes all of it.
_WRITE = _READ | _WRITE_FILE | _REMOVE_FILE | _MAKE_FILE | _TRUNCATE
_OF_ONE_FILE = _WRITE_FILE | _READ_FILE | _TRUNCATE

# The picture's letters.
_FONTS = ("/usr/share/fonts", "/usr/local/share/fonts", os.path.expanduser("~/.local/share/fonts"))  # noqa: PTH111
# What is imported late may need them.
_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/nix/store", "/etc/ld.so.cache")


def shield_process() -> None:
    """Keep other programs of the same user from this process's memory and environment; it leaves no core file."""
    leave_no_core()
    if _IS_LINUX:
        _call("prctl", _PR_SET_DUMPABLE, 0, 0, 0, 0)


def leave_no_core() -> None:
    """Have this process leave no core file, nor a crash handler get one."""
    with suppress(ImportError, ValueError, OSError):  # Windows has none; a lower limit is as good
        import resource  # noqa: PLC0415 - POSIX only

        resource.setrlimit(resource.RLIMIT_CORE, (1, 1))  # 0 would still be piped to a handler, 1 is not


def lacking() -> list[str]:
    """Return what this system does not have for the cage, in words."""
    if not _IS_LINUX:
        return [f"a way to confine it on {sys.platform}"]
    version = _landlock_version()
    return [
        name
        for name, is_there in (
            ("Landlock (it can open the files of its user)", version),
            ("Landlock 3 (it can cut files short)", not version or version >= 3),  # noqa: PLR2004
            ("seccomp (it can start programs and use the network)", _has_seccomp()),
        )
        if not is_there
    ]


def prepare() -> None:
    """Find out what is alike in all processes of this program, before one is forked for each task."""
    if _IS_LINUX:
        _landlock_version()
        _of_python()
        if _has_seccomp():
            filter_program()


def enter(*, folder: Path | None, inputs: Sequence[int]) -> None:
    """Confine this process, for good; for a process with one thread.

    Args:
        folder: the one that it may write to; None for none.
        inputs: descriptors of the files that it may read.

    Raises:
        OSError: the system has what it takes, and refuses.
    """
    leave_no_core()
    if not _IS_LINUX:
        return
    program = filter_program() if _has_seccomp() else None
    _call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if version := _landlock_version():
        _lock_files(version, folder, inputs)
    if program is not None:
        code = ctypes.create_string_buffer(program, len(program))
        of_kernel = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, ctypes.addressof(code)))
        _call("prctl", _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, of_kernel, 0, 0)


def _lock_files(version: int, folder: Path | None, inputs: Sequence[int]) -> None:
    files = sum(bits for since, bits in _FILES_SINCE.items() if version >= since)
    attributes = struct.pack(
        "=QQQ",
        files,
        _NETWORK if version >= _NETWORK_SINCE else 0,
        _SCOPES if version >= _SCOPES_SINCE else 0,
    )
    size = 8 if version < _NETWORK_SINCE else 16 if version < _SCOPES_SINCE else 24
    rules = _call("syscall", _CREATE_RULESET, attributes, size, 0)
    try:
        for each in inputs:
            _allow(rules, each, _READ_FILE)
        paths = dict.fromkeys(_of_python(), _READ) | {"/dev/urandom": _READ, "/dev/null": _READ | _WRITE_FILE}
        for path, access in paths.items():
            with suppress(OSError):  # not on every system
                _allow_path(rules, path, access)
        if folder is not None:
            _allow_path(rules, folder, _WRITE & files)
        _call("syscall", _RESTRICT_SELF, rules, 0)
    finally:
        os.close(rules)


@cache
def _of_python() -> Sequence[str]:
    """The folders of programs and libraries; one that holds a person's files as well is left out."""
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - which fails where there is none
    found = {
        *_LIBRARIES,
        *_FONTS,
        sys.prefix,
        sys.base_prefix,
        *sys.path,
        *os.environ.get("LD_LIBRARY_PATH", "").split(":"),
    }
    there = [each for each in sorted(found) if Path(each).is_absolute() and Path(each).exists()]
    ours = [each for each in there if not home.is_relative_to(each)]
    return [each for each in ours if not any(parent in ours for parent in map(str, Path(each).parents))]


def _allow_path(rules: int, path: str | Path, access: int) -> None:
    opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        _allow(rules, opened, access if stat.S_ISDIR(os.fstat(opened).st_mode) else access & _OF_ONE_FILE)
    finally:
        os.close(opened)


def _allow(rules: int, opened: int, access: int) -> None:
    _call("syscall", _ADD_RULE, rules, _PATH_BENEATH, struct.pack("=Qi", access, opened), 0)


@cache
def _landlock_version() -> int:
    try:
        return _call("syscall", _CREATE_RULESET, None, 0, _ASK_VERSION)
    except OSError:
        return 0


@cache
def _has_seccomp() -> bool:
    try:
        return filter_program() is not None and "Seccomp:" in Path("/proc/self/status").read_text(
            encoding="ascii"
        )
    except (OSError, ValueError):
        return False


@cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _call(function: str, *arguments: int | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    """Call the C library; each number as wide as a register."""
    called = getattr(_library(), function)
    called.restype = ctypes.c_long
    result = int(called(*(ctypes.c_long(each) if isinstance(each, int) else each for each in arguments)))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
