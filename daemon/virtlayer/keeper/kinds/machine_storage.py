# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where the disk and the other files of a machine are, for the description of its domain."""

from dataclasses import dataclass
from pathlib import Path

from virtlayer.protocol.rbd import Monitor


@dataclass(frozen=True, slots=True)
class FileDisk:
    """A disk that is a file.

    Attributes:
        path: The file, as libvirt names it. Resolved links would give a path that libvirt does not
            know as that of a volume.
        format: qcow2 or raw.
    """

    path: Path
    format: str


@dataclass(frozen=True, slots=True)
class RbdDisk:
    """A disk that is an RBD image.

    Attributes:
        pool: The name of its pool in the cluster.
        image: The name of the image.
        monitors: The monitors of the cluster; empty for those of the host's ceph.conf.
        user: The cephx user without ``client.``; None if the cluster uses no cephx.
        secret: The UUID of libvirt's secret with the user's key; None without a user.
    """

    pool: str
    image: str
    monitors: tuple[Monitor, ...]
    user: str | None
    secret: str | None


type MachineDisk = FileDisk | RbdDisk


@dataclass(frozen=True, slots=True)
class MachineStorage:
    """The disk and the other files of a machine.

    Attributes:
        disk: Its disk; None if it has none.
        files: The directory of its kernel, initrd, configuration and seed.
    """

    disk: MachineDisk | None
    files: Path
