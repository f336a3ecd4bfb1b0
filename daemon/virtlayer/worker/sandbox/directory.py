# SPDX-License-Identifier: LGPL-2.1-or-later
"""Enters the sandbox of a worker that writes one directory.

The directory becomes the root of the process, so that no path and no ``..`` leads out of it, and
the list of system calls includes those that make, change and remove files. Two things depend on the
daemon's user:

- Root's worker stays root, because files can have any owner. It keeps only the capabilities that
this requires, as far as the daemon has them. It may be able to make devices; therefore it
  opens nothing but directories and files that are new. (A worker that customizes also reads files.
  It makes no devices.)
- A user's worker gets its root directory by a user namespace, whose capabilities it gives up at
  once. If the host does not permit user namespaces, Landlock takes its place. That is weaker: it
  keeps the worker from every file that the user has elsewhere, but not from changing permissions
  and times.
"""

import os
import stat

from virtlayer.worker.sandbox._sandbox import ffi, lib
from virtlayer.worker.sandbox.enter import Limits, die_with_parent, keep_freed_memory, limit
from virtlayer.worker.sandbox.landlock import stay_below
from virtlayer.worker.sandbox.seccomp import WORKER_CALLS, Rule, allow_only, has_bits

# The numbers of linux/capability.h.
_CHOWN, _DAC_OVERRIDE, _FOWNER, _FSETID, _MKNOD, _SETFCAP = 0, 1, 3, 4, 27, 31

_FLAGS = 2
"""The argument of openat(2) that has the flags."""

_WRITING: tuple[Rule, ...] = (
    *((name,) for name in ("ftruncate", "getdents64", "fchdir", "statx", "newfstatat")),
    *((name,) for name in ("mkdirat", "mknodat", "symlinkat", "linkat", "unlinkat", "readlinkat")),
    *((name,) for name in ("fchown", "fchownat", "fchmod", "fchmodat", "fchmodat2", "utimensat")),
    *((name,) for name in ("fsetxattr", "fgetxattr", "flistxattr", "fremovexattr")),
    *((name,) for name in ("lsetxattr", "lgetxattr", "llistxattr", "lremovexattr")),
    ("openat", has_bits(_FLAGS, os.O_DIRECTORY)),
    ("openat", has_bits(_FLAGS, os.O_CREAT | os.O_EXCL)),
)
_READING: tuple[Rule, ...] = (
    ("openat", has_bits(_FLAGS, os.O_NOFOLLOW, os.O_NOFOLLOW | os.O_ACCMODE)),
)


def enter_directory_sandbox(limits: Limits, directory: int, *, customizes: bool) -> None:
    """Give up everything that writing this directory does not need. This is irreversible.

    Args:
        limits: What the worker may use.
        directory: A descriptor, which stays open.
        customizes: Whether it customizes the directory, instead of applying layers.

    Raises:
        OSError: The kernel refuses a part; the caller must end then.
    """
    assert stat.S_ISDIR(os.fstat(directory).st_mode)
    kept = _CHOWN, _DAC_OVERRIDE, _FOWNER, _FSETID, _SETFCAP, *(() if customizes else (_MKNOD,))
    if os.geteuid() != 0:
        kept = ()
        try:
            os.unshare(os.CLONE_NEWUSER)
        except OSError:
            stay_below(directory)
        else:
            _shut_in(directory)
    else:
        _shut_in(directory)
        os.setgroups([])
    if lib.vl_keep_capabilities(sum(1 << number for number in kept)) != 0:
        raise OSError(ffi.errno, os.strerror(ffi.errno), "capset")
    die_with_parent()
    os.umask(0)
    keep_freed_memory()
    limit(limits)
    allow_only(WORKER_CALLS + _WRITING + (_READING if customizes else ()))


def _shut_in(directory: int) -> None:
    os.fchdir(directory)
    os.chroot(".")
