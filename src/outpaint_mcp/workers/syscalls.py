"""The system calls that a worker may not make: a seccomp filter, for Linux on x86-64 and ARM64.

Landlock takes other files away from it, but knows no datagrams, no new programs and no change of a file's permissions;
and what a decoder never needs is where a kernel's own faults are.
"""

from __future__ import annotations

import errno
import os
import platform
import struct
from functools import cache

# Each with its number on x86-64 and on ARM64; -1 where there is none. By what they are about.
_REFUSED = {
    "programs and processes": """
        execve 59 221, execveat 322 281, fork 57 -1, vfork 58 -1, unshare 272 97, setns 308 268,
        personality 135 92
    """,
    "the network, and what other programs share with each other": """
        socket 41 198, socketpair 53 199, connect 42 203, bind 49 200,
        shmget 29 194, shmctl 31 195, shmat 30 196, shmdt 67 197,
        msgget 68 186, msgctl 71 187, msgrcv 70 188, msgsnd 69 189,
        semget 64 190, semctl 66 191, semtimedop 220 192, semop 65 193,
        mq_open 240 180, mq_unlink 241 181, mq_timedsend 242 182, mq_timedreceive 243 183,
        mq_notify 244 184, mq_getsetattr 245 185
    """,
    "other programs": """
        ptrace 101 117, process_vm_readv 310 270, process_vm_writev 311 271, process_madvise 440 440,
        kcmp 312 272, migrate_pages 256 238, move_pages 279 239, tkill 200 130, rt_sigqueueinfo 129 138,
        rt_tgsigqueueinfo 297 240, pidfd_open 434 434, pidfd_send_signal 424 424, pidfd_getfd 438 438,
        setpriority 141 140, ioprio_set 251 30, sched_setaffinity 203 122, sched_setscheduler 144 119,
        sched_setparam 142 118, sched_setattr 314 274
    """,
    "what files are, other than by their content": """
        chmod 90 -1, fchmod 91 52, fchmodat 268 53, fchmodat2 452 452, chown 92 -1, fchown 93 55,
        lchown 94 -1, fchownat 260 54, setxattr 188 5, lsetxattr 189 6, fsetxattr 190 7,
        removexattr 197 14, lremovexattr 198 15, fremovexattr 199 16, utime 132 -1, utimes 235 -1,
        futimesat 261 -1, utimensat 280 88, mknod 133 -1, mknodat 259 33, open_by_handle_at 304 265,
        name_to_handle_at 303 264, inotify_init 253 -1, inotify_init1 294 26, fanotify_init 300 262,
        quotactl 179 60
    """,
    "the system": """
        io_uring_setup 425 425, io_uring_enter 426 426, io_uring_register 427 427, bpf 321 280,
        userfaultfd 323 282, perf_event_open 298 241, add_key 248 217, request_key 249 218,
        keyctl 250 219, mount 165 40, umount2 166 39, pivot_root 155 41, chroot 161 51,
        open_tree 428 428, move_mount 429 429, fsopen 430 430, fsconfig 431 431, fsmount 432 432,
        fspick 433 433, mount_setattr 442 442, init_module 175 105, finit_module 313 273,
        delete_module 176 106, kexec_load 246 104, reboot 169 142, swapon 167 224, swapoff 168 225,
        acct 163 89, settimeofday 164 170, clock_settime 227 112, adjtimex 159 171,
        clock_adjtime 305 266, sethostname 170 161, setdomainname 171 162
    """,
}
# The C library falls back to `clone`, whose flags a filter can read.
_CLONE3 = (435, 435)
_CLONE = (56, 220)
# Allowed for the process itself: aborting is a signal.
_OWN = {"kill": (62, 129), "tgkill": (234, 131)}
_PRLIMIT = (302, 261)
_CLONE_THREAD = 0x10000
_NEWEST = 462
"""The last call that somebody has looked at (`mseal`, of Linux 6.10): later ones are new ways to old things. The
numbers of x32, another way to call the same kernel, are beyond it as well."""

# Of calls that are needed otherwise, what changes another program's file or signals somebody; by the second argument.
_REFUSED_COMMANDS = {
    (72, 25): (8, 10, 15, 1024, 1026),  # fcntl: F_SETOWN, F_SETSIG, F_SETOWN_EX, F_SETLEASE, F_NOTIFY
    (16, 29): (0x40086602, 0x401C5820),  # ioctl: FS_IOC_SETFLAGS, FS_IOC_FSSETXATTR
}

# The machine, by its name and by the kernel's number for it, and the column of the tables.
_MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}

_LOAD, _IF_EQUAL, _IF_AT_LEAST, _IF_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER_AT, _MACHINE_AT, _FIRST_ARGUMENT_AT, _SECOND_ARGUMENT_AT = 0, 4, 16, 24
_ALLOW, _KILL_PROCESS, _FAIL = 0x7FFF0000, 0x80000000, 0x00050000

_Instruction = tuple[int, int, int, int]


def filter_program() -> bytes | None:
    """Return the filter for this process, as instructions of BPF; None for a machine that it is not written for."""
    # A 32-bit interpreter makes other calls than the kernel's name says.
    if platform.machine() not in _MACHINES or struct.calcsize("P") != 8:  # noqa: PLR2004 - bytes
        return None
    machine, column = _MACHINES[platform.machine()]
    program: list[_Instruction] = []
    for own in _OWN.values():
        program += _where(own[column], [(_IF_EQUAL, os.getpid())])
    program += _where(_PRLIMIT[column], [(_IF_EQUAL, 0), (_IF_EQUAL, os.getpid())])
    program += [(_RETURN, 0, 0, _ALLOW)]
    return _alike_in_all(machine, column) + _packed(program)


@cache
def _alike_in_all(machine: int, column: int) -> bytes:
    """The beginning of the filter, which knows no process."""
    program: list[_Instruction] = [
        (_LOAD, 0, 0, _MACHINE_AT),
        (_IF_EQUAL, 1, 0, machine),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_IF_AT_LEAST, 0, 1, _NEWEST + 1),
        (_RETURN, 0, 0, _FAIL | errno.ENOSYS),
    ]
    for call in ",".join(_REFUSED.values()).split(","):
        number = int(call.split()[1 + column])
        if number >= 0:
            program += _fail(number, errno.EPERM)
    program += _fail(_CLONE3[column], errno.ENOSYS)
    program += _where(_CLONE[column], [(_IF_SET, _CLONE_THREAD)])
    for numbers, commands in _REFUSED_COMMANDS.items():
        program += _unless(numbers[column], commands)
    return _packed(program)


def _packed(program: list[_Instruction]) -> bytes:
    return b"".join(struct.pack("=HBBI", *each) for each in program)


def _fail(number: int, error: int) -> list[_Instruction]:
    return [(_IF_EQUAL, 0, 1, number), (_RETURN, 0, 0, _FAIL | error)]


def _where(number: int, tests: list[tuple[int, int]]) -> list[_Instruction]:
    """Allow a call only where its first argument passes one of these tests."""
    count = len(tests)
    return [
        (_IF_EQUAL, 0, count + 3, number),
        (_LOAD, 0, 0, _FIRST_ARGUMENT_AT),
        *((test, count - at, 0, value) for at, (test, value) in enumerate(tests)),
        (_RETURN, 0, 0, _FAIL | errno.EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]


def _unless(number: int, commands: tuple[int, ...]) -> list[_Instruction]:
    """Refuse a call where its second argument is one of these commands."""
    count = len(commands)
    return [
        (_IF_EQUAL, 0, count + 3, number),
        (_LOAD, 0, 0, _SECOND_ARGUMENT_AT),
        *((_IF_EQUAL, count - at, 0, value) for at, value in enumerate(commands)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _FAIL | errno.EPERM),
    ]
