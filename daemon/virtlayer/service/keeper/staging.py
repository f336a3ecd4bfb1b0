# SPDX-License-Identifier: LGPL-2.1-or-later
"""Staging directories, and the placement of volumes in pools; see ``keeper.answers.staging``.

The service never accesses a staging directory, which belongs to the claim of a job.
"""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path

from virtlayer.cancellation import settled, to_completion
from virtlayer.errors import PoolUnavailable
from virtlayer.protocol import calls
from virtlayer.protocol.asking import Connection
from virtlayer.protocol.calls import Placed, Purpose
from virtlayer.protocol.claims import Release
from virtlayer.protocol.pools import Pool, Volume
from virtlayer.protocol.programs import Ended, StartProgram
from virtlayer.service.keeper.claims import Claim, until_unlocked
from virtlayer.service.keeper.programs import Program, running_on
from virtlayer.service.keeper.records import sealed


class Staging:
    """A directory where the unfinished volumes of a job are written.

    Attributes:
        pool: The pool for the volumes.
        direct: Whether files in the directory support direct I/O.
        runtime: A directory of the service, for sockets that programs in the directory serve.
    """

    def __init__(
        self, connection: Connection, pool: Pool, staged: calls.Staged, runtime: Path
    ) -> None:
        self.pool = pool
        self.runtime = runtime
        self.direct = staged.direct
        self._connection = connection
        self._number = staged.staging
        self._placed: list[Placed] = []
        self._removing: asyncio.Task[None] | None = None

    def running(
        self, request: StartProgram, descriptors: Sequence[int]
    ) -> AbstractAsyncContextManager[Program]:
        """Run a program that works in the directory; see ``Programs``."""
        here = replace(request, staging=self._number)
        return running_on(self._connection, here, descriptors)

    async def create_overlay(self, file: str, size: int, backing: str | None) -> Ended:
        """Create an empty overlay; see ``CreateOverlay``.

        A cancellation leaves qemu-img running until the staging directory is removed.

        Args:
            file: The name in the staging directory.
            size: The virtual size in bytes.
            backing: The name of the backing layer, which is not opened.

        Returns:
            The exit status and output of qemu-img; 0 in an RBD pool.

        Raises:
            VirtlayerError: See ``flush``.
        """
        request = calls.CreateOverlay(self._number, file, size, backing)
        return await self._connection.ask(calls.CREATE_OVERLAY, request)

    async def link(self, names: Sequence[str]) -> str:
        """Make the layers of a chain accessible to the programs in the directory.

        Args:
            names: The layers, base first.

        Returns:
            The name of the last layer in the directory.

        Raises:
            VirtlayerError: The pool does not have the last layer.
        """
        request = calls.Link(self._number, tuple(names))
        return (await self._connection.ask(calls.LINK, request)).name

    async def flush(self, file: str) -> None:
        """Check a finished file or directory, and wait until all of it is on disk.

        Args:
            file: Its name in the directory.

        Raises:
            NoSpace: The pool is full.
            PoolUnsupported: The pool's directory cannot be written.
            PoolInactive: The pool's directory no longer exists.
            Internal: The name does not refer to a new file.
        """
        await self._connection.ask(calls.FLUSH, calls.Flush(self._number, file))

    async def place(
        self, file: str, name: str, *, record: bytes | None = None, build: str | None = None
    ) -> Placed:
        """Move a flushed file or directory into the pool; it is on disk when this returns.

        Args:
            file: Its name in the directory.
            name: The volume's name. An existing volume of that name is kept, because layer volumes
                of the same name have the same content.
            record: The content of its record; None for no record. It is written before the volume
                has its name. It is not written if a volume or a layer record of that name exists.
            build: The key of a layer that the claim builds until it is placed.

        Raises:
            VolumeExists: A directory was to be placed, but the name exists.
            VirtlayerError: See ``flush``.
        """
        request = calls.Place(self._number, file, name, build)

        async def place() -> Placed:
            with sealed(record) as descriptors:
                placed, _ = await self._connection.ask_with(calls.PLACE, request, descriptors)
            # Here: after a cancellation, the caller does not get it.
            self._placed.append(placed)
            return placed

        return await until_unlocked(place)

    async def register_volume(
        self, placed: Placed, *, backing: str | None, formats: Collection[str] | None = None
    ) -> Volume:
        """Refresh libvirt's view of a placed volume, and check its format and backing volume.

        A volume that fails the check is removed from the pool; one that is not a layer also if
        libvirt cannot refresh the pool or does not list it. If the job is cancelled here, the file
        is kept, and libvirt finds it with the next refresh.

        Args:
            placed: The result of ``place``.
            backing: The name of the backing layer; None if there is none.
            formats: The formats that libvirt may detect; None for that of chains.

        Raises:
            Libvirt: libvirt does not list the volume, or detects another format or backing store.
            VolumeExists: A different file has the name.
            PoolNotFound: The pool no longer exists.
            PoolInactive: The pool was stopped meanwhile.
        """
        expected = tuple(formats or (self.pool.chain_format,))
        [volume] = await self._register([calls.ExpectedVolume(placed.name, backing, expected)])
        return volume

    async def register_chain(self, chain: Mapping[Placed, str | None]) -> dict[str, Volume]:
        """Refresh libvirt's view of the placed volumes of a chain, and check each of them.

        The first volume that fails the check is removed from the pool, with its overlays. If
        libvirt cannot refresh the pool, or does not list a volume, all volumes are kept: they are
        complete, and the next refresh finds them.

        Args:
            chain: The results of ``place``, base first, each with the name of its backing layer;
                None if there is none.

        Returns:
            The volumes by their names.

        Raises:
            VirtlayerError: See ``register_volume``.
        """
        found = await self._register(
            calls.ExpectedVolume(placed.name, backing, (self.pool.chain_format,))
            for placed, backing in chain.items()
        )
        return {volume.name: volume for volume in found}

    async def _register(self, expected: Iterable[calls.ExpectedVolume]) -> tuple[Volume, ...]:
        request = calls.Register(self.pool.uuid, tuple(expected))
        found = await until_unlocked(
            lambda: self._connection.ask(calls.REGISTER, request), abandons=True
        )
        return found.volumes

    async def withdraw(self) -> None:
        """Remove all that was placed from here, with its records, if this job created it.

        Raises:
            InUse: A layer is in use or claimed by another job.
            VirtlayerError: libvirt cannot read the pool.
        """
        while self._placed:
            placed = self._placed.pop()
            if placed.ours:
                request = calls.Withdraw(self.pool.uuid, placed.name)
                ask = functools.partial(self._connection.ask, calls.WITHDRAW, request)
                await until_unlocked(ask)

    def let_go(self) -> None:
        """Begin to remove the directory without waiting; nothing more is written to it.

        The keeper receives later requests of the caller after this one.
        """
        self._begin_removal(failed=False)

    async def remove(self, *, failed: bool) -> None:
        """Remove the directory, unless the removal has begun, and wait until it is removed.

        Args:
            failed: Whether the job failed; libvirt then refreshes the volumes that it finished.
        """
        await self._begin_removal(failed=failed)

    def _begin_removal(self, *, failed: bool) -> asyncio.Task[None]:
        if self._removing is None:
            # The task starts at once, so the request is sent before this returns.
            loop = asyncio.get_running_loop()
            self._removing = asyncio.Task(
                self._remove(failed=failed), loop=loop, name="removal", eager_start=True
            )
        return self._removing

    async def _remove(self, *, failed: bool) -> None:
        with contextlib.suppress(PoolUnavailable):
            request = Release(self._number, failed)
            await self._connection.ask(calls.RELEASE, request)


@contextlib.asynccontextmanager
async def staging_directory(
    claim: Claim, purpose: Purpose, runtime: Path
) -> AsyncIterator[Staging]:
    """Create a directory for the unfinished volumes of a job; it is removed on exit.

    Args:
        claim: The claim of the job in the pool for the volumes.
        purpose: The kind of the volumes.
        runtime: A directory for sockets that programs in the directory serve.

    Raises:
        NoSpace: The pool is full.
        PoolUnsupported: The pool's directory cannot be written, or is not safe for a directory.
        PoolInactive: The pool's directory no longer exists.
        PoolUnavailable: The keeper has ended.
    """
    request = calls.Stage(claim.pool.uuid, claim.number, purpose)

    async def stage() -> Staging:
        staged = claim.take_staged()
        if staged is None:
            staged = await claim.connection.ask(calls.STAGE, request)
        return Staging(claim.connection, claim.pool, staged, runtime)

    making = asyncio.ensure_future(stage())
    failed = True
    try:
        yield await asyncio.shield(making)
        failed = False
    finally:
        await settled(making)
        if making.exception() is None:
            await to_completion(making.result().remove(failed=failed))
