# SPDX-License-Identifier: LGPL-2.1-or-later
"""The drivers of one libvirt: that of machines, and that of containers (libvirt-LXC).

Each has a connection of its own. Pools are the same on both.
"""

from virtlayer.keeper.binding import libvirt
from virtlayer.keeper.connection import Connection, Hypervisor


async def drivers(hypervisor: Hypervisor) -> tuple[Hypervisor, ...]:
    """Return the connection itself, and that of containers if this host has them.

    Raises:
        PoolUnavailable: The driver of containers is installed, and cannot be reached.
    """
    containers = hypervisor.containers
    if containers is None or not await containers.is_installed():
        return (hypervisor,)
    return (hypervisor, containers)


async def driver_of(hypervisor: Hypervisor, uuid: str) -> Hypervisor:
    """Return the connection that has a domain; that of machines if none has it."""
    for one in await drivers(hypervisor):
        if await one.call(_has, uuid):
            return one
    return hypervisor


def _has(connection: Connection, uuid: str) -> bool:
    try:
        connection.lookupByUUIDString(uuid)
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
            raise
        return False
    return True
