# SPDX-License-Identifier: LGPL-2.1-or-later
"""Describes a volume: its file, and the image that it is based on."""

from dataclasses import dataclass
from pathlib import Path

from virtlayer.errors import InvalidArgument, VolumeNotFound
from virtlayer.protocol.id_ranges import IdRange
from virtlayer.protocol.layer_names import is_layer_volume
from virtlayer.protocol.names import PoolName, VolumeName, parse_volume_name
from virtlayer.protocol.pools import Pool, RbdAccess, Volume
from virtlayer.protocol.records import RecordKind
from virtlayer.protocol.virsh import virsh
from virtlayer.service.catalog.catalog import CatalogVolume
from virtlayer.service.operations.services import Services
from virtlayer.settings import CONTAINER_IDS

_LONGEST_CHAIN = 200
"""Limit in volumes; libvirt and QEMU open no longer chain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeDescription:
    """The description of a volume.

    Attributes:
        path: Its file or directory.
        format: Its format, such as qcow2 or dir.
        layer: Whether it is a layer, which is never written to.
        image: The name of the image that it is, is backed by, or was made of; "" if unknown.
        digest: The digest of that image's manifest; "" if unknown.
        config: The OCI config (JSON) of the version that it uses, even if the name now refers to a
            newer one; "" if unknown.
        disk: Whether it is a machine's whole disk from an image, which boots by itself.
        ids: How the image's users and groups were mapped in a directory, for a container; None if
            they were not.
        access: How an RBD image is reached; None for a file.
    """

    path: Path
    format: str
    layer: bool
    image: str = ""
    digest: str = ""
    config: str = ""
    disk: bool = False
    ids: IdRange | None = None
    access: RbdAccess | None = None


async def describe_volume(
    services: Services, pool_name: PoolName, name: VolumeName
) -> VolumeDescription:
    """Look at a volume and at the image that it is an overlay of, as libvirt knows them now.

    Raises:
        VolumeNotFound: libvirt lists no volume of that name in the pool.
        VirtlayerError: libvirt cannot look at the pool.
    """
    pool = await services.pools.get(pool_name)
    await services.records.synchronize(pool)
    volume = await services.pools.listed_volume(pool, name)
    if volume is None:
        advice = ""
        if not pool.is_rbd:
            refresh = virsh(services.libvirt_uri, "pool-refresh", pool_name)
            advice = f" If its file is new, refresh the pool: {refresh}"
        raise VolumeNotFound(f'The pool "{pool_name}" has no volume "{name}".{advice}')
    made_of = await _made_of(services, pool, volume)
    return VolumeDescription(
        path=volume.path,
        format=volume.format,
        layer=is_layer_volume(volume.name),
        image=made_of.image,
        digest=made_of.digest,
        config=made_of.config,
        disk=made_of.is_disk,
        ids=made_of.ids,
        access=pool.access,
    )


@dataclass(frozen=True, slots=True)
class _MadeOf:
    """The image that a volume is, is based on, or was made of; as ``VolumeDescription`` has it."""

    image: str = ""
    digest: str = ""
    config: str = ""
    is_disk: bool = False
    ids: IdRange | None = None


async def _made_of(services: Services, pool: Pool, volume: Volume) -> _MadeOf:
    """Find the image of a volume, by the first of its chain that has a record or is an image's."""
    images = await _images_by_top(services, pool)
    below: Volume | None = volume
    visited: set[str] = set()
    # Anybody can write overlays that are based on each other.
    while below is not None and below.name not in visited and len(visited) < _LONGEST_CHAIN:
        if record := await _record(services, pool, below):
            return _of_record(record)
        if below.name in images:
            return images[below.name]
        visited.add(below.name)
        backing = _backing_name(pool, below)
        below = None if backing is None else await services.pools.listed_volume(pool, backing)
    return _MadeOf()


async def _images_by_top(services: Services, pool: Pool) -> dict[str, _MadeOf]:
    """The images of a pool and their former versions, by the names of their top volumes."""
    versions = await services.catalog.versions(pool.name)
    images = await services.catalog.list(pool.name)
    return {one.volume: _MadeOf(one.name, one.digest, one.config or "") for one in versions} | {
        one.volume: _MadeOf(one.name, one.digest, one.config) for one in images
    }


async def _record(services: Services, pool: Pool, volume: Volume) -> CatalogVolume | None:
    """The record of a volume; None if it has none, or if that is about another volume."""
    if volume.format == "dir":
        kind = RecordKind.DIRECTORY
    else:
        kind = RecordKind.DISK if volume.backing_path is None else RecordKind.VOLUME
    record = await services.catalog.volumes.get(pool.name, kind, volume.name)
    if record is None or (record.top and record.top != _backing_name(pool, volume)):
        return None
    inode = (await services.pools.inodes(pool, [volume.name])).get(volume.name)
    if record.inode is None and inode is not None:
        await services.catalog.volumes.note_inodes(pool.name, {volume.name: inode})
    return record if record.inode in (None, inode) else None


def _of_record(record: CatalogVolume) -> _MadeOf:
    ids = None
    if record.id_base is not None:
        ids = IdRange(0, record.id_base, CONTAINER_IDS)
    is_disk = record.kind is RecordKind.DISK
    return _MadeOf(record.image, record.digest, record.config, is_disk, ids)


def _backing_name(pool: Pool, volume: Volume) -> VolumeName | None:
    """The name of the volume of its pool that a volume is an overlay of; None if of none."""
    name = volume.backing_in(pool)
    if name is None:
        return None
    try:
        return parse_volume_name(name)
    except InvalidArgument:
        # A header can contain any text. The pool has no volume of such a name.
        return None
