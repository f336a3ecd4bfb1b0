# SPDX-License-Identifier: LGPL-2.1-or-later
"""Deletes unused volumes, directories and disks that virtlayer has made from images."""

import asyncio
import os
import stat

from virtlayer.cancellation import to_completion
from virtlayer.errors import InUse, VolumeNotFound
from virtlayer.keeper.beneath import Identity, identity, open_beneath, open_directory, opened
from virtlayer.keeper.connection import Hypervisor
from virtlayer.keeper.deletion import delete_volume
from virtlayer.keeper.directory_users import check_directory_unused
from virtlayer.keeper.failures import refused_by_system
from virtlayer.keeper.kinds.directory.made import forget_made, is_made
from virtlayer.keeper.kinds.directory.records import delete_record
from virtlayer.keeper.kinds.directory.removal import remove_tree
from virtlayer.keeper.pools import Pools
from virtlayer.protocol.pools import Pool
from virtlayer.protocol.records import VOLUME_KINDS, record_file
from virtlayer.protocol.virsh import virsh


async def delete_own_volume(hypervisor: Hypervisor, pools: Pools, pool: Pool, name: str) -> None:
    """Delete a volume that is not a layer, with its record; the caller has the pool's lock.

    The caller has checked that no overlay and no disk of a domain uses it.

    Raises:
        VolumeNotFound: virtlayer has not made the volume of that name.
        InUse: A domain uses the directory, or libvirt is working with the volume.
        VirtlayerError: It cannot be deleted.
    """
    try:
        found = await asyncio.to_thread(_directory, pool, name)
        ours = await asyncio.to_thread(is_made, pool, name)
    except OSError as error:
        raise refused_by_system(error, pool.name, pool.path) from error
    if not ours:
        raise VolumeNotFound(
            f'The volume "{name}" of the pool "{pool.name}" was not made by virtlayer, or was '
            "replaced since. If it is not needed, delete it: "
            + virsh(hypervisor.uri, "vol-delete", name, "--pool", pool.name)
        )
    if found is None:
        await to_completion(delete_volume(hypervisor, pool, name))
    else:
        await check_directory_unused(hypervisor, pool, name)
        await to_completion(_delete_directory(pools, pool, name, found))
    await to_completion(asyncio.to_thread(_forget, pool, name))


async def _delete_directory(pools: Pools, pool: Pool, name: str, directory: Identity) -> None:
    left = await asyncio.to_thread(_removed, pool, name, directory)
    await pools.refresh(pool)
    if left:
        raise InUse(
            f'The directory "{name}" in the pool "{pool.name}" cannot be deleted completely. End '
            "what is mounted or writes there, then try again."
        )


def _removed(pool: Pool, name: str, directory: Identity) -> bool:
    """Remove a directory; tell whether something of it is left."""
    with opened(open_directory(pool.path)) as parent:
        remove_tree(parent, name, only=directory)
        try:
            os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return False
    return True


def _forget(pool: Pool, name: str) -> None:
    forget_made(pool, name)
    for kind in VOLUME_KINDS:
        delete_record(pool, record_file(kind, name))


def _directory(pool: Pool, name: str) -> Identity | None:
    """The directory of that name; None if it is a file, or does not exist."""
    with opened(open_directory(pool.path)) as parent:
        try:
            found = open_beneath(parent, name, os.O_PATH)
        except FileNotFoundError:
            return None
        with opened(found):
            return identity(found) if stat.S_ISDIR(os.fstat(found).st_mode) else None
