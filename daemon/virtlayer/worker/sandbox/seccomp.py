# SPDX-License-Identifier: LGPL-2.1-or-later
"""The system calls that are left to the worker: a list of what it does, all else is refused.

seccomp and not Landlock: the worker needs no path at all, so that open(2) itself can go, and with
it whatever rules about paths could forget; and Landlock says nothing of new processes. libseccomp
knows the numbers of the calls on every architecture.
"""

import errno
import os
from collections.abc import Iterable

from virtlayer.worker.sandbox._seccomp import ffi, lib

type Condition = tuple[int, int, int, int]
"""On an argument of a call."""
type Rule = tuple[str, *tuple[Condition, ...]]
"""A call, and conditions that must all hold."""

_CLONE_VM, _CLONE_THREAD = 0x0100, 0x00010000

_ALLOWED = (
    # bytes through descriptors that are open already
    *(
        "read",
        "readv",
        "write",
        "writev",
        "lseek",
        "close",
        "fstat",
        "newfstatat",
        "fcntl",
        "ioctl",
    ),
    *("recvmsg", "recvfrom", "sendmsg", "sendto", "shutdown", "getsockopt", "setsockopt"),
    *("poll", "ppoll", "getsockname", "getpeername"),
    # memory
    *("mmap", "munmap", "mremap", "mprotect", "madvise", "brk"),
    # threads, and waiting for them
    *("futex", "set_robust_list", "rseq", "sched_yield", "sched_getaffinity", "gettid", "getpid"),
    # time and chance
    *("clock_gettime", "clock_nanosleep", "nanosleep", "gettimeofday", "getrandom"),
    # Python's own signal handling, and the end
    *("rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall"),
    *("exit", "exit_group"),
)


def allow_only_what_the_worker_does(more: Iterable[Rule] = ()) -> None:
    """Refuse every other system call with EPERM, in all threads to come and for ever.

    Args:
        more: What this worker does beside what all of them do.

    Raises:
        OSError: The kernel does not take the filter.
    """
    context = lib.seccomp_init(lib.vl_errno_action(errno.EPERM))
    if not context:
        raise OSError(errno.ENOMEM, "seccomp_init")
    try:
        for name in _ALLOWED:
            _allow(context, name)
        for name, *conditions in more:
            _allow(context, name, *conditions)
        # A thread is a clone in the same memory; any other clone would be a process.
        _allow(context, "clone", has_bits(0, _CLONE_VM | _CLONE_THREAD))
        # Its flags are behind a pointer, where no filter sees them. ENOSYS sends libc to clone.
        _check(_rule(context, lib.vl_errno_action(errno.ENOSYS), "clone3"))
        # What abort(3) and the like do to the worker itself, and nobody else.
        _allow(context, "tgkill", _equal(0, os.getpid()))
        _check(lib.seccomp_load(context))
    finally:
        lib.seccomp_release(context)


def refuse(names: Iterable[str]) -> None:
    """Refuse these system calls with EPERM, and no others.

    Raises:
        OSError: The kernel does not take the filter.
    """
    context = lib.seccomp_init(lib.SCMP_ACT_ALLOW)
    if not context:
        raise OSError(errno.ENOMEM, "seccomp_init")
    try:
        for name in names:
            _check(_rule(context, lib.vl_errno_action(errno.EPERM), name))
        _check(lib.seccomp_load(context))
    finally:
        lib.seccomp_release(context)


def has_bits(argument: int, bits: int, among: int | None = None) -> Condition:
    """The condition that an argument has all these bits and, of those among, no others."""
    return argument, lib.SCMP_CMP_MASKED_EQ, bits if among is None else among, bits


def _allow(context: object, name: str, *conditions: Condition) -> None:
    _check(_rule(context, lib.SCMP_ACT_ALLOW, name, *conditions))


def _rule(context: object, action: int, name: str, *conditions: Condition) -> int:
    number = lib.seccomp_syscall_resolve_name(name.encode())
    if number == lib.vl_no_such_call():
        raise AssertionError(f"libseccomp knows no system call “{name}”")
    array = ffi.new("struct scmp_arg_cmp[]", list(conditions))
    code: int = lib.seccomp_rule_add_array(context, action, number, len(conditions), array)
    return code


def _equal(argument: int, value: int) -> Condition:
    return argument, lib.SCMP_CMP_EQ, value, 0


def _check(code: int) -> None:
    if code < 0:
        raise OSError(-code, os.strerror(-code), "seccomp")
