# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pools and their volumes, looked up and refreshed through libvirt."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterable, Set

from virtlayer.errors import Libvirt, PoolInactive, PoolNotFound, VirtlayerError
from virtlayer.keeper.binding import libvirt
from virtlayer.keeper.connection import Connection, Hypervisor
from virtlayer.keeper.described_volumes import DescribedVolumes
from virtlayer.keeper.failures import says_busy
from virtlayer.keeper.qemu_group import qemu_group
from virtlayer.keeper.xml import parse_pool, parse_volume
from virtlayer.protocol.pools import Pool, Volume
from virtlayer.protocol.virsh import virsh

type _ListedPool = libvirt.virStoragePool
type _ListedVolume = libvirt.virStorageVol

_BUSY_SECONDS = 120.0
"""How long another's volume creation or copy may keep libvirt from refreshing the pool."""
_BUSY_PAUSE = 0.05
_TIDY_SECONDS = 0.5
_FEW = 3
"""Names of volumes that are asked for one by one."""


@contextlib.asynccontextmanager
async def soon_or_never() -> AsyncIterator[None]:
    """Refresh libvirt's list, unless that takes long: a cancelled job must end."""
    with contextlib.suppress(VirtlayerError, TimeoutError):
        async with asyncio.timeout(_TIDY_SECONDS):
            yield


class Pools:
    """The storage pools of one libvirt connection."""

    def __init__(self, hypervisor: Hypervisor) -> None:
        self._hypervisor = hypervisor
        self._refreshes: dict[str, _Refreshes] = {}
        self._described = DescribedVolumes(hypervisor)
        self._busy: dict[str, Pool] = {}
        self.placements = 0
        """How often something was placed in any pool, on any connection of the service."""

    async def get(self, name: str) -> Pool:
        """Look up a pool that can hold backing chains.

        Raises:
            PoolNotFound: There is no such pool; the message lists those that there are.
            PoolUnsupported: It is not of a type whose volumes are files in a directory.
            PoolInactive: It is not started.
        """
        if name in self._busy:
            return self._busy[name]
        try:
            description, active = await self._hypervisor.call(_look_up_pool, name)
        except PoolNotFound as error:
            names = ", ".join(await self._hypervisor.call(_pool_names)) or "none"
            raise PoolNotFound(
                f'No storage pool "{name}" at {self._hypervisor.uri}. Pools: {names}.'
            ) from error
        pool = parse_pool(description)
        if not active:
            raise PoolInactive(
                f'The pool "{name}" is not active. Start it: '
                + virsh(self._hypervisor.uri, "pool-start", name)
            )
        return pool

    async def volume(self, pool: Pool, name: str) -> Volume | None:
        """Look up one volume; None if the pool does not have it."""
        return (await self.volumes(pool, [name])).get(name)

    async def volumes(self, pool: Pool, names: Iterable[str]) -> dict[str, Volume]:
        """Look up volumes by their names; those that the pool does not have are left out.

        Where libvirt's list and the directory disagree about one of them, because a file was
        created or deleted without libvirt, the pool is refreshed first.

        Raises:
            PoolNotFound: The pool no longer exists.
            PoolInactive: The pool was stopped meanwhile.
        """
        wanted = frozenset(names)
        descriptions = await self._hypervisor.call(_look_up, pool, wanted) if wanted else []
        if descriptions is None:
            return await self.refreshed_volumes(pool, wanted)
        return _parsed(descriptions)

    async def listed_volume(self, pool: Pool, name: str) -> Volume | None:
        """Look up one volume without a refresh of the pool, which not every caller may cause.

        Returns:
            None if libvirt does not list the volume or its file does not exist.
        """
        descriptions = await self._hypervisor.call(_describe, pool, {name})
        return parse_volume(descriptions[0]) if descriptions else None

    async def refresh(self, pool: Pool) -> None:
        """Refresh the pool in libvirt, at least once from now on.

        Requests that come while a refresh runs share the next one.

        Raises:
            Libvirt: libvirt cannot read the pool, or other work in it does not end.
            PoolNotFound: The pool no longer exists.
            PoolInactive: The pool was stopped meanwhile.
        """
        await self.refreshed_volumes(pool, ())

    async def refresh_while_used(self, pool: Pool) -> None:
        """Refresh a pool of many volumes; meanwhile ``get`` does not wait for libvirt.

        libvirt describes a pool only when its refresh is over.

        Raises:
            VirtlayerError: As ``refresh``.
        """
        self._busy[pool.name] = pool
        try:
            await self.refresh(pool)
        finally:
            del self._busy[pool.name]

    async def refreshed_volumes(self, pool: Pool, names: Iterable[str]) -> dict[str, Volume]:
        """Refresh a pool, and look up volumes by their names as libvirt sees them then.

        Raises:
            VirtlayerError: As ``refresh``.
        """
        refreshes = self._refreshes.setdefault(pool.uuid, _Refreshes(self._hypervisor, pool))
        return await refreshes.request(frozenset(names))

    async def all_volumes(self, pool: Pool, *, refresh: bool) -> list[Volume]:
        """Describe every volume of an active pool.

        Args:
            pool: The pool.
            refresh: Whether to refresh it before; otherwise as libvirt saw it last.

        Raises:
            VirtlayerError: As ``refresh``.
        """
        started_at = time.time_ns()
        if refresh:
            await self.refresh(pool)
        return await self._described.all(pool, started_at if refresh else None)

    async def qemu_group(self) -> int | None:
        """The gid of QEMU's processes, which read layers (``qemu_group.qemu_group``)."""
        return await qemu_group(self._hypervisor)


class _Refreshes:
    """The refreshes of one pool: one at a time, and one more for all requests that come meanwhile.

    The volumes of all those requests are looked up in one call after it.
    """

    def __init__(self, hypervisor: Hypervisor, pool: Pool) -> None:
        self._hypervisor = hypervisor
        self._pool = pool
        self._lock = asyncio.Lock()
        self._next: asyncio.Task[dict[str, Volume]] | None = None
        self._wanted: frozenset[str] = frozenset()

    async def request(self, names: frozenset[str]) -> dict[str, Volume]:
        self._wanted |= names
        if self._next is None:
            self._next = asyncio.create_task(self._run(), name=f"refresh of {self._pool.name}")
            self._next.add_done_callback(_look_at)
        # The cancellation of one request must not cancel the others.
        found = await asyncio.shield(self._next)
        return {name: found[name] for name in names if name in found}

    async def _run(self) -> dict[str, Volume]:
        async with self._lock:
            self._next = None
            wanted, self._wanted = self._wanted, frozenset()
            deadline = time.monotonic() + _BUSY_SECONDS
            while (found := await self._hypervisor.call(_refresh, self._pool, wanted)) is None:
                if time.monotonic() > deadline:
                    raise Libvirt(
                        f'Cannot refresh the pool "{self._pool.name}": libvirt has been creating '
                        f"or copying a volume there for {_BUSY_SECONDS:.0f} s. Try again later."
                    )
                await asyncio.sleep(_BUSY_PAUSE)
            return _parsed(found)


def _parsed(descriptions: Iterable[str]) -> dict[str, Volume]:
    return {volume.name: volume for volume in map(parse_volume, descriptions)}


def _look_at(refresh: asyncio.Task[dict[str, Volume]]) -> None:
    """Retrieve the result, so that asyncio does not report it if all requests were cancelled."""
    if not refresh.cancelled():
        refresh.exception()


def _look_up_pool(connection: Connection, name: str) -> tuple[str, bool]:
    pool = connection.storagePoolLookupByName(name)
    return pool.XMLDesc(), bool(pool.isActive())


def _pool_names(connection: Connection) -> list[str]:
    return sorted(pool.name() for pool in connection.listAllStoragePools())


def _look_up(connection: Connection, pool: Pool, names: Set[str]) -> list[str] | None:
    """Describe the volumes of these names; None where libvirt's list and the directory disagree."""
    listed = _listed(connection.storagePoolLookupByUUIDString(pool.uuid), names)
    if listed.keys() != _present(pool, names):
        return None
    return [text for volume in listed.values() for text in _described(volume)]


def _describe(connection: Connection, pool: Pool, names: Set[str]) -> list[str]:
    """Describe those volumes of these names that libvirt and the directory have."""
    present = _present(pool, names)
    listed = _listed(connection.storagePoolLookupByUUIDString(pool.uuid), present)
    return [text for volume in listed.values() for text in _described(volume)]


def _present(pool: Pool, names: Set[str]) -> Set[str]:
    return {name for name in names if (pool.path / name).exists()}


def _listed(pool: _ListedPool, names: Set[str]) -> dict[str, _ListedVolume]:
    """The volumes of these names in libvirt's list.

    The whole list, in one answer, is cheaper than many questions; a few questions are cheaper than
    the list of a large pool.
    """
    if len(names) > _FEW:
        volumes = pool.listAllVolumes()
        return {name: volume for volume in volumes if (name := volume.name()) in names}
    found = {}
    for name in names:
        try:
            found[name] = pool.storageVolLookupByName(name)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_VOL:
                raise
    return found


def _described(volume: _ListedVolume) -> list[str]:
    """Describe a volume; return nothing if its file was just deleted."""
    try:
        return [volume.XMLDesc()]
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_VOL:
            raise
    return []


def _refresh(connection: Connection, pool: Pool, names: Set[str]) -> list[str] | None:
    """Refresh a pool, and describe volumes; None if libvirt cannot refresh it yet."""
    try:
        connection.storagePoolLookupByUUIDString(pool.uuid).refresh()
    except libvirt.libvirtError as error:
        if says_busy(error):
            return None
        raise
    return _describe(connection, pool, names) if names else []
