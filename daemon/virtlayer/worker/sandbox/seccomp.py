# SPDX-License-Identifier: LGPL-2.1-or-later
"""The system calls that a worker may make: a list of what it does, everything else is refused.

seccomp and not Landlock: a worker needs no path at all, so that open(2) itself can be refused,
which needs no rules about paths; and Landlock does not restrict new processes.
"""

import errno
import mmap
import os
from collections.abc import Iterable

from virtlayer.worker.sandbox._sandbox import ffi, lib

type Condition = tuple[int, int, int]
"""On an argument of a call: its position, a mask, and the value that it has under the mask."""
type Rule = tuple[str, *tuple[Condition, ...]]
"""A call, and conditions that must all hold."""

_CLONE_VM, _CLONE_THREAD = 0x0100, 0x00010000
_WHOLE = 2**64 - 1


def has_bits(argument: int, bits: int, among: int | None = None) -> Condition:
    """The condition that an argument has all these bits and, of those among, no others."""
    return argument, bits if among is None else among, bits


def equals(argument: int, value: int) -> Condition:
    """The condition that an argument has this value."""
    return argument, _WHOLE, value


_NOT_EXECUTABLE = has_bits(2, 0, among=mmap.PROT_EXEC)

WORKER_CALLS: tuple[Rule, ...] = (
    # Bytes through descriptors that are open already. There is no newfstatat(2): no filter can see
    # whether its path is empty, and fstat(3) does without it. There is no ioctl(2) either.
    *((name,) for name in ("read", "readv", "write", "writev", "lseek", "close", "fstat", "fcntl")),
    # Not sendmsg(2): a worker passes no descriptor of what it writes, or of its directory, to the
    # service, which may not have them.
    *((name,) for name in ("recvmsg", "recvfrom", "sendto", "shutdown")),
    *((name,) for name in ("getsockopt", "setsockopt", "getsockname", "getpeername")),
    *((name,) for name in ("poll", "ppoll")),
    # Memory, none of which becomes code.
    ("mmap", _NOT_EXECUTABLE),
    ("mprotect", _NOT_EXECUTABLE),
    *((name,) for name in ("munmap", "mremap", "madvise", "brk")),
    # Threads, and waiting for them. A thread is a clone in the same memory; every other clone is a
    # process.
    ("clone", has_bits(0, _CLONE_VM | _CLONE_THREAD)),
    *((name,) for name in ("futex", "set_robust_list", "rseq", "sched_yield", "gettid", "getpid")),
    ("sched_getaffinity",),
    # Time and random numbers.
    *((name,) for name in ("clock_gettime", "clock_nanosleep", "nanosleep", "gettimeofday")),
    ("getrandom",),
    # Python's own signal handling, and the end.
    *((name,) for name in ("rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack")),
    *((name,) for name in ("restart_syscall", "exit", "exit_group")),
)
"""What every worker does."""


def allow_only(rules: Iterable[Rule]) -> None:
    """Refuse every other system call with EPERM, permanently, also in new threads and programs.

    Args:
        rules: The calls that are allowed.

    Raises:
        OSError: The kernel does not accept the filter, or a rule names an unknown call.
    """
    calls = lib.vl_filter_new()
    if not calls:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM), "seccomp")
    try:
        for name, *conditions in rules:
            array = ffi.new("struct vl_condition[]", conditions)
            _check(lib.vl_filter_allow(calls, name.encode(), array, len(conditions)), name)
        # Its flags are behind a pointer, which no filter follows. ENOSYS sends libc to clone(2).
        _check(lib.vl_filter_refuse(calls, b"clone3", errno.ENOSYS), "clone3")
        # For abort(3): a signal to the process itself, and to no other.
        own = ffi.new("struct vl_condition[]", [equals(0, os.getpid())])
        _check(lib.vl_filter_allow(calls, b"tgkill", own, 1), "tgkill")
        _check(lib.vl_filter_load(calls), "seccomp")
    finally:
        lib.vl_filter_free(calls)


def _check(code: int, subject: str) -> None:
    if code < 0:
        raise OSError(-code, os.strerror(-code), subject)
