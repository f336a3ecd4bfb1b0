# SPDX-License-Identifier: LGPL-2.1-or-later
"""The kinds of pools that there are; ``refused`` has the others."""

from collections.abc import Mapping

from virtlayer.keeper.connection import Hypervisor
from virtlayer.keeper.kinds.directory.kind import DirectoryKind
from virtlayer.keeper.kinds.kind import PoolKind
from virtlayer.keeper.pools import Pools
from virtlayer.protocol.pools import Pool


class Kinds:
    """The kinds of the pools of one libvirt connection.

    Args:
        hypervisor: The connection to libvirt.
        pools: Its pools.
    """

    def __init__(self, hypervisor: Hypervisor, pools: Pools) -> None:
        directory = DirectoryKind(hypervisor, pools)
        self._kinds: Mapping[str, PoolKind] = {
            "dir": directory,
            "fs": directory,
            "netfs": directory,
        }

    def of(self, pool: Pool) -> PoolKind:
        """What can be done with a pool; ``xml`` reads pools of no other kind."""
        return self._kinds[pool.kind]
