# SPDX-License-Identifier: LGPL-2.1-or-later
"""Finds and deletes the layer volumes of a pool that nothing needs.

A layer is needed by the images and the kept versions of the catalog, by jobs that claim it, by
users that ``keeper.usage`` finds, and by a needed layer that is backed by it. Only volumes that the
pool has records of as layers are deleted, from the top of the chain down: an interruption never
leaves a volume without its backing volume.
"""

import dataclasses
import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from virtlayer import journal
from virtlayer.cancellation import to_completion
from virtlayer.protocol.layer_names import is_layer_volume
from virtlayer.protocol.pools import Pool, Usage
from virtlayer.protocol.records import RecordKind
from virtlayer.service.catalog.catalog import ImageVolumes, Version
from virtlayer.service.keeper.claims import PoolLock
from virtlayer.service.operations.services import Services
from virtlayer.service.records.former_versions import without
from virtlayer.service.records.values import ImageRecord

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Freed:
    """The volumes that were deleted, or would be.

    Attributes:
        volumes: The names of the volumes, the topmost first.
        bytes: The space that they used in the pool.
    """

    volumes: tuple[str, ...]
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLayers:
    """The layers of a pool and everything that needs them.

    Attributes:
        pool: The pool.
        known: The names of the layer volumes that the catalog has.
        usage: The volumes of the pool, and their users.
        images: The volumes of the images of the pool.
        versions: The former versions of their names.
    """

    pool: Pool
    known: frozenset[str]
    usage: Usage
    images: tuple[ImageVolumes, ...]
    versions: tuple[Version, ...]

    def needed(self, *, but_for: str | None = None) -> set[str]:
        """Return the volumes that images and kept versions need.

        Args:
            but_for: The name of an image that is ignored.
        """
        wanted: set[str] = set()
        for image in self.images:
            if image.name != but_for:
                wanted.update(image.volumes)
        for version in self.versions:
            if version.kept and version.name != but_for:
                wanted.update(version.volumes)
        return self.with_backing(wanted)

    def with_backing(self, names: Iterable[str]) -> set[str]:
        """Return these volumes and all volumes that back them, whatever their origin."""
        found: set[str] = set()
        rest = list(names)
        while rest:
            name = rest.pop()
            if name in found:
                continue
            found.add(name)
            backing = self._backing(name)
            if backing is not None:
                rest.append(backing)
        return found

    def removable(self, candidates: Iterable[str], needed: Iterable[str]) -> tuple[str, ...]:
        """Return the candidates that can be deleted, the topmost first.

        Args:
            candidates: Names of volumes.
            needed: Names of volumes that are needed for any reason.
        """
        present = self.known.intersection(candidates, self.usage.volumes)
        kept = self.with_backing({*needed, *self.usage.users, *(self.known - present)})
        doomed = {name for name in present - kept if is_layer_volume(name)}
        heights = self._heights(doomed)
        return tuple(sorted(doomed, key=lambda name: (-heights[name], name)))

    def _heights(self, names: Iterable[str]) -> dict[str, int]:
        """How many volumes of the pool each stands on.

        Each is looked at once: another host can make chains of any length, and circles.
        """
        heights: dict[str, int] = {}
        for name in names:
            found: list[str] = []
            below: str | None = name
            while below is not None and below not in heights:
                heights[below] = 0
                found.append(below)
                below = self._backing(below)
            height = 0 if below is None else heights[below] + 1
            for number, one in enumerate(reversed(found)):
                heights[one] = height + number
        return heights

    def _backing(self, name: str) -> str | None:
        """The volume of the pool that a volume is directly based on."""
        volume = self.usage.volumes.get(name)
        return None if volume is None else volume.backing


async def look_at_layers(services: Services, lock: PoolLock) -> PoolLayers:
    """Find the users of the layers of a pool.

    Args:
        services: The daemon's parts.
        lock: Of the pool, whose records were synchronized since it was taken.

    Raises:
        InUse: The users cannot be determined, for example because a record is invalid.
        VirtlayerError: libvirt cannot look at the pool.
    """
    pool = lock.pool
    await services.records.refuse_bad(pool)
    known = await services.catalog.layers.names(pool.name)
    return PoolLayers(
        pool=pool,
        known=known,
        usage=await services.pools.usage(pool, known),
        images=await services.catalog.image_volumes(pool.name),
        versions=await services.catalog.versions(pool.name),
    )


def would_free(layers: PoolLayers, doomed: tuple[str, ...]) -> Freed:
    """Return the result of deleting these volumes."""
    taken = sum(layers.usage.volumes[name].allocation for name in doomed)
    return Freed(volumes=doomed, bytes=taken)


async def delete_layers(
    services: Services, lock: PoolLock, layers: PoolLayers, doomed: tuple[str, ...]
) -> Freed:
    """Delete layer volumes, and forget the former versions that lose volumes.

    Raises:
        InUse: libvirt is working with one of them. The volumes before it are deleted.
        VirtlayerError: libvirt cannot delete one of them; the volumes before it are deleted.
    """
    await to_completion(_delete(services, lock, doomed))
    names = sorted({version.name for version in layers.versions})
    needed = layers.needed() if names else set()
    for name in names:
        await services.records.change_image(
            lock, name, lambda record: _without_versions(record, doomed, needed)
        )
    return would_free(layers, doomed)


async def delete_records_of_nothing(services: Services, lock: PoolLock, layers: PoolLayers) -> None:
    """Delete the records of layers, volumes, directories and disks that the pool does not have.

    A killed job leaves such records, and so does deleting a volume without virtlayer.

    Raises:
        VirtlayerError: The pool cannot be read or written.
    """
    pool = lock.pool
    volumes = await services.catalog.volumes.list(pool.name)
    names = layers.known.union(volume.name for volume in volumes)
    gone = names.difference(await services.pools.inodes(pool, names), lock.claimed)
    for name in sorted(gone & layers.known):
        await services.records.delete(lock, RecordKind.LAYER, name)
    for volume in volumes:
        if volume.name in gone:
            await services.records.delete(lock, volume.kind, volume.name)


async def _delete(services: Services, lock: PoolLock, doomed: tuple[str, ...]) -> None:
    pool = lock.pool
    deletion = await services.pools.delete(lock, doomed)
    await services.records.forget_layers(pool, deletion.names)
    for name in deletion.names:
        _log.info(
            'Deleted the layer volume %s in the pool "%s".',
            name,
            pool.name,
            extra=journal.fields(pool=pool.name, volume=name),
        )
    if deletion.error is not None:
        raise deletion.error


def _without_versions(
    record: ImageRecord | None, deleted: Collection[str], needed: Collection[str]
) -> ImageRecord | None:
    """Leave out the versions that lack a volume, or have no volume of their own."""
    if record is None:
        return None
    whole = without(record, deleted)
    # A version that is part of an image has no volume of its own that could be deleted later.
    former = tuple(one for one in whole.former if one.kept or one.volume not in needed)
    return dataclasses.replace(whole, former=former)
