# SPDX-License-Identifier: LGPL-2.1-or-later
"""What can be done with a pool of files; ``kinds.kind.PoolKind`` says what each method does."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager

from virtlayer.cancellation import to_completion
from virtlayer.errors import Internal
from virtlayer.keeper.beneath import open_directory, opened
from virtlayer.keeper.connection import Hypervisor
from virtlayer.keeper.deletion import delete_volume
from virtlayer.keeper.kinds.directory.claims import DirectoryClaim
from virtlayer.keeper.kinds.directory.domain_files import (
    check_made,
    forget_domain,
    noted_domains,
    remove_domain_files,
    write_domain_files,
)
from virtlayer.keeper.kinds.directory.own_volumes import delete_own_volume
from virtlayer.keeper.kinds.directory.pool_lock import DirectoryLock
from virtlayer.keeper.kinds.directory.pool_thread import in_thread
from virtlayer.keeper.kinds.directory.record_putting import put_record
from virtlayer.keeper.kinds.directory.records import (
    delete_record,
    list_records,
    read_records,
)
from virtlayer.keeper.kinds.directory.registration import register_volumes, withdraw_volume
from virtlayer.keeper.kinds.directory.sweep import sweep
from virtlayer.keeper.kinds.directory.workplace import workplace
from virtlayer.keeper.kinds.domain_note import DomainNote
from virtlayer.keeper.kinds.kind import Claim, Lock, Workplace
from virtlayer.keeper.kinds.machine_storage import FileDisk, MachineStorage
from virtlayer.keeper.kinds.placed import Placed
from virtlayer.keeper.pools import Pools
from virtlayer.keeper.usage import usage_of
from virtlayer.keeper.users import qemu_uid
from virtlayer.protocol.calls import ExpectedVolume, FileStamp, Purpose
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


class DirectoryKind:
    """Pools of libvirt's types dir, fs and netfs.

    Args:
        hypervisor: The connection to libvirt.
        pools: Its pools.
    """

    def __init__(self, hypervisor: Hypervisor, pools: Pools) -> None:
        self._hypervisor = hypervisor
        self._pools = pools

    async def find(self, pool: Pool, names: Collection[str]) -> Mapping[str, FileStamp]:
        """The stamps of the names that exist."""
        return await in_thread(pool, lambda: _files(pool, names))

    async def space(self, pool: Pool) -> int:
        """How many bytes can still be written into a pool.

        libvirt's own figure is as old as the last refresh, so the file system is asked.
        """
        state = await in_thread(pool, lambda: os.statvfs(pool.path))
        return state.f_bavail * state.f_frsize

    async def volumes(
        self, pool: Pool, names: Collection[str], *, refresh: bool
    ) -> Sequence[Volume]:
        """Describe volumes by their names, as libvirt does."""
        if refresh:
            return tuple((await self._pools.volumes(pool, names)).values())
        found = [await self._pools.listed_volume(pool, name) for name in names]
        return [volume for volume in found if volume is not None]

    async def all_volumes(self, pool: Pool, *, refresh: bool) -> Sequence[Volume]:
        """Describe every volume of an active pool, as libvirt does."""
        return await self._pools.all_volumes(pool, refresh=refresh)

    async def users(
        self, pool: Pool, layers: Collection[str] | None, *, of: Collection[str]
    ) -> Usage:
        """The users of the volumes of a pool, by libvirt's lists and the headers of files."""
        del of  # Those of all are found at once.
        if layers is None:
            names = await in_thread(pool, lambda: _names_in(pool))
            layers = frozenset(filter(is_layer_volume, names))
        return await usage_of(self._hypervisor, self._pools, pool, frozenset(layers))

    async def delete(self, lock: Lock, name: str) -> None:
        """Delete a volume that virtlayer has made, and its record."""
        pool = lock.pool
        if not is_layer_volume(name):
            await delete_own_volume(self._hypervisor, self._pools, pool, name)
            return
        # A cancellation takes effect later, because libvirt continues the deletion anyway.
        await to_completion(delete_volume(self._hypervisor, pool, name))
        await _delete_record(pool, name)

    async def claim(self, pool: Pool, names: Iterable[str]) -> Claim:
        """Make a claim on volumes."""
        return await DirectoryClaim.made(pool, names)

    async def lock(self, pool: Pool) -> Lock:
        """Take the lock of a pool."""
        return await DirectoryLock.taken(pool)

    async def sweep(self, pool: Pool) -> int:
        """Remove the files of jobs that no longer run."""
        return await sweep(pool, frozenset({os.geteuid(), qemu_uid() or os.geteuid()}))

    async def list_records(
        self, pool: Pool, since: Stamp | None, known: str | None = None
    ) -> RecordList:
        """List the records of a pool."""
        return await in_thread(pool, lambda: list_records(pool, since, known))

    async def read_records(self, pool: Pool, files: tuple[str, ...]) -> tuple[RecordContents, int]:
        """Read records."""
        found, contents = await in_thread(pool, lambda: read_records(pool, files))
        return found, os.dup(contents)

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
        own_holder = holder if isinstance(holder, DirectoryLock) else _own_claim(holder)
        return await put_record(own_holder, file, expected, content, durable=durable)

    def stage(self, claim: Claim, purpose: Purpose) -> AbstractAsyncContextManager[Workplace]:
        """Have a staging directory for as long as the context lasts."""
        return workplace(self._pools, _own_claim(claim), purpose)

    async def register(
        self,
        pool: Pool,
        expected: Mapping[Placed, ExpectedVolume],
        removing: Callable[[str], AbstractAsyncContextManager[None]],
    ) -> Mapping[str, Volume]:
        """Let libvirt find placed volumes."""
        return await register_volumes(self._pools, pool, expected, removing)

    async def withdraw(self, pool: Pool, placed: Placed) -> None:
        """Remove a placed volume again, if it is ours."""
        await withdraw_volume(self._pools, pool, placed)

    async def check_made(self, pool: Pool, name: str, *, is_directory: bool) -> None:
        """Check that virtlayer has made a volume, which a domain is to use."""
        await in_thread(pool, lambda: check_made(pool, name, is_directory=is_directory))

    def providing(
        self, _pool: Pool, _boot_volumes: Collection[str]
    ) -> AbstractAsyncContextManager[None]:
        """Boot volumes are files of the pool."""
        return contextlib.nullcontext()

    async def machine_storage(self, pool: Pool, disk: str | None) -> MachineStorage:
        """All files are in the directory of the pool."""
        found = None if disk is None else FileDisk(pool.path / disk, pool.chain_format)
        return MachineStorage(found, pool.path)

    async def write_domain_files(
        self,
        pool: Pool,
        uuid: str,
        note: DomainNote,
        files: Mapping[str, int],
        owner: int | None,
    ) -> None:
        """Write the files of a domain."""
        writing = in_thread(pool, lambda: write_domain_files(pool, uuid, note, files, owner))
        await to_completion(writing)

    async def remove_domain_files(self, pool: Pool, names: Iterable[str]) -> None:
        """Remove files of a domain, as far as they exist."""
        await to_completion(in_thread(pool, lambda: remove_domain_files(pool, names)))

    async def forget_domain(self, pool: Pool, uuid: str) -> None:
        """Delete the note about a domain, if there is one."""
        await to_completion(in_thread(pool, lambda: forget_domain(pool, uuid)))

    async def noted_domains(self, pool: Pool) -> Mapping[str, DomainNote]:
        """The notes about the domains of a pool."""
        return await in_thread(pool, lambda: noted_domains(pool))


async def _delete_record(pool: Pool, name: str) -> None:
    record = record_file(RecordKind.LAYER, name)
    await to_completion(asyncio.to_thread(delete_record, pool, record))


def _files(pool: Pool, names: Collection[str]) -> dict[str, FileStamp]:
    found = {}
    with opened(open_directory(pool.path)) as directory:
        for name in names:
            try:
                info = os.stat(name, dir_fd=directory, follow_symlinks=False)
            except FileNotFoundError:
                continue
            found[name] = FileStamp(info.st_ino, info.st_ctime_ns)
    return found


def _names_in(pool: Pool) -> list[str]:
    with opened(open_directory(pool.path)) as directory, os.scandir(directory) as entries:
        return [entry.name for entry in entries]


def _own_claim(holder: Claim | Lock) -> DirectoryClaim:
    if not isinstance(holder, DirectoryClaim):
        raise Internal("The claim is one in a pool of another kind.")
    return holder
