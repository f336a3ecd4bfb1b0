# SPDX-License-Identifier: LGPL-2.1-or-later
"""Removes a volume, directory or disk that was made of an image, if nothing uses it."""

from collections.abc import Iterable
from dataclasses import dataclass

from virtlayer.cancellation import to_completion
from virtlayer.errors import InUse, InvalidArgument, VolumeNotFound
from virtlayer.protocol.boot_names import is_boot_volume
from virtlayer.protocol.domain_files import domain_in_name
from virtlayer.protocol.host_id import host_id
from virtlayer.protocol.layer_names import is_layer_volume
from virtlayer.protocol.names import PoolName, VolumeName
from virtlayer.protocol.pools import Pool
from virtlayer.service.catalog.volumes import CatalogVolume
from virtlayer.service.jobs.job import Job
from virtlayer.service.keeper.claims import PoolLock
from virtlayer.service.operations.layers import Freed
from virtlayer.service.operations.list_volumes import made_volumes
from virtlayer.service.operations.services import Services


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveVolumeRequest:
    """A request to remove a volume.

    Attributes:
        pool: The name of the pool.
        volume: The name of the volume in the pool.

    Raises:
        InvalidArgument: It is the name of a layer, of a boot volume, or of a machine's file.
    """

    pool: PoolName
    volume: VolumeName

    def __post_init__(self) -> None:
        if is_layer_volume(self.volume):
            raise InvalidArgument(
                f'"{self.volume}" is a layer of images. "virtlayer remove" deletes an image with '
                'its layers, and "virtlayer prune" the layers that nothing needs.'
            )
        if is_boot_volume(self.volume):
            raise InvalidArgument(
                f'"{self.volume}" is a kernel or initrd of machines. "virtlayer prune" deletes '
                "those that no machine needs."
            )
        if domain_in_name(self.volume) is not None:
            raise InvalidArgument(
                f'"{self.volume}" is a file of a machine. "virtlayer rm" removes the machine with '
                "its files."
            )


async def remove_volume(services: Services, request: RemoveVolumeRequest, _job: Job) -> Freed:
    """Delete a volume that virtlayer has made of an image, and its record.

    Raises:
        VolumeNotFound: The pool has no such volume, or virtlayer did not make it.
        InUse: An overlay, a domain or a running job uses it; the message names the user.
        VirtlayerError: The pool cannot be read, or the volume cannot be deleted.
    """
    pool = await services.pools.get(request.pool)
    async with services.claims.locked(pool) as lock:
        await services.records.synchronize_locked(lock)
        records = [
            record for record in await made_volumes(services, pool) if record.name == request.volume
        ]
        if not records:
            raise VolumeNotFound(
                f'virtlayer has not made a volume "{request.volume}" in the pool "{pool.name}". '
                '"virtlayer volumes" lists what it has made.'
            )
        _check_host(pool, records)
        volume = await services.pools.volume(pool, request.volume)
        is_file = volume is not None and volume.format != "dir"
        size = volume.allocation if volume is not None and is_file else 0
        await to_completion(_delete(services, lock, request.volume, records))
        return Freed(volumes=(request.volume,), bytes=size)


def _check_host(pool: Pool, records: Iterable[CatalogVolume]) -> None:
    """Check that no machine of another host has the volume; libvirt here knows only its own.

    Raises:
        InUse: One has it.
    """
    for record in records:
        if record.machine is not None and record.machine.host != host_id():
            raise InUse(
                f'The volume "{record.name}" in the pool "{pool.name}" belongs to a machine of '
                f"another host (UUID {record.machine.domain}). Remove the machine there."
            )


async def _delete(
    services: Services, lock: PoolLock, name: str, records: list[CatalogVolume]
) -> None:
    deletion = await services.pools.delete(lock, [name])
    if deletion.error is not None:
        raise deletion.error
    for record in records:
        await services.records.delete(lock, record.kind, record.name)
