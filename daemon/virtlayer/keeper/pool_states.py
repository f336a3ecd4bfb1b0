# SPDX-License-Identifier: LGPL-2.1-or-later
"""Describes all pools of libvirt, of any kind, and their states."""

from virtlayer.keeper.binding import libvirt
from virtlayer.keeper.connection import Connection
from virtlayer.keeper.xml import parse_pool_kind
from virtlayer.protocol.pools import PoolState

_STATES = ("inactive", "building", "running", "degraded", "inaccessible")
"""By libvirt's number (virStoragePoolState); the words are those of ``virsh pool-info``."""


def pool_states(connection: Connection) -> list[PoolState]:
    """Describe all pools; for ``Hypervisor.call``."""
    found = []
    for pool in connection.listAllStoragePools():
        try:
            state, capacity, _allocation, available = pool.info()
            kind = parse_pool_kind(pool.XMLDesc())
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_POOL:
                raise
            continue
        if state == libvirt.VIR_STORAGE_POOL_INACTIVE:
            # libvirt still has the figures from before it was stopped.
            capacity = available = 0
        found.append(
            PoolState(pool.name(), pool.UUIDString(), kind, _STATES[state], capacity, available)
        )
    return found
