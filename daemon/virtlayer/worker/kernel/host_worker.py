# SPDX-License-Identifier: LGPL-2.1-or-later
"""The sandboxed process that copies a kernel of the host, and composes our initrd for it.

It starts with a socket to the daemon as its standard input, and descriptors of the file that it
writes, of our init, of busybox, of the kernel, and of the directory of the kernel's modules. Unlike
other workers it opens files, in that directory. It never reads anything of an image.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

from virtlayer.worker.kernel.host_files import HostModules, file_pieces
from virtlayer.worker.kernel.initrd import initrd
from virtlayer.worker.kernel.kernels import FILE_LIMIT
from virtlayer.worker.kernel.modules import boot_modules
from virtlayer.worker.kernel.output import CannotBoot, refusals, write_initrd, write_kernel
from virtlayer.worker.kernel.unusable import Unusable
from virtlayer.worker.kernel.worker import program
from virtlayer.worker.refusal import INTERNAL, Refused
from virtlayer.worker.sandbox.enter import Limits, enter_sandbox
from virtlayer.worker.sandbox.landlock import read_below
from virtlayer.worker.sandbox.seccomp import Rule, has_bits
from virtlayer.worker.serving import obey_cpu_limit, serve

_FLAGS_OF_OPENAT = 2
_WRITING = os.O_ACCMODE | os.O_CREAT | os.O_TRUNC
_READING: tuple[Rule, ...] = (
    ("openat", has_bits(_FLAGS_OF_OPENAT, 0, among=_WRITING)),
    ("getdents64",),
    ("newfstatat",),
    ("ftruncate",),
)


def main() -> None:
    """Serve requests until the daemon closes its end."""
    memory, cpu_seconds, output, init, busybox, kernel, modules = map(int, sys.argv[1:])
    machine = os.uname().machine
    obey_cpu_limit()
    limits = Limits(memory=memory, cpu_seconds=cpu_seconds, file_size=FILE_LIMIT)
    enter(limits, modules)

    def answer(
        request: dict[str, Any], _descriptors: list[int], _: socket.socket
    ) -> dict[str, Any]:
        with refusals():
            match request:
                case {"ask": "kernel"}:
                    return _write_kernel(output, kernel, machine)
                case {"ask": "own-initrd"}:
                    chosen = boot_modules(HostModules(modules))
                    archive = initrd(program(init), program(busybox), chosen)
                    return write_initrd(output, archive)
        raise Refused(INTERNAL, "cannot be read: the request is unknown")

    serve(answer)


def enter(limits: Limits, modules: int) -> None:
    """Give up everything that reading modules of the host does not need. This is irreversible.

    Args:
        limits: The limits of the process.
        modules: A descriptor of their directory, in which files can still be opened to read them.

    Raises:
        OSError: The kernel refuses a part, or this is root; the caller must end then.
    """
    read_below(modules)
    enter_sandbox(limits, more=_READING)


def _write_kernel(output: int, kernel: int, machine: str) -> dict[str, Any]:
    try:
        return write_kernel(output, file_pieces(kernel, FILE_LIMIT), machine)
    except CannotBoot as error:
        raise Unusable(f"cannot be used: {error}") from error


if __name__ == "__main__":
    main()
