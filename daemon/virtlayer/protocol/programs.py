# SPDX-License-Identifier: LGPL-2.1-or-later
"""The programs that the keeper starts for the service, and how one ends."""

from dataclasses import dataclass
from enum import StrEnum

from virtlayer.protocol.checks import Memory, Number, Seconds, VolumeName


class Kind(StrEnum):
    """The programs. Each takes the descriptors that are named here, in this order."""

    LAYER_WORKER = "layer-worker"  # its control socket
    CUSTOMIZER = "customizer"  # its control socket
    IDENTITY_CUSTOMIZER = "identity-customizer"  # the same; it can make ssh host keys
    DIRECTORY_WORKER = "directory-worker"  # its control socket; writes STAGED_DIRECTORY
    DIRECTORY_CUSTOMIZER = "directory-customizer"  # the same
    DISK_WORKER = "disk-worker"  # its control socket; writes STAGED_DISK
    UNPACKER = "unpacker"  # its control socket
    DISK_INSPECTOR = "disk-inspector"  # a pipe for its output; reads STAGED_DISK
    KERNEL_WORKER = "kernel-worker"  # its control socket; writes STAGED_DISK
    # Its control socket; writes STAGED_DISK. For another kernel than that of the host: in addition
    # the kernel's file, and the directory of its modules.
    HOST_KERNEL_WORKER = "host-kernel-worker"
    STORAGE_DAEMON = "storage-daemon"  # its monitor's socket, a listening socket for NBD
    # Only in an RBD pool; a listening socket for NBD. It serves one image, as the default export.
    IMAGE_SERVER = "image-server"


STAGED_DIRECTORY = "root"
STAGED_DISK = "disk"
STAGED_OVERLAY = "volume.qcow2"
"""Names in a staging directory. What qemu-storage-daemon makes there is called as the service says:
``v1``, ``v2``, ..."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartProgram:
    """A program to be started.

    Attributes:
        kind: Which.
        staging: The staging directory that it works in; None for a worker that has no files.
        memory: The most bytes of its address space.
        cpu_seconds: The most seconds of processor time.
        image: What an IMAGE_SERVER serves: an image of the staging place that is not flushed yet,
            or, to be read only, a layer of the pool.
        writable: Whether its clients may write to it.
    """

    kind: Kind
    staging: Number | None = None
    memory: Memory = 1
    cpu_seconds: Seconds = 1
    image: VolumeName | None = None
    writable: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended.

    Attributes:
        status: Its exit status; negative for a signal, as in ``subprocess``.
        stderr: The end of what it wrote to standard error.
    """

    status: int
    stderr: str
