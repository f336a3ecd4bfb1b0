# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who needs the volumes of a pool: every overlay in any pool, and every disk of any domain.

libvirt deletes a volume that overlays still need without a word, so everything is looked at that
libvirt can name: the volumes of the active pools, after a refresh, because overlays are also made
behind libvirt's back; the files in the directories of inactive ones; and the domains. A chain is
followed through libvirt's volumes, and by the headers of files where it leaves them. What no pool
and no domain knows cannot be found.

Files are compared by device and inode, because a directory can have several paths and pools.
"""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from virtlayer.errors import InUse, PoolInactive, PoolNotFound, PoolUnsupported, VirtlayerError
from virtlayer.keeper.backing import Backing, may_be_overlay, read_backing
from virtlayer.keeper.binding import libvirt
from virtlayer.keeper.connection import Connection, Hypervisor
from virtlayer.keeper.disks import Disk, all_disks
from virtlayer.keeper.pools import Pools
from virtlayer.keeper.xml import parse_pool, parse_volume
from virtlayer.protocol.pools import Pool, Usage, Volume

type _File = tuple[int, int] | str
"""A file's device and inode, or the path of one that is not there."""


async def usage_of(
    hypervisor: Hypervisor, pools: Pools, pool: Pool, layers: Collection[str]
) -> Usage:
    """Look at everything that may need a volume of a pool.

    Args:
        hypervisor: The connection.
        pools: Its pools.
        pool: The pool.
        layers: The names of those of its volumes that are no users of others: our own layers.

    Raises:
        InUse: There is something whose chain cannot be read.
        VirtlayerError: libvirt cannot look at the pool.
    """
    survey = _Survey()
    for known in await hypervisor.call(_known_pools):
        await _look_at(survey, hypervisor, pools, known)
    volumes = survey.volumes.get(pool.name, {})
    own = await asyncio.to_thread(
        lambda: {name: _file(volume.path) for name, volume in volumes.items()}
    )
    await survey.follow_overlays(except_of={own[name] for name in layers if name in own})
    for disk in await all_disks(hypervisor):
        await survey.follow_disk(disk)
    users = {name: tuple(sorted(survey.users.get(file, ()))) for name, file in own.items()}
    return Usage(volumes, {name: found for name, found in users.items() if found})


@dataclass(frozen=True, slots=True)
class _KnownPool:
    name: str
    uuid: str
    description: str
    active: bool


async def _look_at(
    survey: "_Survey", hypervisor: Hypervisor, pools: Pools, known: _KnownPool
) -> None:
    pool = _pool_of_files(known)
    texts = await _refreshed(hypervisor, pools, known, pool) if known.active else None
    if texts is not None:
        volumes = [parse_volume(text) for text in texts]
        await survey.add_volumes(known.name, volumes, are_files=pool is not None)
    elif pool is not None:
        await survey.add_directory(known.name, pool.path)


async def _refreshed(
    hypervisor: Hypervisor, pools: Pools, known: _KnownPool, pool: Pool | None
) -> list[str] | None:
    """The descriptions of a pool's volumes after a refresh; None if it is not active any more."""
    try:
        if pool is not None:
            await pools.refresh(pool)
        return await hypervisor.call(_descriptions, known.uuid)
    except (PoolInactive, PoolNotFound):
        return None
    except VirtlayerError as error:
        raise InUse(
            f"Nothing is removed, because it cannot be told what the pool “{known.name}” needs: "
            f"{error.message} Stop that pool if it is out of order."
        ) from error


def _pool_of_files(known: _KnownPool) -> Pool | None:
    try:
        return parse_pool(known.description)
    except PoolUnsupported:
        return None


async def volumes_in(hypervisor: Hypervisor, pool: Pool) -> list[Volume]:
    """Every volume of an active pool, as libvirt saw it last.

    Raises:
        PoolNotFound: The pool has gone.
        PoolInactive: The pool is not active.
    """
    return [parse_volume(text) for text in await hypervisor.call(_descriptions, pool.uuid)]


class _Survey:
    """What was found, and who uses which file."""

    def __init__(self) -> None:
        self.volumes: dict[str, dict[str, Volume]] = {}
        self.users: dict[_File, set[str]] = {}
        self._backing: dict[_File, tuple[Backing, ...]] = {}
        self._overlays: list[tuple[str, _File, tuple[Backing, ...]]] = []

    async def add_volumes(self, pool: str, volumes: list[Volume], *, are_files: bool) -> None:
        """Take note of what libvirt knows of an active pool.

        Args:
            pool: Its name.
            volumes: Its volumes.
            are_files: Whether libvirt looks into their headers, which it does with files only.
        """
        self.volumes[pool] = {volume.name: volume for volume in volumes}
        files = await asyncio.to_thread(lambda: [_file(volume.path) for volume in volumes])
        for volume, file in zip(volumes, files, strict=True):
            backing: tuple[Backing, ...] = ()
            if volume.backing_path is not None:
                backing = (Backing(volume.backing_path, volume.backing_format),)
                self._overlays.append((f"the volume “{volume.name}” in “{pool}”", file, backing))
            if are_files:
                self._backing[file] = backing

    async def add_directory(self, pool: str, directory: Path) -> None:
        """Take note of the overlays in the directory of a pool that is not active."""
        for path in await asyncio.to_thread(_overlays_in, directory):
            backing = await read_backing(path, None)
            file = await asyncio.to_thread(_file, path)
            self._backing[file] = backing
            if backing:
                user = f"the file “{path.name}” in the inactive pool “{pool}”"
                self._overlays.append((user, file, backing))

    async def follow_overlays(self, except_of: Collection[_File]) -> None:
        """Find what the overlays need, but for these."""
        for user, file, backing in self._overlays:
            if file not in except_of:
                for image in backing:
                    await self._follow(user, image.path, image.format)

    async def follow_disk(self, disk: Disk) -> None:
        """Find what a domain's disk needs."""
        if disk.path is not None:
            await self._follow(disk.user, disk.path, disk.format)
        elif disk.volume is not None:
            pool, name = disk.volume
            # A volume of a pool that is not active has no path; its file was looked at.
            if volume := self.volumes.get(pool, {}).get(name):
                await self._follow(disk.user, volume.path, disk.format)

    async def _follow(self, user: str, path: Path, image_format: str | None) -> None:
        file = await asyncio.to_thread(_file, path)
        users = self.users.setdefault(file, set())
        if user in users:
            return
        users.add(user)
        if file not in self._backing:
            self._backing[file] = await read_backing(path, image_format)
        for image in self._backing[file]:
            await self._follow(user, image.path, image.format)


def _file(path: Path) -> _File:
    try:
        state = path.stat()
    except OSError:
        return str(path.resolve())
    return state.st_dev, state.st_ino


def _overlays_in(directory: Path) -> list[Path]:
    try:
        files = [path for path in directory.iterdir() if path.is_file()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise InUse(
            f"Nothing is removed, because it cannot be told what is in {directory}, the directory "
            f"of a pool that is not active: {error.strerror}. Start that pool, or undefine it."
        ) from error
    return [path for path in sorted(files) if may_be_overlay(path)]


def _known_pools(connection: Connection) -> list[_KnownPool]:
    return [
        _KnownPool(pool.name(), pool.UUIDString(), pool.XMLDesc(), bool(pool.isActive()))
        for pool in connection.listAllStoragePools()
    ]


def _descriptions(connection: Connection, uuid: str) -> list[str]:
    pool = connection.storagePoolLookupByUUIDString(uuid)
    descriptions = []
    for volume in pool.listAllVolumes():
        try:
            descriptions.append(volume.XMLDesc())
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_VOL:
                raise
    return descriptions
