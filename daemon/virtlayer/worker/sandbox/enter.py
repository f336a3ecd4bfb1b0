# SPDX-License-Identifier: LGPL-2.1-or-later
"""The step into the sandbox: another user, limits, and a filter on system calls.

The daemon has done its part before (programs.py): no new privileges, a death signal, an empty
environment, and no descriptor but the socket.
"""

import os
import pwd
import resource
from collections.abc import Iterable
from typing import NamedTuple

from virtlayer import allocation
from virtlayer.worker.sandbox._sandbox import ffi, lib
from virtlayer.worker.sandbox.seccomp import WORKER_CALLS, Rule, allow_only

WORKER_USER = "virtlayer-worker"
"""Made by the package (systemd/sysusers.d); where it is missing, ``nobody`` takes its place."""

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
        limits: What is left to use.
        more: System calls that this worker needs beside those of all.

    Raises:
        OSError: The kernel refuses a part; the caller must end then.
    """
    if os.geteuid() == 0:
        become_nobody()
        die_with_parent()
    keep_freed_memory()
    limit(limits)
    allow_only([*WORKER_CALLS, *more])


def die_with_parent() -> None:
    """Ask again for what a process loses that changes its user or its capabilities.

    Raises:
        OSError: The kernel refuses.
    """
    if lib.vl_die_with_parent() != 0:
        raise OSError(ffi.errno, os.strerror(ffi.errno), "PR_SET_PDEATHSIG")


def become_nobody() -> None:
    """A process of root becomes one without any capability; setresuid(2) drops them all."""
    try:
        user = pwd.getpwnam(WORKER_USER)
    except KeyError:
        user = pwd.getpwnam("nobody")
    os.setgroups([])
    os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
    os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)


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
