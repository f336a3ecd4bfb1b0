# SPDX-License-Identifier: LGPL-2.1-or-later
"""Staging directories, and how volumes get into pools; see ``keeper.answers.staging``.

The service never sees such a directory, which belongs to the claim of a job.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path

from virtlayer.cancellation import settled, to_completion
from virtlayer.errors import PoolUnavailable
from virtlayer.protocol import calls
from virtlayer.protocol.calls import Placed, Purpose
from virtlayer.protocol.claims import Release
from virtlayer.protocol.pools import Pool, Volume
from virtlayer.protocol.programs import Ended, StartProgram
from virtlayer.service.keeper.claims import Claim, until_unlocked
from virtlayer.service.keeper.connection import KeeperConnection
from virtlayer.service.keeper.programs import Program, running_on
from virtlayer.service.keeper.records import sealed

_LAYER_FORMATS = ("qcow2",)


class Staging:
    """A directory where the unfinished volumes of a job are written.

    Attributes:
        pool: The pool that they are for.
        direct: Whether files in it can be written past the page cache.
        runtime: A directory of the service, for sockets that programs in the directory serve.
    """

    def __init__(
        self, connection: KeeperConnection, pool: Pool, staged: calls.Staged, runtime: Path
    ) -> None:
        self.pool = pool
        self.runtime = runtime
        self.direct = staged.direct
        self._connection = connection
        self._number = staged.staging
        self._removing: asyncio.Task[None] | None = None

    def running(
        self, request: StartProgram, descriptors: Sequence[int]
    ) -> AbstractAsyncContextManager[Program]:
        """Run a program that works in the directory; see ``Programs``."""
        here = replace(request, staging=self._number)
        return running_on(self._connection, here, descriptors)

    async def create_overlay(self, size: int, backing: str) -> Ended:
        """Let qemu-img make an empty overlay, ``STAGED_OVERLAY``, and flush it if it was made.

        A cancellation leaves the program running until the staging directory is removed.

        Args:
            size: Its virtual size in bytes.
            backing: The name of the layer that it is an overlay of; that is not opened.

        Returns:
            How qemu-img ended.

        Raises:
            VirtlayerError: As ``flush``.
        """
        request = calls.CreateOverlay(self._number, size, backing)
        return await self._connection.ask(calls.CREATE_OVERLAY, request)

    async def link(self, names: Sequence[str]) -> str:
        """Let the programs in the directory find the layers of a chain.

        Args:
            names: The layers, base first.

        Returns:
            By which name they find the last one.

        Raises:
            VirtlayerError: The pool does not have the last one.
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
            Internal: The name stands for something else than a new file.
        """
        await self._connection.ask(calls.FLUSH, calls.Flush(self._number, file))

    async def place(
        self, file: str, name: str, *, record: bytes | None = None, build: str | None = None
    ) -> Placed:
        """Give a flushed file or directory its name in the pool, for good when this returns.

        Args:
            file: Its name in the directory.
            name: The volume's name. If a volume of that name exists, it stays: layer volumes of one
                name have one content.
            record: What its record shall say. It is written before the volume has its name, and not
                if there is a volume of that name, or a record of a layer of that name. None for no
                record.
            build: The key of a layer that the claim builds until it is placed.

        Raises:
            VolumeExists: A directory was to be placed, and something has the name.
            VirtlayerError: As ``flush``.
        """
        request = calls.Place(self._number, file, name, build)

        async def place() -> Placed:
            with sealed(record) as descriptors:
                placed, _ = await self._connection.ask_with(calls.PLACE, request, descriptors)
            return placed

        return await until_unlocked(place)

    async def register_volume(
        self, placed: Placed, *, backing: str | None, formats: Collection[str] = _LAYER_FORMATS
    ) -> Volume:
        """Let libvirt find a placed volume, and check that it sees what was made.

        A file that fails here is removed from the pool again. One whose job is cancelled here
        stays: libvirt finds it with the next refresh.

        Args:
            placed: What ``place`` returned.
            backing: The name of the layer that the volume is an overlay of; None if of none.
            formats: What libvirt may take it for.

        Raises:
            Libvirt: libvirt does not see the volume, or sees another format or backing store.
            VolumeExists: Another file has the name, and is another thing.
            PoolNotFound: The pool no longer exists.
            PoolInactive: The pool was stopped meanwhile.
        """
        request = calls.RegisterVolume(self.pool.uuid, placed.name, backing, tuple(formats))
        [volume] = (await self._connection.ask(calls.REGISTER_VOLUME, request)).volumes
        return volume

    async def register_chain(self, chain: Mapping[Placed, str | None]) -> dict[str, Volume]:
        """Let libvirt find the placed volumes of a chain, and check that it sees what was made.

        The first one that it sees otherwise is removed from the pool again, with those that are
        overlays of it. When libvirt cannot look, or does not see one, all stay: they are whole,
        and the next refresh finds them.

        Args:
            chain: What ``place`` returned, base first, and the name of the layer that each is an
                overlay of; None if of none.

        Returns:
            The volumes by their names.

        Raises:
            VirtlayerError: As ``register_volume``.
        """
        links = tuple(calls.ChainLink(placed.name, backing) for placed, backing in chain.items())
        request = calls.RegisterChain(self.pool.uuid, links)
        found = await until_unlocked(
            lambda: self._connection.ask(calls.REGISTER_CHAIN, request), abandons=True
        )
        return {volume.name: volume for volume in found.volumes}

    async def withdraw(self, placed: Placed) -> None:
        """Remove a placed file again, if it is ours; with its record, if it is a layer.

        Raises:
            InUse: It is a layer, and something uses it, or another job counts on it.
            VirtlayerError: libvirt cannot look at the pool.
        """
        if placed.ours:
            request = calls.Withdraw(self.pool.uuid, placed.name)
            await until_unlocked(lambda: self._connection.ask(calls.WITHDRAW, request))

    def let_go(self) -> None:
        """Say that nothing more is written: the directory is removed while the caller goes on.

        What the caller asks the keeper next is asked after that.
        """
        self._begin_removal(failed=False)

    async def remove(self, *, failed: bool) -> None:
        """Remove the directory, unless that has begun, and wait until it is removed.

        Args:
            failed: Whether the job failed: libvirt looks at what it had finished.
        """
        await self._begin_removal(failed=failed)

    def _begin_removal(self, *, failed: bool) -> asyncio.Task[None]:
        if self._removing is None:
            # Started at once: the request is sent before this returns.
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
    """Have a directory made for the unfinished volumes of a job; it is removed on leaving.

    Args:
        claim: That of the job, in the pool that the volumes are for.
        purpose: What is made there.
        runtime: A directory for sockets that programs in the directory serve.

    Raises:
        NoSpace: The pool is full.
        PoolUnsupported: The pool's directory cannot be written, or is not safe for a directory.
        PoolInactive: The pool's directory no longer exists.
        PoolUnavailable: The keeper has ended.
    """
    request = calls.Stage(claim.pool.uuid, claim.number, purpose)

    async def stage() -> Staging:
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
