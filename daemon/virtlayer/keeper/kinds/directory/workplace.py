# SPDX-License-Identifier: LGPL-2.1-or-later
"""A staging directory with what is made in it: from an empty directory to a volume with a name."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Sequence

from virtlayer.cancellation import meanwhile, to_completion
from virtlayer.errors import Internal
from virtlayer.keeper.beneath import make_directory, open_beneath
from virtlayer.keeper.failures import refused_by_system
from virtlayer.keeper.kinds.directory.claims import DirectoryClaim
from virtlayer.keeper.kinds.directory.commit import (
    LAYER_MODE,
    FlushedFile,
    flush_volume,
    place_volume,
)
from virtlayer.keeper.kinds.directory.contained import check_contained
from virtlayer.keeper.kinds.directory.directories import flush_directory, place_directory
from virtlayer.keeper.kinds.directory.made import made_disk_format, note_made
from virtlayer.keeper.kinds.directory.own_images import check_boot_volume, check_disk, check_overlay
from virtlayer.keeper.kinds.directory.records import NewRecord
from virtlayer.keeper.kinds.directory.safe_places import check_place
from virtlayer.keeper.kinds.directory.staging import (
    StagingDirectory,
    link_chain,
    staging_directory,
)
from virtlayer.keeper.kinds.placed import Placed
from virtlayer.keeper.kinds.purposes import RECORD_KINDS
from virtlayer.keeper.pools import Pools
from virtlayer.keeper.programs import (
    Backing,
    Place,
    StartedProgram,
    creating_overlay,
    ended,
    running,
)
from virtlayer.keeper.users import layer_readers, qemu_uid
from virtlayer.protocol.calls import Purpose
from virtlayer.protocol.claims import PoolLocked
from virtlayer.protocol.descriptors import OwnedDescriptor
from virtlayer.protocol.layer_names import is_layer_volume
from virtlayer.protocol.pools import Pool
from virtlayer.protocol.programs import (
    STAGED_DIRECTORY,
    STAGED_DISK,
    STAGED_OVERLAY,
    Ended,
    Kind,
    StartProgram,
)
from virtlayer.protocol.records import record_file

_VOLUME_MODE = 0o600
"""For its owner alone: root, whom libvirt exchanges for QEMU's user while a machine runs, or in
session mode the user, who is QEMU's user as well. What is in it may be secret."""
DIRECTORY_PURPOSES = (Purpose.DIRECTORY, Purpose.CONTAINED_DIRECTORY)
QEMU_PURPOSES = (Purpose.LAYERS, Purpose.VOLUME)
"""What QEMU's programs write: the staging directory is their user's."""
_SHARED_PURPOSES = (Purpose.LAYERS, Purpose.BOOT)
"""What several machines share: nobody writes it again, and only QEMU reads it."""


@contextlib.asynccontextmanager
async def workplace(
    pools: Pools, claim: DirectoryClaim, purpose: Purpose
) -> AsyncIterator["DirectoryWorkplace"]:
    """Make a staging directory, which is removed on leaving.

    Args:
        pools: Refreshed if the job fails, so that libvirt lists the volumes that it has finished.
        claim: That of the job.
        purpose: What is made there.

    Raises:
        VirtlayerError: The pool is full, cannot be written, or is not safe for a directory.
    """
    pool = claim.pool
    if purpose in DIRECTORY_PURPOSES and os.geteuid() == 0:
        contained = purpose is Purpose.CONTAINED_DIRECTORY
        await check_place(pool, others_may_enter=contained)
    owner = qemu_uid() if purpose in QEMU_PURPOSES else None
    async with contextlib.AsyncExitStack() as life:
        directory = await life.enter_async_context(staging_directory(pools, claim, owner=owner))
        if purpose in QEMU_PURPOSES:
            # A libvirtd that has not probed its QEMU yet takes seconds: ask meanwhile.
            readers = await life.enter_async_context(meanwhile(layer_readers(pools)))
            yield DirectoryWorkplace(claim, purpose, directory, readers=readers)
        elif purpose is Purpose.BOOT:
            readers = await life.enter_async_context(meanwhile(layer_readers(pools)))
            output = await _output(pool, directory, purpose)
            yield DirectoryWorkplace(claim, purpose, directory, readers=readers, output=output)
        else:
            output = await _output(pool, directory, purpose)
            yield DirectoryWorkplace(claim, purpose, directory, output=output)


class DirectoryWorkplace:
    """A staging directory, and what is finished in it."""

    def __init__(
        self,
        claim: DirectoryClaim,
        purpose: Purpose,
        directory: StagingDirectory,
        *,
        readers: asyncio.Task[int | None] | None = None,
        output: OwnedDescriptor | None = None,
    ) -> None:
        self._claim = claim
        self._pool = claim.pool
        self._purpose = purpose
        self._directory = directory
        self._readers = readers
        self._output = output
        self._flushed: dict[str, FlushedFile] = {}
        self._is_finished = False
        """Whether its directory was checked and flushed."""

    @property
    def direct(self) -> bool:
        """Whether files in it can be written past the page cache."""
        return self._directory.direct

    @property
    def flushes_overlays(self) -> bool:
        """qemu-img has made a new overlay, and has ended."""
        return True

    @contextlib.asynccontextmanager
    async def running(
        self, request: StartProgram, descriptors: Sequence[int]
    ) -> AsyncIterator[StartedProgram]:
        """Run a program in the directory for as long as the context lasts."""
        reads_layers = request.kind is Kind.STORAGE_DAEMON
        readers = await self._layer_readers() if reads_layers else None
        async with running(request, descriptors, self._place(readers)) as program:
            yield program

    async def create_overlay(self, file: str, size: int, backing: str | None) -> Ended:
        """Let qemu-img make an empty overlay, ``STAGED_OVERLAY``.

        Raises:
            Internal: It has another name, or its backing volume is neither a layer nor a disk that
                virtlayer has placed.
        """
        if file != STAGED_OVERLAY or backing is None:
            raise Internal("Such an overlay cannot be created in a directory.")
        volume = Backing(backing, await self._backing_format(backing))
        async with creating_overlay(size, volume, self._place()) as program:
            await program.wait()
        return ended(program)

    def _place(self, readers: int | None = None) -> Place:
        return Place(self._purpose, self._directory.descriptor, self._output, readers)

    async def _backing_format(self, name: str) -> str:
        if is_layer_volume(name):
            return "qcow2"
        found = await asyncio.to_thread(made_disk_format, self._claim.own, name)
        if found is None:
            raise Internal(f"The volume {name} is not a disk that virtlayer has placed.")
        return found

    async def link(self, names: tuple[str, ...]) -> str:
        """Link the layers of a chain, base first; the name of the last one."""
        readers = await self._layer_readers()
        try:
            return await asyncio.to_thread(link_chain, self._directory, names, readers=readers)
        except OSError as error:
            raise refused_by_system(error, self._pool.name, self._pool.path) from error

    async def flush(self, file: str) -> None:
        """Check a finished file or the directory, and flush it.

        Raises:
            VirtlayerError: It is not what it should be, or the pool is full.
        """
        if self._purpose in DIRECTORY_PURPOSES:
            assert self._output is not None
            if self._purpose is Purpose.CONTAINED_DIRECTORY and os.geteuid() == 0:
                await check_contained(self._output)
            await flush_directory(self._output)
            self._is_finished = True
            return
        mode, group = _VOLUME_MODE, None
        if self._purpose in _SHARED_PURPOSES:
            mode, group = LAYER_MODE, await self._layer_readers()
        flushed = await flush_volume(self._pool, self._directory, file, mode=mode, group=group)
        if file in self._flushed:
            flushed.close()
            raise Internal(f"The file {file} was flushed before.")
        self._flushed[file] = flushed

    async def place(self, file: str, name: str, record: int | None) -> Placed:
        """Give a flushed file or directory its name in the pool.

        Raises:
            VirtlayerError: It was not flushed, or must not get a name.
        """
        new = None if record is None else self._new_record(name, record)
        if self._purpose in DIRECTORY_PURPOSES:
            placed = await self._place_directory(name, new)
        else:
            placed = await self._place_file(file, name, new)
        if placed.ours and new is None and self._purpose is not Purpose.LAYERS:
            await to_completion(asyncio.to_thread(note_made, self._claim.own, name))
        return placed

    async def _place_directory(self, name: str, record: NewRecord | None) -> Placed:
        assert self._output is not None
        if not self._is_finished:
            raise Internal("The directory was not flushed.")
        self._is_finished = False
        try:
            return await place_directory(
                self._pool, self._directory, STAGED_DIRECTORY, self._output, name, record
            )
        except PoolLocked:
            # The service asks again.
            self._is_finished = True
            raise

    async def _place_file(self, file: str, name: str, record: NewRecord | None) -> Placed:
        try:
            flushed = self._flushed.pop(file)
        except KeyError:
            raise Internal(f"The file {file} was not flushed.") from None
        with contextlib.ExitStack() as life:
            life.enter_context(flushed)
            try:
                return await place_volume(self._pool, flushed, name, self._check, record)
            except PoolLocked:
                # The service asks again.
                self._flushed[file] = flushed
                life.pop_all()
                raise

    def _check(self, file: int, name: str) -> None:
        """Check that a file may get a name, and that the layers that it needs are still claimed."""
        if self._purpose is Purpose.BOOT:
            check_boot_volume(file, name)
        elif self._purpose in QEMU_PURPOSES:
            check_overlay(file, name, lambda disk: made_disk_format(self._claim.own, disk))
        else:
            check_disk(file, name)
        self._claim.check_held()

    def close(self) -> None:
        """Close what was flushed and not placed."""
        for flushed in self._flushed.values():
            flushed.close()

    def _new_record(self, name: str, content: int) -> NewRecord:
        file = record_file(RECORD_KINDS[self._purpose], name)
        is_of_disk = self._purpose is Purpose.DISK
        return NewRecord(self._claim.own, self._claim.name, file, content, is_of_disk)

    async def _layer_readers(self) -> int | None:
        # The cancellation of one request must not cancel the others.
        return None if self._readers is None else await asyncio.shield(self._readers)


async def _output(pool: Pool, directory: StagingDirectory, purpose: Purpose) -> OwnedDescriptor:
    """Make what a worker writes, and open it."""
    try:
        # In a thread: the pool's file system may not answer.
        return await asyncio.to_thread(_made_output, directory.descriptor, purpose)
    except OSError as error:
        raise refused_by_system(error, pool.name, pool.path) from error


def _made_output(directory: int, purpose: Purpose) -> OwnedDescriptor:
    if purpose in DIRECTORY_PURPOSES:
        return OwnedDescriptor(make_directory(directory, STAGED_DIRECTORY))
    assert purpose in (Purpose.DISK, Purpose.BOOT)
    new = os.O_RDWR | os.O_CREAT | os.O_EXCL
    return OwnedDescriptor(open_beneath(directory, STAGED_DISK, new, 0o600))
