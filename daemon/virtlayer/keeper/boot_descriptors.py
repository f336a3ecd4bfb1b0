# SPDX-License-Identifier: LGPL-2.1-or-later
"""Opens the files of the host that a worker makes an initrd of.

These are our init, busybox, and for a worker that reads no image, a kernel with the directory of
its modules. The service of a session passes the kernel that its user has named. In the system, it
could pass only what it can read itself: the keeper opens the host's kernel, and chooses it.
"""

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from virtlayer.boot_tools import INIT, busybox
from virtlayer.errors import Internal, NoKernel
from virtlayer.host_kernels import host_kernel
from virtlayer.keeper.beneath import opened

_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


@contextlib.contextmanager
def boot_descriptors(passed: Sequence[int] | None) -> Iterator[list[int]]:
    """Open the files of the host for a worker; they are closed at the end of the context.

    Args:
        passed: For a worker that reads no image: a kernel and the directory of its modules, which
            the service passes, or nothing for the host's. None for a worker that reads an image.

    Yields:
        Descriptors of our init, of busybox, and then of the kernel and of its modules.

    Raises:
        NoKernel: The host has no kernel, or no modules of it.
        Unsupported: The host has no busybox.
        Internal: Our init is missing, or what is passed is something else.
    """
    with ExitStack() as stack:
        files = [_opened(stack, INIT), _opened(stack, busybox())]
        if passed:
            files += _checked(passed)
        elif passed is not None:
            files += _opened_host_kernel(stack)
        yield files


def _opened_host_kernel(stack: ExitStack) -> list[int]:
    kernel = host_kernel()
    if kernel is None:
        raise NoKernel("This host has no kernel in /boot (vmlinuz-VERSION).")
    modules = kernel.modules
    if modules is None:
        raise NoKernel(
            f"The kernel {kernel.image} of this host has no modules in "
            f"/usr/lib/modules/{kernel.version}."
        )
    return [_opened(stack, kernel.image), _opened(stack, modules)]


def _checked(passed: Sequence[int]) -> Sequence[int]:
    kinds = [stat.S_IFMT(os.fstat(one).st_mode) for one in passed]
    if kinds != [stat.S_IFREG, stat.S_IFDIR]:
        raise Internal("What is passed is not a kernel and the directory of its modules.")
    return passed


def _opened(stack: ExitStack, path: Path) -> int:
    try:
        return stack.enter_context(opened(os.open(path, _READ)))
    except OSError as error:
        raise Internal(f"{path} cannot be opened: {error.strerror}.") from error
