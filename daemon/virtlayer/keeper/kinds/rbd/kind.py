# SPDX-License-Identifier: LGPL-2.1-or-later
"""What can be done with an RBD pool; ``kinds.kind.PoolKind`` says what each method does.

The process of the pool does it (``virtlayer.rbd``). libvirt is asked for the pool's description,
the key and domains; what it lists follows in the background.
"""

import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager

from virtlayer.cancellation import to_completion
from virtlayer.errors import Internal, PoolUnavailable, VolumeExists, VolumeNotFound
from virtlayer.keeper.connection import Hypervisor
from virtlayer.keeper.kinds.domain_note import DomainNote
from virtlayer.keeper.kinds.kind import Claim, Lock, Workplace
from virtlayer.keeper.kinds.machine_storage import MachineStorage, RbdDisk
from virtlayer.keeper.kinds.placed import Placed
from virtlayer.keeper.kinds.rbd.boot_files import BootFiles
from virtlayer.keeper.kinds.rbd.boot_workplace import boot_place
from virtlayer.keeper.kinds.rbd.claims import (
    RbdClaim,
    RbdLock,
    new_claim,
    new_lock,
    own_claim,
    own_lock,
)
from virtlayer.keeper.kinds.rbd.images import find_images, stamp_of, volume_of
from virtlayer.keeper.kinds.rbd.listing import LibvirtLists
from virtlayer.keeper.kinds.rbd.process import Connect
from virtlayer.keeper.kinds.rbd.processes import RbdProcesses
from virtlayer.keeper.kinds.rbd.received import received_records
from virtlayer.keeper.kinds.rbd.secret import secret_uuid
from virtlayer.keeper.kinds.rbd.users import rbd_users
from virtlayer.keeper.kinds.rbd.workplace import staging_place
from virtlayer.keeper.local_boot.files import LocalFiles
from virtlayer.keeper.pools import Pools
from virtlayer.protocol import rbd
from virtlayer.protocol.calls import Call, ExpectedVolume, FileStamp, Nothing, Purpose
from virtlayer.protocol.layer_names import is_layer_volume
from virtlayer.protocol.pools import Pool, Usage, Volume
from virtlayer.protocol.records import (
    RecordContents,
    RecordKind,
    RecordList,
    RecordPut,
    Stamp,
    record_file,
)


class RbdKind:
    """Pools of libvirt's type rbd.

    Args:
        hypervisor: The connection to libvirt.
        pools: Its pools.
        connect: Connects to a new process for a pool.
        local_files: The local files of machines.
    """

    def __init__(
        self, hypervisor: Hypervisor, pools: Pools, connect: Connect, local_files: LocalFiles
    ) -> None:
        self._hypervisor = hypervisor
        self._boot_files = BootFiles(local_files, pools)
        self._processes = RbdProcesses(hypervisor, connect)
        self._lists = LibvirtLists(pools, self._processes)

    async def close(self) -> None:
        """End the processes of the pools."""
        await self._lists.close()
        await self._processes.close()

    async def find(self, pool: Pool, names: Collection[str]) -> Mapping[str, FileStamp]:
        """Return which of these images exist."""
        images = await self._images(pool, names)
        return {image.name: stamp_of(image) for image in images}

    async def space(self, pool: Pool) -> int | None:
        """How many bytes can still be written; None if the cluster does not tell."""
        space = await self._ask(pool, rbd.SPACE, Nothing())
        return space.available if space.capacity else None

    async def volumes(
        self, pool: Pool, names: Collection[str], *, refresh: bool
    ) -> Sequence[Volume]:
        """Describe images by their names."""
        del refresh  # The cluster is asked.
        return [volume_of(pool, image) for image in await self._images(pool, names)]

    async def all_volumes(self, pool: Pool, *, refresh: bool) -> Sequence[Volume]:
        """Describe every image of a pool."""
        # Who wants a refresh compares names, and who wants none shows sizes.
        images = await find_images(await self._processes.of(pool), None, measure=not refresh)
        return [volume_of(pool, image) for image in images]

    async def users(
        self, pool: Pool, layers: Collection[str] | None, *, of: Collection[str]
    ) -> Usage:
        """The users of images."""
        own = None if layers is None else frozenset(layers)
        return await rbd_users(self._hypervisor, self._processes, pool, own, of)

    async def delete(self, lock: Lock, name: str) -> None:
        """Delete an image that virtlayer has made, and its record."""
        held = own_lock(lock)
        kind = RecordKind.LAYER if is_layer_volume(name) else RecordKind.VOLUME
        request = rbd.DeleteImage(held.number, name, record_file(kind, name))
        await to_completion(held.process.ask(rbd.DELETE, request))
        self._lists.changed(lock.pool, name)

    async def claim(self, pool: Pool, names: Iterable[str]) -> RbdClaim:
        """Make a claim on volumes."""
        return await new_claim(await self._processes.of(pool), pool, names)

    async def lock(self, pool: Pool) -> RbdLock:
        """Take the lock of a pool."""
        return await new_lock(await self._processes.of(pool), pool)

    async def sweep(self, pool: Pool) -> int:
        """Remove what jobs left that no longer run."""
        return (await self._ask(pool, rbd.SWEEP, Nothing())).number

    async def list_records(
        self, pool: Pool, since: Stamp | None, known: str | None = None
    ) -> RecordList:
        """List the records of a pool."""
        del known  # The stamp tells each change of the table from the next one.
        return await self._ask(pool, rbd.LIST_RECORDS, rbd.ListRecords(since))

    async def read_records(self, pool: Pool, files: tuple[str, ...]) -> tuple[RecordContents, int]:
        """Read records; what was found, and a descriptor of the contents."""
        process = await self._processes.of(pool)
        found, descriptors = await process.ask_with(rbd.READ_RECORDS, rbd.ReadRecords(files), ())
        return found, received_records(descriptors)

    async def put_record(
        self,
        holder: Claim | Lock,
        file: str,
        expected: Stamp | None,
        content: int | None,
        *,
        durable: bool,
    ) -> RecordPut:
        """Write or delete a record."""
        del durable  # The cluster has everything on disk when it replies.
        held = own_lock(holder) if isinstance(holder, RbdLock) else own_claim(holder)
        request = rbd.PutRecord(file, expected, held.number)
        descriptors = [] if content is None else [content]
        return await to_completion(held.process.ask(rbd.PUT_RECORD, request, descriptors))

    def stage(self, claim: Claim, purpose: Purpose) -> AbstractAsyncContextManager[Workplace]:
        """Have a staging place for as long as the context lasts."""
        if purpose is Purpose.BOOT:
            return boot_place(own_claim(claim), self._boot_files)
        return staging_place(own_claim(claim), purpose)

    async def register(
        self,
        pool: Pool,
        expected: Mapping[Placed, ExpectedVolume],
        removing: Callable[[str], AbstractAsyncContextManager[None]],
    ) -> Mapping[str, Volume]:
        """Check how the cluster describes placed images, and let libvirt list them soon.

        Nothing is removed: what is placed was checked, and cannot change.
        """
        del removing
        process = await self._processes.of(pool)
        names = [placed.path.name for placed in expected]
        found = {image.name: image for image in await find_images(process, names)}
        for placed, one in expected.items():
            _check(pool, found.get(placed.path.name), placed, one)
        for name in names:
            self._lists.changed(pool, name)
        return {name: volume_of(pool, image) for name, image in found.items()}

    async def withdraw(self, pool: Pool, placed: Placed) -> None:
        """Remove a placed image again, if it is ours, with its record."""
        if placed.ours:
            process, name = await self._processes.of(pool), placed.path.name
            await to_completion(process.ask(rbd.WITHDRAW, rbd.ImageName(name)))
            self._lists.changed(pool, name)

    async def check_made(self, pool: Pool, name: str, *, is_directory: bool) -> None:
        """Check that virtlayer has made an image, which a domain is to use."""
        images = [] if is_directory else await self._images(pool, [name])
        if not any(image.made for image in images):
            raise VolumeNotFound(
                f'The pool "{pool.name}" has no volume "{name}" that was made by virtlayer.'
            )

    @contextlib.asynccontextmanager
    async def providing(self, pool: Pool, boot_volumes: Collection[str]) -> AsyncIterator[None]:
        """Have kernels and initrds as local files, at least within the context."""
        process = await self._processes.of(pool)
        async with self._boot_files.providing(pool, process, boot_volumes):
            yield

    async def machine_storage(self, pool: Pool, disk: str | None) -> MachineStorage:
        """A disk is an image of the cluster; all other files are local."""
        found = None
        if disk is not None:
            source = (await self._processes.of(pool)).source
            found = RbdDisk(
                pool=source.pool,
                image=disk,
                monitors=source.monitors,
                user=source.user,
                secret=await secret_uuid(self._hypervisor, pool.name, source.secret),
            )
        return MachineStorage(found, self._boot_files.directory)

    async def write_domain_files(
        self,
        pool: Pool,
        uuid: str,
        note: DomainNote,
        files: Mapping[str, int],
        owner: int | None,
    ) -> None:
        """Write the files of a domain."""
        if owner is not None:
            raise Internal("A container has no files in an RBD pool.")
        await self._boot_files.write(pool, uuid, note, files)

    async def remove_domain_files(self, pool: Pool, names: Iterable[str]) -> None:
        """Remove files of a domain."""
        del pool  # Its UUID is in their names.
        await self._boot_files.remove(names)

    async def forget_domain(self, pool: Pool, uuid: str) -> None:
        """Delete the note about a domain."""
        del pool
        await self._boot_files.forget(uuid)

    async def noted_domains(self, pool: Pool) -> Mapping[str, DomainNote]:
        """The notes about the domains of this host."""
        return await self._boot_files.noted(pool)

    async def _images(self, pool: Pool, names: Collection[str] | None) -> list[rbd.RbdImage]:
        process = await self._processes.of(pool)
        return await find_images(process, names)

    async def _ask[Q, R](self, pool: Pool, call: Call[Q, R], request: Q) -> R:
        return await (await self._processes.of(pool)).ask(call, request)


def _check(
    pool: Pool, image: rbd.RbdImage | None, placed: Placed, expected: ExpectedVolume
) -> None:
    name = placed.path.name
    if image is None:
        raise PoolUnavailable(
            f'The image "{name}" in the pool "{pool.name}" was deleted during the job. Try again.'
        )
    # The parent of a layer that was there may have been merged into it.
    if not image.made or (placed.ours and image.parent != (expected.backing or "")):
        raise VolumeExists(
            f'An image "{name}" was created in the pool "{pool.name}" during the job by another '
            "program. Delete it and try again."
        )
