# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pools and their volumes, as the keeper reports them; see ``keeper.answers.pools``."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from virtlayer.errors import PoolUnavailable, VirtlayerError
from virtlayer.protocol import calls
from virtlayer.protocol.asking import sent_error
from virtlayer.protocol.claims import PoolLocked
from virtlayer.protocol.pools import Pool, PoolState, Usage, Volume
from virtlayer.service.keeper.claims import PoolLock
from virtlayer.service.keeper.connection import KeeperLink


@dataclass(frozen=True, slots=True)
class Deletion:
    """The result of a deletion of layer volumes.

    Attributes:
        names: The volumes that no longer exist.
        error: The reason why the next volume was not deleted; None if all were.
    """

    names: tuple[str, ...]
    error: VirtlayerError | None


class Pools:
    """The storage pools of libvirt."""

    def __init__(self, link: KeeperLink) -> None:
        self._link = link

    async def keeper_is_root(self) -> bool:
        """Return whether the keeper may change the owner of files."""
        return (await self._link.ask(calls.HELLO, calls.Nothing())).root

    async def states(self) -> tuple[PoolState, ...]:
        """Return all pools that libvirt has, of any kind, with their states."""
        return (await self._link.ask(calls.LIST_POOLS, calls.Nothing())).pools

    async def get(self, name: str) -> Pool:
        """Look up a pool that can hold backing chains.

        Raises:
            PoolNotFound: There is no such pool; the message lists the existing pools.
            PoolUnsupported: It is not of a type whose volumes are files in a directory.
            PoolInactive: It is not started.
        """
        return await self._link.ask(calls.FIND_POOL, calls.NamedPool(name))

    async def volume(self, pool: Pool, name: str) -> Volume | None:
        """Look up one volume; None if the pool does not have it."""
        return (await self.volumes(pool, [name])).get(name)

    async def volumes(self, pool: Pool, names: Iterable[str]) -> dict[str, Volume]:
        """Look up volumes by their names; missing volumes are omitted.

        If libvirt's list and the directory disagree about one of them, because another program has
        created or deleted a file, the pool is refreshed first.

        Raises:
            PoolNotFound: The pool no longer exists.
            PoolInactive: The pool was stopped meanwhile.
        """
        wanted = tuple(frozenset(names))
        if not wanted:
            return {}
        request = calls.FindVolumes(pool.uuid, wanted, refresh=True)
        found = await self._link.ask(calls.FIND_VOLUMES, request)
        return {volume.name: volume for volume in found.volumes}

    async def listed_volume(self, pool: Pool, name: str) -> Volume | None:
        """Look up one volume without a refresh of the pool, which not every caller may start.

        Returns:
            None if libvirt does not list the volume or its file does not exist.
        """
        request = calls.FindVolumes(pool.uuid, (name,), refresh=False)
        found = (await self._link.ask(calls.FIND_VOLUMES, request)).volumes
        return found[0] if found else None

    async def all_volumes(self, pool: Pool, *, refresh: bool = False) -> tuple[Volume, ...]:
        """Return every volume of an active pool.

        Args:
            pool: The pool.
            refresh: Whether to refresh the pool in libvirt before, at least once from now on.
                Without this, the volumes are those of libvirt's last refresh.

        Raises:
            Libvirt: libvirt cannot read the pool, or other work in it does not end.
            PoolNotFound: The pool no longer exists.
            PoolInactive: The pool is not active.
        """
        request = calls.FindVolumes(pool.uuid, None, refresh=refresh)
        return (await self._link.ask(calls.FIND_VOLUMES, request)).volumes

    async def inodes(self, pool: Pool, names: Iterable[str]) -> dict[str, int]:
        """Return the inodes of these names in the pool's directory; libvirt is not asked."""
        found = await self.files(pool, names)
        return {name: stamp.inode for name, stamp in found.items()}

    async def files(self, pool: Pool, names: Iterable[str]) -> dict[str, calls.FileStamp]:
        """Return the files of these names in the pool's directory; libvirt is not asked."""
        request = calls.NamedFiles(pool.uuid, tuple(names))
        return dict((await self._link.ask(calls.FIND_FILES, request)).files)

    async def space(self, pool: Pool) -> int | None:
        """Return the number of free bytes in the pool; None if that is unknown."""
        return (await self._link.ask(calls.SPACE, calls.KnownPool(pool.uuid))).bytes

    async def usage(self, pool: Pool, layers: Collection[str]) -> Usage:
        """Find everything that may need a volume of a pool.

        Args:
            pool: The pool.
            layers: The names of the known layers, which do not count as users of other layers.

        Raises:
            InUse: A chain cannot be read.
            VirtlayerError: libvirt cannot read the pool.
        """
        return await self._link.ask(calls.USERS, calls.Layers(pool.uuid, tuple(layers)))

    async def delete(self, lock: PoolLock, layers: Iterable[str]) -> Deletion:
        """Delete layer volumes in this order, up to the first that cannot be deleted.

        Their records are deleted with them.

        Args:
            lock: The lock of the pool.
            layers: The names of the layers, overlays before their backing layers.
        """
        pool = lock.pool
        names = tuple(layers)
        try:
            request = calls.Delete(pool.uuid, lock.number, names)
            done = await lock.connection.ask(calls.DELETE, request)
        except PoolUnavailable as error:
            # The keeper has ended; the pool shows which volumes were deleted.
            left = await self.inodes(pool, names)
            return Deletion(tuple(name for name in names if name not in left), error)
        reason = sent_error(done.error, done.text) if done.error else None
        return Deletion(done.names, reason)

    async def sweep(self, pool: Pool) -> int | None:
        """Remove the leftovers of jobs that no longer run, on any host.

        Returns:
            The number of these jobs; None if another process has the pool's lock, for example for a
            deletion: then nothing was removed.

        Raises:
            VirtlayerError: The pool cannot be used.
        """
        try:
            return (await self._link.ask(calls.SWEEP, calls.KnownPool(pool.uuid))).number
        except PoolLocked:
            return None
