# SPDX-License-Identifier: LGPL-2.1-or-later
"""The kinds of pools that there are; ``refused`` has the others."""

from typing import TYPE_CHECKING

from virtlayer.keeper.connection import Hypervisor
from virtlayer.keeper.kinds.directory.kind import DirectoryKind
from virtlayer.keeper.kinds.kind import PoolKind
from virtlayer.keeper.kinds.rbd.process import Connect
from virtlayer.keeper.local_boot.files import LocalFiles
from virtlayer.keeper.local_boot.place import local_directory
from virtlayer.keeper.pools import Pools
from virtlayer.protocol.pools import Pool

if TYPE_CHECKING:
    from virtlayer.keeper.kinds.rbd.kind import RbdKind


class Kinds:
    """The kinds of the pools of one libvirt connection.

    Args:
        hypervisor: The connection to libvirt.
        pools: Its pools.
        connect: Connects to a new process for an RBD pool.

    Attributes:
        local_files: The local files of machines on RBD pools.
    """

    def __init__(self, hypervisor: Hypervisor, pools: Pools, connect: Connect) -> None:
        self._hypervisor = hypervisor
        self._pools = pools
        self._connect = connect
        self.local_files = LocalFiles(local_directory(hypervisor.uri))
        self._directory = DirectoryKind(hypervisor, pools)
        self._rbd: RbdKind | None = None

    def of(self, pool: Pool) -> PoolKind:
        """What can be done with a pool; ``xml`` reads pools of no other kind."""
        if pool.is_rbd:
            return self._rbd_kind()
        return self._directory

    async def close(self) -> None:
        """End the processes of RBD pools."""
        if self._rbd is not None:
            await self._rbd.close()

    def _rbd_kind(self) -> "RbdKind":
        if self._rbd is None:
            # Most hosts have no such pool, and need no memory for this.
            from virtlayer.keeper.kinds.rbd.kind import RbdKind

            self._rbd = RbdKind(self._hypervisor, self._pools, self._connect, self.local_files)
        return self._rbd
