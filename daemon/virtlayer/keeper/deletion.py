# SPDX-License-Identifier: LGPL-2.1-or-later
"""Deletes a volume through libvirt, which does not check whether it is used (see usage.py)."""

from virtlayer.errors import InUse
from virtlayer.keeper.binding import libvirt
from virtlayer.keeper.connection import Connection, Hypervisor
from virtlayer.protocol.pools import Pool


async def delete_volume(hypervisor: Hypervisor, pool: Pool, name: str) -> None:
    """Delete a volume; do nothing if it does not exist.

    Raises:
        InUse: libvirt itself is working with the volume.
        PoolNotFound: The pool no longer exists.
        PoolInactive: The pool was stopped meanwhile.
        Libvirt: It cannot be deleted.
    """
    if not await hypervisor.call(_delete, pool.uuid, name):
        raise InUse(
            f'libvirt is copying the volume {name} in the pool "{pool.name}". Try again later.'
        )


def _delete(connection: Connection, uuid: str, name: str) -> bool:
    """Delete a volume; return False if libvirt cannot do it yet."""
    pool = connection.storagePoolLookupByUUIDString(uuid)
    try:
        pool.storageVolLookupByName(name).delete()
    except libvirt.libvirtError as error:
        match error.get_error_code():
            case libvirt.VIR_ERR_NO_STORAGE_VOL:
                return True
            case libvirt.VIR_ERR_OPERATION_INVALID if pool.isActive():
                return False
        raise
    return True
