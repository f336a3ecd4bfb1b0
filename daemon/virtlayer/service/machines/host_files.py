# SPDX-License-Identifier: LGPL-2.1-or-later
"""A kernel of the host: the one that the keeper chooses, or a file that a session's user names."""

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from virtlayer.errors import InvalidArgument, NoKernel
from virtlayer.host_kernels import host_kernel, modules_of
from virtlayer.protocol.kernel_header import HEAD_READ, kernel_version

_PREFIX = "vmlinuz-"


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelFiles:
    """A kernel of the host.

    Attributes:
        version: Its version.
        source: The name of its record.
        description: It, at the beginning of an error message.
        descriptors: Of the kernel and of the directory of its modules; empty if the keeper opens
            them.
    """

    version: str
    source: str
    description: str
    descriptors: tuple[int, ...] = ()


def default_kernel_files() -> KernelFiles | None:
    """Return the kernel of the host, which the keeper opens; None if there is none."""
    kernel = host_kernel()
    if kernel is None:
        return None
    return KernelFiles(
        version=kernel.version,
        source=_source(kernel.version, kernel.image.stat()),
        description=f"The kernel {kernel.image} of this host",
    )


@contextlib.contextmanager
def opened_kernel_files(path: Path) -> Iterator[KernelFiles]:
    """Open a kernel that the user of a session has named, and its modules.

    The modules are looked for next to the kernel, in the tree that has the kernel in its ``boot``,
    and among those of the host.

    Args:
        path: The file.

    Raises:
        InvalidArgument: It cannot be opened, or is not a regular file.
        NoKernel: Its modules cannot be found.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    with contextlib.ExitStack() as stack:
        try:
            kernel = os.open(path, flags)
            stack.callback(os.close, kernel)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "its name is invalid"
            raise InvalidArgument(
                f'The option "kernel" names {path}, which cannot be opened: {reason}.'
            ) from error
        info = os.fstat(kernel)
        if not stat.S_ISREG(info.st_mode):
            raise InvalidArgument(f'The option "kernel" names {path}, which is not a regular file.')
        version = kernel_version(os.pread(kernel, HEAD_READ, 0)) or _version_in(path)
        modules = _modules(path, version)
        directory = os.open(modules, flags | os.O_DIRECTORY)
        stack.callback(os.close, directory)
        yield KernelFiles(
            version=version,
            source=_source(version, info, os.fstat(directory)),
            description=f"The kernel {path}",
            descriptors=(kernel, directory),
        )


def _version_in(path: Path) -> str:
    name = path.name
    return name.removeprefix(_PREFIX) if name.startswith(_PREFIX) else path.parent.name


def _modules(path: Path, version: str) -> Path:
    if path.parent.name == version and path.parent.parent.name == "modules":
        return path.parent
    tree = path.parent.parent
    before = (tree / "usr/lib/modules", tree / "lib/modules") if path.parent.name == "boot" else ()
    modules = modules_of(version, *before) if version else None
    if modules is None:
        raise NoKernel(
            f"The modules of the kernel {path} were not found in "
            f"/usr/lib/modules/{version or 'VERSION'}. A machine cannot boot without them. Install "
            "the package of that kernel, or choose another one."
        )
    return modules


def _source(version: str, *files: os.stat_result) -> str:
    """A name that another content of the files does not have."""
    stamps = [(one.st_dev, one.st_ino, one.st_size, one.st_mtime_ns) for one in files]
    digest = hashlib.sha256(repr((os.uname().nodename, version, stamps)).encode()).hexdigest()
    return f"host-{digest}"
