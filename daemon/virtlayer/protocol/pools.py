# SPDX-License-Identifier: LGPL-2.1-or-later
"""Storage pools and volumes, as the keeper describes them to the service."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_RBD = "rbd"
CHAIN_KINDS = ("dir", "fs", "netfs", _RBD)
"""The types of pools that can hold backing chains."""


@dataclass(frozen=True, slots=True)
class RbdAccess:
    """How QEMU reaches the images of an RBD pool; it names no key.

    Attributes:
        monitors: The monitors, as HOST or HOST:PORT, with brackets around IPv6 addresses; empty
            for those of the host's ceph.conf.
        user: The cephx user without ``client.``; "" if the cluster uses no cephx.
        secret: The UUID of libvirt's secret with the user's key; "" if it is named by its usage.
        usage: The usage of that secret; "" if it is named by its UUID.
    """

    monitors: tuple[str, ...]
    user: str = ""
    secret: str = ""
    usage: str = ""


@dataclass(frozen=True, slots=True)
class Pool:
    """A storage pool that can hold backing chains.

    Attributes:
        name: Its name.
        uuid: Its UUID, which stays when it is renamed.
        kind: Its type: dir, fs, netfs or rbd.
        path: The directory of its volumes; of type rbd, the name of the pool in its cluster.
        access: How its images are reached; None for another type than rbd.
    """

    name: str
    uuid: str
    kind: str
    path: Path
    access: RbdAccess | None = None

    @property
    def is_rbd(self) -> bool:
        """Whether its volumes are RBD images, not files."""
        return self.kind == _RBD

    @property
    def chain_format(self) -> str:
        """The format of layers, and of the volumes that are based on them."""
        return "raw" if self.is_rbd else "qcow2"

    @property
    def layer_suffix(self) -> str:
        """What the names of layers end with."""
        return "" if self.is_rbd else ".qcow2"


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume of a pool.

    Attributes:
        name: Its name in the pool.
        path: Its file; in an RBD pool, POOL/IMAGE.
        format: Its format by libvirt's probe of the header, such as "qcow2"; "raw" in an RBD pool.
        capacity: The virtual size, in bytes.
        allocation: The space that it uses in the pool, in bytes.
        backing_path: The image that it is an overlay of, resolved by libvirt, or a clone of; None
            if of none.
        backing_format: The format of that image as its own header names it; "raw" for a clone.
    """

    name: str
    path: Path
    format: str
    capacity: int
    allocation: int
    backing_path: Path | None
    backing_format: str | None

    def backing_in(self, pool: Pool) -> str | None:
        """Return the name of the volume of this pool that it is based on; None if of none there.

        The name comes from a header, which can contain any text.
        """
        if self.backing_path is None:
            return None
        # Not by the paths' own methods, which take ten times as long: a pool has thousands.
        directory, name = os.path.split(str(self.backing_path))
        return name if directory == str(pool.path) else None

    def in_chain(self, pool: Pool) -> "ChainVolume":
        """Return what a deletion in this pool needs to know of it."""
        return ChainVolume(self.allocation, self.backing_in(pool))


@dataclass(frozen=True, slots=True)
class ChainVolume:
    """A volume of a pool, as far as a deletion needs to know it; a pool can have thousands.

    Attributes:
        allocation: The space that it uses in the pool, in bytes.
        backing: The volume of the pool that it is based on; None if of none there. The name comes
            from a header, which can contain any text.
    """

    allocation: int
    backing: str | None


@dataclass(frozen=True, slots=True)
class Usage:
    """The volumes of a pool, and their users.

    Attributes:
        volumes: The volumes of the pool by name.
        users: The user of a volume, in words, for each volume that is in use.
    """

    volumes: Mapping[str, ChainVolume]
    users: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class PoolState:
    """A storage pool of any kind, as libvirt saw it last.

    Attributes:
        name: Its name.
        uuid: Its UUID.
        kind: Its type, such as "dir" or "logical".
        state: "inactive", "building", "running", "degraded" or "inaccessible".
        capacity: Its size in bytes; 0 if it is not active.
        available: How much of it is free, in bytes.
    """

    name: str
    uuid: str
    kind: str
    state: str
    capacity: int
    available: int
