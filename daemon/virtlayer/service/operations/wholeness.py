# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks whether a pool still has the layers of its images.

libvirt deletes a layer without checking its users, and so can any user with write access to the
pool's directory. A check looks for the files of all layers, which is cheap. libvirt then describes
the layers that are new or have changed since the last check; if there are many, each check handles
some of them. Damaged data behind an intact header are not detected.
"""

from collections.abc import Collection, Mapping

from virtlayer.errors import VirtlayerError, VolumeExists, VolumeNotFound
from virtlayer.protocol.calls import FileStamp
from virtlayer.protocol.pools import Pool, Volume
from virtlayer.protocol.virsh import virsh
from virtlayer.service.catalog.catalog import CatalogImage
from virtlayer.service.chain.presence import check_layer
from virtlayer.service.keeper.pools import Pools

_DESCRIBED = 256
"""Layers that libvirt describes for one check, which takes 0.1 s."""


class Wholeness:
    """Checks the layers of pools.

    Args:
        pools: The pools.
        uri: Of their libvirt, for the commands in messages.
    """

    def __init__(self, pools: Pools, uri: str) -> None:
        self._pools = pools
        self._uri = uri
        self._good: dict[str, dict[tuple[str, int], FileStamp]] = {}
        """Files that are known to be layers of these virtual sizes, by the UUID of each pool."""

    async def look(self, pool_name: str, images: Collection[CatalogImage]) -> dict[str, str]:
        """Check the layers of the images of a pool.

        Args:
            pool_name: The pool.
            images: Its images.

        Returns:
            For each broken image, by its name, the problem and how to repair it.

        Raises:
            VirtlayerError: The pool cannot be read.
        """
        pool = await self._pools.get(pool_name)
        wanted = {(name, image.size) for image in images for name in image.volumes}
        files = await self._pools.files(pool, {name for name, _ in wanted})
        before = self._good.get(pool.uuid, {})
        good = {key: files[key[0]] for key in wanted if _is_known(key, files, before)}
        doubtful = sorted(key for key in wanted - good.keys() if key[0] in files)
        described, later = doubtful[:_DESCRIBED], doubtful[_DESCRIBED:]
        volumes = await self._pools.volumes(pool, {name for name, _ in described})
        for name, size in described:
            if name in volumes and not _damage(volumes[name], pool, size):
                good[name, size] = files[name]
        self._good[pool.uuid] = good
        not_bad = good.keys() | later
        broken = {}
        for image in images:
            bad = [name for name in image.volumes if (name, image.size) not in not_bad]
            if bad:
                found = {name: volumes[name] for name in bad if name in volumes}
                broken[image.name] = _problem(self._uri, image, pool, bad, found).message
        return broken


async def check_whole(
    pools: Pools, uri: str, pool: Pool, image: CatalogImage, top: Volume | None
) -> None:
    """Check that a pool has the layers of an image, before a volume is made on them.

    Args:
        pools: The pools.
        uri: Of their libvirt, for the commands in messages.
        pool: The pool.
        image: The image.
        top: Its top volume; None if the pool does not have it.

    Raises:
        VolumeNotFound: Some are missing.
        VolumeExists: The top volume is damaged or is not this layer.
    """
    files = await pools.files(pool, image.volumes)
    bad = set(image.volumes) - files.keys()
    found = {}
    if top is None:
        bad.add(image.volume)
    elif _damage(top, pool, image.size):
        bad.add(image.volume)
        found[image.volume] = top
    if bad:
        raise _problem(uri, image, pool, bad, found)


def _problem(
    uri: str, image: CatalogImage, pool: Pool, bad: Collection[str], found: Mapping[str, Volume]
) -> VirtlayerError:
    for name in sorted(bad):
        if name in found:
            snapshots = ("--delete-snapshots",) if pool.is_rbd else ()
            delete = virsh(uri, "vol-delete", name, "--pool", pool.name, *snapshots)
            return VolumeExists(
                f'The image "{image.name}" is broken: its layer volume {name} is damaged. Delete '
                f"the volume ({delete}), then pull the image again."
            )
    number, total = len(bad), len(image.volumes)
    return VolumeNotFound(
        f'The image "{image.name}" is broken: {_counted(number, total)} missing in the pool '
        f'"{pool.name}". Pull the image again: only what is missing is built.'
    )


def _counted(number: int, total: int) -> str:
    if total == 1:
        return "its only layer volume is"
    return f"{number} of its {total} layer volumes {'is' if number == 1 else 'are'}"


def _is_known(
    key: tuple[str, int],
    files: Mapping[str, FileStamp],
    before: Mapping[tuple[str, int], FileStamp],
) -> bool:
    return key in before and files.get(key[0]) == before[key]


def _damage(volume: Volume, pool: Pool, virtual_size: int) -> str:
    """Return the problem of a layer; "" if there is none."""
    try:
        check_layer(volume, pool, virtual_size)
    except VolumeExists as error:
        return error.message
    return ""
