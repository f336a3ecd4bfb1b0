# SPDX-License-Identifier: LGPL-2.1-or-later
"""Finds the users of the volumes of a pool: overlays in any pool, and disks of any domain.

libvirt deletes a volume without a warning even if overlays need it. So everything that libvirt can
name is examined: the volumes of the active pools, after a refresh, because overlays are also made
without libvirt; the files in the directories of inactive ones; and the domains. From our own layers
on, a chain is followed as libvirt describes them, otherwise by the headers of the files (see
``image_files``). An image that belongs to no pool and no domain cannot be found.

Files are compared by device and inode, because a directory can have several paths and pools.
"""

import asyncio
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

from virtlayer.errors import (
    InUse,
    PoolInactive,
    PoolNotFound,
    PoolUnavailable,
    PoolUnsupported,
    VirtlayerError,
)
from virtlayer.keeper.beneath import Identity
from virtlayer.keeper.binding import libvirt
from virtlayer.keeper.connection import Connection, Hypervisor
from virtlayer.keeper.disks import Disk, all_disks
from virtlayer.keeper.headers import HeaderReader, header_reader
from virtlayer.keeper.image_files import ImageFiles, Reference
from virtlayer.keeper.pools import Pools
from virtlayer.keeper.xml import RBD_KIND, parse_pool, parse_pool_kind, parse_volume
from virtlayer.protocol.pools import Pool, Usage, Volume


async def usage_of(hypervisor: Hypervisor, pools: Pools, pool: Pool, layers: Set[str]) -> Usage:
    """Find everything that may need a volume of a pool.

    Args:
        hypervisor: The connection.
        pools: Its pools.
        pool: The pool.
        layers: The names of its own layers, which are not counted as users of other volumes. A set:
            each volume is looked for in it, and there can be thousands of both.

    Raises:
        InUse: The chain of an image cannot be read.
        PoolUnavailable: The directory of an active pool is missing.
        VirtlayerError: libvirt cannot look at the pool.
    """
    async with header_reader() as reader:
        survey = _Survey(reader)
        for known in await hypervisor.call(_known_pools):
            own_layers: Set[str] = layers if known.uuid == pool.uuid else frozenset()
            await _look_at(survey, hypervisor, pools, known, own_layers)
        for disk in await all_disks(hypervisor):
            survey.add_disk(disk)
        users = await survey.users()
    volumes = survey.volumes.get(pool.name, {})
    chains = {name: volume.in_chain(pool) for name, volume in volumes.items()}
    if not users:
        # Otherwise thousands of files would be looked at to find which of them are used.
        return Usage(chains, {})
    own = await asyncio.to_thread(
        lambda: {name: _file(volume.path) for name, volume in volumes.items()}
    )
    used = {name: sorted(users.get(file, ())) for name, file in own.items() if file is not None}
    return Usage(chains, {name: tuple(found) for name, found in used.items() if found})


@dataclass(frozen=True, slots=True)
class _KnownPool:
    name: str
    uuid: str
    description: str
    active: bool


async def _look_at(
    survey: "_Survey",
    hypervisor: Hypervisor,
    pools: Pools,
    known: _KnownPool,
    layers: Set[str],
) -> None:
    if parse_pool_kind(known.description) == RBD_KIND:
        # Its volumes are no files, and for each description, libvirt would ask the cluster.
        return
    pool = _pool_of_files(known)
    volumes = await _refreshed(hypervisor, pools, known, pool) if known.active else None
    if volumes is not None:
        are_files = pool is not None
        await survey.add_volumes(known.name, volumes, are_files=are_files, layers=layers)
    elif pool is not None:
        await survey.add_directory(known.name, pool.path)


async def _refreshed(
    hypervisor: Hypervisor, pools: Pools, known: _KnownPool, pool: Pool | None
) -> list[Volume] | None:
    """The volumes of a pool of files after a refresh; None if it is no longer active."""
    try:
        if pool is not None:
            return await pools.all_volumes(pool, refresh=True)
        return [parse_volume(text) for text in await hypervisor.call(_descriptions, known.uuid)]
    except (PoolInactive, PoolNotFound):
        return None
    except VirtlayerError as error:
        is_missing = pool is not None and not await asyncio.to_thread(pool.path.is_dir)
        kind = PoolUnavailable if is_missing else InUse
        raise kind(
            f'Nothing was removed: cannot determine which layers the pool "{known.name}" uses: '
            f"{error.message} If that pool does not work, stop it."
        ) from error


def _pool_of_files(known: _KnownPool) -> Pool | None:
    try:
        return parse_pool(known.description)
    except PoolUnsupported:
        return None


@dataclass(frozen=True, slots=True)
class _User:
    """A volume, which needs what is below it, or a domain, which needs its disk as well."""

    name: str
    image: Reference
    is_domain: bool = False


class _Survey:
    """The files that were found, and their users."""

    def __init__(self, reader: HeaderReader) -> None:
        self.volumes: dict[str, dict[str, Volume]] = {}
        self._files = ImageFiles(reader)
        self._layers: set[Identity] = set()
        self._users: list[_User] = []

    async def add_volumes(
        self, pool: str, volumes: list[Volume], *, are_files: bool, layers: Set[str]
    ) -> None:
        """Add the volumes of an active pool.

        Args:
            pool: Its name.
            volumes: Its volumes.
            are_files: Whether they are files in a directory.
            layers: The layers, which are not users of others, and whose backing libvirt reports as
                we made it.
        """
        self.volumes[pool] = {volume.name: volume for volume in volumes}
        if not are_files:
            return
        known = [volume for volume in volumes if volume.name in layers]
        found = await asyncio.to_thread(lambda: [_file(volume.path) for volume in known])
        for volume, file in zip(known, found, strict=True):
            if file is not None:
                self._layers.add(file)
                self._files.add(file, _backing(volume))
        self._users += [
            _User(f'the volume "{volume.name}" in "{pool}"', Reference(volume.path, None))
            for volume in volumes
            if volume.name not in layers
        ]

    async def add_directory(self, pool: str, directory: Path) -> None:
        """Add the files in the directory of a pool that is not active."""
        for path in await asyncio.to_thread(_files_in, directory):
            user = f'the file "{path.name}" in the inactive pool "{pool}"'
            self._users.append(_User(user, Reference(path, None)))

    def add_disk(self, disk: Disk) -> None:
        """Add a domain's disk."""
        path = disk.path
        if disk.volume is not None:
            pool, name = disk.volume
            # A volume of a pool that is not active has no path; its file is looked at.
            volume = self.volumes.get(pool, {}).get(name)
            path = volume.path if volume else None
        if path is not None:
            image = Reference(path, disk.format, may_be_device=True)
            self._users.append(_User(disk.user, image, is_domain=True))

    async def users(self) -> dict[Identity, set[str]]:
        """Determine the users of each file.

        Raises:
            InUse: The files that an image needs cannot be determined.
        """
        await self._files.look_at(user.image for user in self._users)
        users: dict[Identity, set[str]] = {}
        for user in self._users:
            needed = self._files.needed_by(user.image)
            if not user.is_domain:
                # Another pool may have the same directory, with our layers.
                file = next(needed, None)
                if file in self._layers:
                    continue
            for file in needed:
                users.setdefault(file, set()).add(user.name)
        return users


def _backing(volume: Volume) -> tuple[Reference, ...]:
    if volume.backing_path is None:
        return ()
    return (Reference(volume.backing_path, volume.backing_format),)


def _file(path: Path) -> Identity | None:
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_dev, state.st_ino


def _files_in(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise InUse(
            f"Nothing was removed: cannot read {directory}, the directory of an inactive pool: "
            f"{error.strerror}. Start that pool, or undefine it."
        ) from error


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
