# SPDX-License-Identifier: LGPL-2.1-or-later
"""Lists the volumes that virtlayer has made in a pool: layers, and volumes made of images."""

from dataclasses import dataclass
from enum import StrEnum

from virtlayer.protocol.boot_names import is_boot_volume
from virtlayer.protocol.domain_files import domain_in_name
from virtlayer.protocol.names import PoolName
from virtlayer.protocol.pools import Pool, Volume
from virtlayer.service.catalog.volumes import CatalogVolume
from virtlayer.service.operations.services import Services


class VolumeKind(StrEnum):
    """The kinds of volumes that virtlayer makes."""

    LAYER = "layer"
    VOLUME = "volume"
    DIRECTORY = "directory"
    DISK = "disk"
    BOOT = "boot"  # a kernel or an initrd of machines
    CONFIGURATION = "configuration"  # a file of one machine


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedVolume:
    """A volume that virtlayer has made.

    Attributes:
        name: Its name.
        kind: Its kind.
        image: The name of the image that it was made of; "" for a layer or a boot volume.
        format: By libvirt's probe, such as qcow2; dir for a directory.
        size: The space that it uses, in bytes; 0 for a directory, whose files are not counted.
    """

    name: str
    kind: VolumeKind
    image: str
    format: str
    size: int


async def list_volumes(services: Services, pool_name: PoolName) -> tuple[ListedVolume, ...]:
    """List the volumes that virtlayer has made in a pool, as libvirt saw them last; by name.

    Raises:
        VirtlayerError: The pool cannot be looked at.
    """
    pool = await services.pools.get(pool_name)
    await services.records.synchronize(pool)
    present = {volume.name: volume for volume in await services.pools.all_volumes(pool)}
    layers = await services.catalog.layers.names(pool.name)
    listed = [_listed(present[name], VolumeKind.LAYER) for name in layers & present.keys()]
    made = await made_volumes(services, pool)
    listed += [
        _listed(present[record.name], VolumeKind(record.kind), record.image)
        for record in made
        if record.name in present
    ]
    listed += [_listed(present[name], VolumeKind.BOOT) for name in filter(is_boot_volume, present)]
    images = {record.machine.domain: record.image for record in made if record.machine is not None}
    for name, volume in present.items():
        if (domain := domain_in_name(name)) in images:
            listed.append(_listed(volume, VolumeKind.CONFIGURATION, images[domain]))
    return tuple(sorted(listed, key=lambda volume: volume.name))


async def made_volumes(services: Services, pool: Pool) -> tuple[CatalogVolume, ...]:
    """The volumes, directories and disks that virtlayer has made and that are still the same.

    Raises:
        VirtlayerError: The pool cannot be looked at.
    """
    records = await services.catalog.volumes.list(pool.name)
    inodes = await services.pools.inodes(pool, {record.name for record in records})
    return tuple(
        record
        for record in records
        if record.name in inodes and record.inode in (None, inodes[record.name])
    )


def _listed(volume: Volume, kind: VolumeKind, image: str = "") -> ListedVolume:
    is_directory = volume.format == "dir"
    size = 0 if is_directory else volume.allocation
    return ListedVolume(name=volume.name, kind=kind, image=image, format=volume.format, size=size)
