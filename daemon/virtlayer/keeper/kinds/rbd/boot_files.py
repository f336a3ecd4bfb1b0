# SPDX-License-Identifier: LGPL-2.1-or-later
"""The files that machines on an RBD pool boot with.

The pool has kernels and initrds as images, from which any host makes its local files, also if one
was lost. Configurations and seeds are local only: they can have secrets, and belong to one host.
"""

import asyncio
import contextlib
import hashlib
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from virtlayer.errors import Internal, VolumeNotFound
from virtlayer.keeper.kinds.domain_note import DomainNote
from virtlayer.keeper.local_boot.files import LocalFiles
from virtlayer.keeper.local_boot.notes import LocalNotes
from virtlayer.keeper.pools import Pools
from virtlayer.keeper.users import layer_readers
from virtlayer.protocol import rbd
from virtlayer.protocol.boot_names import digest_in_name
from virtlayer.protocol.calls import Call
from virtlayer.protocol.descriptors import OwnedDescriptor
from virtlayer.protocol.memory_files import new_memory_file, seal
from virtlayer.protocol.pools import Pool
from virtlayer.sizes import MIB

_FILE_LIMIT = 256 * MIB
"""Bytes of a kernel or an initrd; workers write no more."""


class Asking(Protocol):
    """A connection to the process of an RBD pool."""

    async def ask[Q, R](self, call: Call[Q, R], request: Q, descriptors: Sequence[int]) -> R:
        """Send a request with descriptors, which stay the caller's."""


class BootFiles:
    """The boot files of the machines of one libvirt on RBD pools.

    Args:
        local: The local files.
        pools: The pools of the connection.
    """

    def __init__(self, local: LocalFiles, pools: Pools) -> None:
        self._local = local
        self._notes = LocalNotes(local.path)
        self._pools = pools
        self._copying: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """For each pool, held while the content of a file is in memory: there is one at a time."""

    @property
    def directory(self) -> Path:
        """The directory of the local files."""
        return self._local.path

    @contextlib.asynccontextmanager
    async def providing(
        self, pool: Pool, process: Asking, names: Collection[str]
    ) -> AsyncIterator[None]:
        """Have kernels and initrds of a pool as local files, at least within the context.

        Args:
            pool: The pool.
            process: Its process.
            names: Their names.

        Raises:
            VolumeNotFound: The pool does not have one, or another content under its name.
            VirtlayerError: The pool cannot be read, or the file not be written.
        """
        async with self._local.keeping(names):
            for name in sorted(await self._local.missing(names)):
                await self._restore(pool, process, name)
            yield

    async def store(
        self, pool: Pool, process: Asking, staging: int, file: str, written: OwnedDescriptor
    ) -> str:
        """Store a file that a worker has written as an image in a staging place.

        Args:
            pool: The pool.
            process: Its process.
            staging: The number of the staging place there.
            file: The short name of the new image.
            written: The file. It can still change, so what is stored is a copy.

        Returns:
            The SHA-256 digest of its content, as hexadecimal digits.

        Raises:
            Internal: It is too large.
            VirtlayerError: It cannot be stored.
        """
        async with self._copying[pool.uuid]:
            content = await asyncio.to_thread(_sealed_copy, written)
            await process.ask(rbd.STORE_FILE, rbd.StoreFile(staging, file), [content])
            return await asyncio.to_thread(_sha256, content)

    async def new_file(self) -> OwnedDescriptor:
        """Open a file without a name, for a worker that writes a kernel or an initrd.

        Raises:
            VirtlayerError: It cannot be made.
        """
        return await self._local.new_file()

    async def write(
        self, pool: Pool, uuid: str, note: DomainNote, files: Mapping[str, int]
    ) -> None:
        """Write the files of a domain; those that were written are removed if one fails.

        Args:
            pool: The pool of its volume.
            uuid: The domain.
            note: What is noted first.
            files: Descriptors of the contents, by name.

        Raises:
            Internal: A file of that name exists.
            VirtlayerError: They cannot be written.
        """
        await self._notes.add(pool.uuid, uuid, note)
        written: list[str] = []
        try:
            for name, content in files.items():
                await self._local.add_own(name, content)
                written.append(name)
        except BaseException:
            await self._local.remove(written)
            raise

    async def remove(self, names: Iterable[str]) -> None:
        """Remove files of a domain, as far as they exist."""
        await self._local.remove(names)

    async def forget(self, uuid: str) -> None:
        """Delete the note about a domain, if there is one."""
        await self._notes.forget(uuid)

    async def noted(self, pool: Pool) -> Mapping[str, DomainNote]:
        """The notes about the domains of this host in a pool, by UUID."""
        return await self._notes.of_pool(pool.uuid)

    async def _restore(self, pool: Pool, process: Asking, name: str) -> None:
        async with self._copying[pool.uuid]:
            content = new_memory_file()
            try:
                await process.ask(rbd.READ_FILE, rbd.ImageName(name), [content])
                # The process reads from the network: from here on, it changes nothing.
                seal(content)
                await asyncio.to_thread(_check, content, name)
            except VolumeNotFound as error:
                raise VolumeNotFound(
                    f'The pool "{pool.name}" has no intact image "{name}". If it is damaged, '
                    f'delete it with "rbd rm {pool.path}/{name}": the next machine of the same '
                    "image makes it again. To start a machine that was made before, copy "
                    f"{self._local.path / name} from another host."
                ) from error
            await self._local.add_shared(name, content, await layer_readers(self._pools))


def _sealed_copy(file: int) -> OwnedDescriptor:
    size, position = os.fstat(file).st_size, 0
    if size > _FILE_LIMIT:
        raise Internal(f"A worker has written a kernel or an initrd of {size} bytes.")
    content = new_memory_file()
    while position < size:
        copied = os.sendfile(content, file, position, size - position)
        if not copied:
            raise Internal("A kernel or an initrd became shorter when it was finished.")
        position += copied
    seal(content)
    return content


def _check(content: int, name: str) -> None:
    if os.fstat(content).st_size > _FILE_LIMIT or _sha256(content) != digest_in_name(name):
        raise VolumeNotFound(f'"{name}" has another content than its name says.')


def _sha256(content: int) -> str:
    with open(content, "rb", closefd=False) as file:
        file.seek(0)
        return hashlib.file_digest(file, "sha256").hexdigest()
