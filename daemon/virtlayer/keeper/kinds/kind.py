# SPDX-License-Identifier: LGPL-2.1-or-later
"""The interface of all kinds of pools.

Each kind of pool is a folder or module next to this one, and ``known.Kinds`` finds it.
``answers`` uses nothing else of it: numbers, limits and the order of requests are checked there.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from virtlayer.keeper.kinds.domain_note import DomainNote
from virtlayer.keeper.kinds.machine_storage import MachineStorage
from virtlayer.keeper.kinds.placed import Placed
from virtlayer.keeper.programs import StartedProgram
from virtlayer.protocol.calls import ExpectedVolume, FileStamp, Purpose
from virtlayer.protocol.pools import Pool, Usage, Volume
from virtlayer.protocol.programs import Ended, StartProgram
from virtlayer.protocol.records import RecordContents, RecordList, RecordPut, Stamp


class Claim(Protocol):
    """The volumes that a job needs, and the layers that it builds."""

    pool: Pool
    name: str
    """A name that no other claim on any host has."""

    def copy_descriptor(self) -> int:
        """A descriptor that keeps the claim until it is closed, which is the caller's."""

    async def add(self, names: Iterable[str]) -> None:
        """Add volumes, which may not exist yet.

        Raises:
            PoolLocked: Another process has the pool's lock.
            VirtlayerError: They cannot be written.
        """

    async def try_build(self, keys: Iterable[str]) -> frozenset[str]:
        """Try to take the right to build layers; return those that another claim builds."""

    def end_build(self, key: str) -> None:
        """Give up the right to build a layer, which is in the pool."""

    async def end(self) -> None:
        """End the claim and what it builds."""


class Lock(Protocol):
    """The lock of a pool: no other process on any host claims or deletes anything meanwhile."""

    pool: Pool
    in_use: asyncio.Lock
    """Held while something is done that needs the lock, which ends no sooner."""
    taken_at: float
    """When this process had it, by the loop's clock."""

    def claimed(self, *, but_for: str | None = None) -> frozenset[str]:
        """The volumes that the jobs of all hosts need.

        Args:
            but_for: The name of a claim that does not count.
        """

    async def release(self) -> None:
        """End the lock."""


class Workplace(Protocol):
    """Where the unfinished volumes of a job are."""

    @property
    def direct(self) -> bool:
        """Whether files there can be written past the page cache."""

    @property
    def flushes_overlays(self) -> bool:
        """Whether a new overlay is complete, so that nobody writes to it."""

    def running(
        self, request: StartProgram, descriptors: Sequence[int]
    ) -> AbstractAsyncContextManager[StartedProgram]:
        """Run a program there for as long as the context lasts.

        Args:
            request: What the service asks for.
            descriptors: What it passes for it; they stay the caller's.

        Raises:
            Internal: It may not have that program like this.
        """

    async def create_overlay(self, file: str, size: int, backing: str | None) -> Ended:
        """Make an empty overlay.

        Args:
            file: Its name there.
            size: Its virtual size in bytes.
            backing: The volume that it is an overlay of; None if of none.

        Returns:
            How the program that makes it has ended.

        Raises:
            Internal: There can be no such overlay.
            VirtlayerError: It cannot be made.
        """

    async def link(self, names: tuple[str, ...]) -> str:
        """Let programs there find the layers of a chain, base first; the name of the last one."""

    async def flush(self, file: str) -> None:
        """Check a finished file, and wait until it is on disk; no program writes to it now.

        Raises:
            VirtlayerError: It is not what it should be, or the pool is full.
        """

    async def place(self, file: str, name: str, record: int | None) -> Placed:
        """Give a flushed file its name in the pool; nothing there is replaced.

        Args:
            file: What was flushed.
            name: The name of the volume.
            record: A descriptor of a sealed memory file with the record of the volume; None if it
                has none.

        Raises:
            PoolLocked: Another process has the pool's lock; the volume can still be placed.
            VirtlayerError: It was not flushed, or must not get a name.
        """

    def close(self) -> None:
        """Close what is open there."""


class PoolKind(Protocol):
    """A kind of pools, all of one libvirt connection."""

    async def find(self, pool: Pool, names: Collection[str]) -> Mapping[str, FileStamp]:
        """Return which of these volumes exist, without asking libvirt."""

    async def space(self, pool: Pool) -> int | None:
        """How many bytes can still be written into a pool; None if that is unknown."""

    async def volumes(
        self, pool: Pool, names: Collection[str], *, refresh: bool
    ) -> Sequence[Volume]:
        """Describe volumes by their names; those that the pool does not have are left out.

        Args:
            pool: The pool.
            names: The volumes.
            refresh: Whether libvirt may be let look for them.

        Raises:
            PoolNotFound: The pool no longer exists.
            PoolInactive: The pool was stopped meanwhile.
        """

    async def all_volumes(self, pool: Pool, *, refresh: bool) -> Sequence[Volume]:
        """Describe every volume of an active pool.

        Args:
            pool: The pool.
            refresh: Whether to let libvirt look at the pool before.

        Raises:
            VirtlayerError: As ``volumes``; or libvirt cannot look at the pool.
        """

    async def users(
        self, pool: Pool, layers: Collection[str] | None, *, of: Collection[str]
    ) -> Usage:
        """Return the users of the volumes of a pool.

        Args:
            pool: The pool.
            layers: Its own layers, which are not counted as users of other volumes; None for all
                layers in the pool, whichever program made them.
            of: The volumes whose users are needed; those of others, and other volumes, may be left
                out.

        Raises:
            InUse: The users cannot be determined.
        """

    async def delete(self, lock: Lock, name: str) -> None:
        """Delete a volume that virtlayer has made, and its record.

        The caller has checked that nothing uses it.

        Args:
            lock: The lock of the pool.
            name: The volume.

        Raises:
            VolumeNotFound: virtlayer has not made it.
            VirtlayerError: It cannot be deleted.
        """

    async def claim(self, pool: Pool, names: Iterable[str]) -> Claim:
        """Make a claim on volumes.

        Raises:
            PoolLocked: Another process has the pool's lock.
            PoolUnsupported: There can be no claims in the pool.
        """

    async def lock(self, pool: Pool) -> Lock:
        """Take the lock of a pool.

        Raises:
            PoolLocked: Another process has it.
            InUse: The claim of a job cannot be read.
            PoolUnsupported: There can be no lock in the pool.
        """

    async def sweep(self, pool: Pool) -> int:
        """Remove the files of jobs that no longer run, on any host; return the number of jobs."""

    async def list_records(
        self, pool: Pool, since: Stamp | None, known: str | None = None
    ) -> RecordList:
        """List the records of a pool; see ``ListRecords``."""

    async def read_records(self, pool: Pool, files: tuple[str, ...]) -> tuple[RecordContents, int]:
        """Read records; what was found, and a descriptor of the contents, which is the caller's."""

    async def put_record(
        self,
        holder: Claim | Lock,
        file: str,
        expected: Stamp | None,
        content: int | None,
        *,
        durable: bool,
    ) -> RecordPut:
        """Write or delete a record, if it is the expected one; see ``PutRecord``.

        Args:
            holder: A claim or the lock of the pool.
            file: The name of the record's file.
            expected: The stamp of the record that there must be; None if there must be none.
            content: A descriptor of a sealed memory file; None to delete the record.
            durable: See ``PutRecord``.
        """

    def stage(self, claim: Claim, purpose: Purpose) -> AbstractAsyncContextManager[Workplace]:
        """Provide a place for the unfinished volumes of a claim while the context lasts."""

    async def register(
        self,
        pool: Pool,
        expected: Mapping[Placed, ExpectedVolume],
        removing: Callable[[str], AbstractAsyncContextManager[None]],
    ) -> Mapping[str, Volume]:
        """Let libvirt find placed volumes, and check how it describes them.

        A volume that it describes otherwise is removed from the pool, with those that are based on
        it. If libvirt cannot look, layers stay.

        Args:
            pool: The pool.
            expected: What was placed, each before those that are based on it, and how libvirt is
                expected to describe it.
            removing: A volume is removed in its context. Raises InUse if it is a layer that
                something uses.

        Raises:
            Libvirt: libvirt does not list a volume, or describes it otherwise.
            VolumeExists: Another file has the name.
            VirtlayerError: libvirt cannot look at the pool, or a layer cannot be removed.
        """

    async def withdraw(self, pool: Pool, placed: Placed) -> None:
        """Remove a placed volume again, if it is ours, with its record."""

    async def check_made(self, pool: Pool, name: str, *, is_directory: bool) -> None:
        """Check that virtlayer has made a volume, which a domain is to use.

        Args:
            pool: The pool.
            name: The volume.
            is_directory: Whether it must be a directory; otherwise it must be a file.

        Raises:
            VolumeNotFound: There is no such volume of ours.
        """

    def providing(
        self, pool: Pool, boot_volumes: Collection[str]
    ) -> AbstractAsyncContextManager[None]:
        """Have boot volumes as files that a domain can name, at least within the context.

        They stay as long as a domain of this host names them.

        Args:
            pool: The pool.
            boot_volumes: The names of kernels and initrds of ours.

        Raises:
            VolumeNotFound: There is no such volume.
            VirtlayerError: The pool cannot be read, or the file not be written.
        """

    async def machine_storage(self, pool: Pool, disk: str | None) -> MachineStorage:
        """Where a domain finds its disk and its other files.

        Args:
            pool: The pool.
            disk: The volume of its disk; None if it has none.

        Raises:
            VirtlayerError: libvirt cannot be asked.
        """

    async def write_domain_files(
        self,
        pool: Pool,
        uuid: str,
        note: DomainNote,
        files: Mapping[str, int],
        owner: int | None,
    ) -> None:
        """Write the files of a domain; those that were written are removed if one fails.

        Args:
            pool: The pool.
            uuid: The domain.
            note: What is noted first.
            files: Descriptors of the contents, by name.
            owner: The id of the host that they are for; None for this process's user.

        Raises:
            Internal: A file of that name exists.
            VirtlayerError: The pool is full, or cannot be written.
        """

    async def remove_domain_files(self, pool: Pool, names: Iterable[str]) -> None:
        """Remove files of a domain, as far as they exist."""

    async def forget_domain(self, pool: Pool, uuid: str) -> None:
        """Delete the note about a domain, if there is one."""

    async def noted_domains(self, pool: Pool) -> Mapping[str, DomainNote]:
        """The notes about the domains of a pool, of all hosts, by UUID."""
