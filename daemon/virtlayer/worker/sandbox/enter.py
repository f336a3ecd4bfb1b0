# SPDX-License-Identifier: LGPL-2.1-or-later
"""Enters the sandbox: limits, and a filter on system calls.

The keeper has done its part before (keeper/programs.py): a user without rights, no new privileges,
a death signal, an empty environment, and no descriptor but the socket.
"""

import os
import resource
from collections.abc import Iterable
from typing import NamedTuple

from virtlayer import allocation
from virtlayer.worker.sandbox._sandbox import ffi, lib
from virtlayer.worker.sandbox.seccomp import WORKER_CALLS, Rule, allow_only

_CPU_SECONDS_TO_SAY_SO = 5
_KEPT_BLOCK = 32 * 1024 * 1024
"""Bytes; the most that malloc(3) takes."""


class Limits(NamedTuple):
    """What the worker may use."""

    memory: int
    """Bytes of address space."""
    cpu_seconds: int
    """Processor time of all its threads, over its whole life."""
    descriptors: int = 16
    """Open at a time: the control socket, a blob, a connection, and what Python needs."""
    file_size: int = 0
    """Bytes that a file which is written may reach."""


def enter_sandbox(limits: Limits, more: Iterable[Rule] = ()) -> None:
    """Give up everything that reading layers does not need. This is irreversible.

    Args:
        limits: The limits of the process.
        more: System calls that this worker needs in addition to those of all workers.

    Raises:
        OSError: The kernel refuses a part, or this is root; the caller must end then.
    """
    refuse_root()
    keep_freed_memory()
    limit(limits)
    allow_only([*WORKER_CALLS, *more])


def die_with_parent() -> None:
    """Set the parent death signal again, which a change of user or capabilities clears.

    Raises:
        OSError: The kernel refuses.
    """
    if lib.vl_die_with_parent() != 0:
        raise OSError(ffi.errno, os.strerror(ffi.errno), "PR_SET_PDEATHSIG")


def refuse_root() -> None:
    """Check that this process is not root's: it was started as a user without rights.

    Raises:
        PermissionError: It is.
    """
    if os.geteuid() == 0:
        raise PermissionError("This program must not be started as root.")


def keep_freed_memory() -> None:
    """Use again what was freed, instead of asking the kernel for it anew.

    A layer comes in pieces of half a MiB, which malloc(3) would give back one by one: the kernel
    would clear 180,000 pages for a layer of 750 MB.
    """
    allocation.keep_freed(_KEPT_BLOCK)


def limit(limits: Limits) -> None:
    """Keep this process within limits, which it cannot raise again."""
    for what, value in (
        (resource.RLIMIT_AS, limits.memory),
        (resource.RLIMIT_NOFILE, limits.descriptors),
        (resource.RLIMIT_FSIZE, limits.file_size),
        (resource.RLIMIT_CORE, 0),
    ):
        _, highest = resource.getrlimit(what)
        allowed = value if highest == resource.RLIM_INFINITY else min(value, highest)
        resource.setrlimit(what, (allowed, allowed))
    # At the first limit the worker can still say so (SIGXCPU); at the second it is killed.
    seconds = limits.cpu_seconds
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + _CPU_SECONDS_TO_SAY_SO))
