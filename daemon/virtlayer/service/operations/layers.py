# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which layer volumes of a pool nothing needs, and how they go.

A layer is needed by the images and the kept versions of the catalog, by jobs that claim it, by
users that ``storage.usage`` finds, and by a needed layer that stands on it. Only volumes that the
catalog knows as layers of ours are ever deleted, and those on top first: whatever happens in
between, no volume is left without what it stands on.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from virtlayer import journal
from virtlayer.cancellation import to_completion
from virtlayer.protocol.layer_names import is_layer_volume
from virtlayer.protocol.pools import Pool, Usage
from virtlayer.service.catalog.catalog import ImageRecord, Version
from virtlayer.service.keeper.claims import PoolLock
from virtlayer.service.operations.services import Services

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Freed:
    """What was deleted, or would be.

    Attributes:
        volumes: The names of the volumes, those on top first.
        bytes: What they took of the pool.
    """

    volumes: tuple[str, ...]
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLayers:
    """The layers of a pool and all who need some.

    Attributes:
        pool: The pool.
        known: The names of the layer volumes that the catalog has.
        usage: What is in the pool, and who uses it.
        images: The images of the pool.
        versions: The former versions of their names.
    """

    pool: Pool
    known: frozenset[str]
    usage: Usage
    images: tuple[ImageRecord, ...]
    versions: tuple[Version, ...]

    def needed(self, *, but_for: str | None = None) -> set[str]:
        """The volumes that images and kept versions need.

        Args:
            but_for: The name of an image whose needs do not count.
        """
        wanted: set[str] = set()
        for image in self.images:
            if image.name != but_for:
                wanted |= volumes_of(image)
        for version in self.versions:
            if version.kept and version.name != but_for:
                wanted.update(version.volumes)
        return self.with_backing(wanted)

    def with_backing(self, names: Iterable[str]) -> set[str]:
        """These volumes and all that they stand on, whoever has put them there."""
        found: set[str] = set()
        rest = list(names)
        while rest:
            name = rest.pop()
            if name in found:
                continue
            found.add(name)
            volume = self.usage.volumes.get(name)
            backing = volume and volume.backing_path
            if backing and backing.parent == self.pool.path:
                rest.append(backing.name)
        return found

    def removable(self, candidates: Iterable[str], needed: Iterable[str]) -> tuple[str, ...]:
        """Those of the candidates that can go, those on top first.

        Args:
            candidates: Names of volumes.
            needed: Names of volumes that are needed, whatever the reason.
        """
        present = self.known.intersection(candidates, self.usage.volumes)
        kept = self.with_backing({*needed, *self.usage.users, *(self.known - present)})
        doomed = {name for name in present - kept if is_layer_volume(name)}
        return tuple(
            sorted(doomed, key=lambda name: (-len(self.with_backing([name]) & doomed), name))
        )


def volumes_of(image: ImageRecord) -> set[str]:
    """The names of an image's volumes."""
    return {image.volume, *(layer.volume for layer in image.layers)}


async def look_at_layers(services: Services, pool: Pool) -> PoolLayers:
    """Find out who needs the layers of a pool.

    Raises:
        InUse: There is something of which that cannot be told.
        VirtlayerError: libvirt cannot look at the pool.
    """
    known = await services.catalog.volumes(pool.name)
    return PoolLayers(
        pool=pool,
        known=known,
        usage=await services.pools.usage(pool, known),
        images=await services.catalog.list(pool.name),
        versions=await services.catalog.versions(pool.name),
    )


def would_free(layers: PoolLayers, doomed: tuple[str, ...]) -> Freed:
    """What the deletion of these volumes frees."""
    taken = sum(layers.usage.volumes[name].allocation for name in doomed)
    return Freed(volumes=doomed, bytes=taken)


async def delete_layers(
    services: Services, lock: PoolLock, layers: PoolLayers, doomed: tuple[str, ...]
) -> Freed:
    """Delete layer volumes, and forget the versions that are over with them.

    Raises:
        InUse: libvirt is working with one of them. Those before it are gone.
        VirtlayerError: libvirt cannot delete one of them; likewise.
    """
    await to_completion(_delete(services, lock, doomed))
    needed = layers.needed()
    for version in layers.versions:
        # One that is a part of an image by now has nothing of its own that could go later.
        if not version.kept and version.volume in needed:
            await services.catalog.remove_version(version)
    return would_free(layers, doomed)


async def _delete(services: Services, lock: PoolLock, doomed: tuple[str, ...]) -> None:
    pool = lock.pool
    deletion = await services.pools.delete(lock, doomed)
    for name in deletion.names:
        await services.catalog.remove_volume(pool.name, name)
        _log.info(
            'Deleted the layer volume %s in the pool "%s".',
            name,
            pool.name,
            extra=journal.fields(pool=pool.name, volume=name),
        )
    if deletion.error is not None:
        raise deletion.error
