# SPDX-License-Identifier: LGPL-2.1-or-later
"""The local files of machines: kernels and initrds by digest, configurations and seeds by domain.

A file is written under a name of its own, and gets its final one when all of it is on disk, if no
other has it. What a killed process has left under such a name is removed by a sweep.
"""

import asyncio
import contextlib
import os
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator
from pathlib import Path

from virtlayer.cancellation import to_completion
from virtlayer.errors import Internal
from virtlayer.keeper.beneath import find_regular, link, open_beneath, opened
from virtlayer.keeper.local_boot.place import with_existing_place, with_place
from virtlayer.protocol.boot_names import is_boot_volume
from virtlayer.protocol.descriptors import OwnedDescriptor

_NEW = ".new-"
_OWN_MODE = 0o600
_SHARED_MODE = 0o440
"""Machines share a kernel or an initrd, and none of them writes to it."""


class LocalFiles:
    """The local files for the machines of one libvirt.

    Args:
        path: Their directory, which is made when it is needed.

    Attributes:
        path: As above.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._unfinished: set[str] = set()
        self._kept: Counter[str] = Counter()
        self._sweeping = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def keeping(self, names: Collection[str]) -> AsyncIterator[None]:
        """Keep a sweep from removing files within the context, whether they exist or not."""
        async with self._sweeping:
            self._kept.update(names)
        try:
            yield
        finally:
            self._kept.subtract(names)
            # Without those that count 0.
            self._kept = +self._kept

    async def missing(self, names: Collection[str]) -> frozenset[str]:
        """Return which of these files do not exist.

        Raises:
            VirtlayerError: The directory cannot be used.
        """

        def find(directory: int) -> frozenset[str]:
            return frozenset(name for name in names if not _exists(directory, name))

        return await with_existing_place(self.path, find, frozenset(names))

    async def new_file(self) -> OwnedDescriptor:
        """Open a new file without a name there, for a program that writes to it.

        Raises:
            VirtlayerError: It cannot be made.
        """

        def make(directory: int) -> OwnedDescriptor:
            with self._new(directory) as descriptor:
                return OwnedDescriptor(os.dup(descriptor))

        return await with_place(self.path, make)

    async def add_shared(self, name: str, content: int, readers: int | None) -> None:
        """Write a kernel or an initrd; nothing happens if there is one of that name.

        Args:
            name: Its name, which has the digest of its content.
            content: A descriptor of a sealed memory file, whose digest was checked.
            readers: The gid of the group that reads it; None to leave it.

        Raises:
            VirtlayerError: It cannot be written.
        """

        def write(directory: int) -> None:
            if not _exists(directory, name):
                with contextlib.suppress(FileExistsError):
                    self._write(directory, name, content, _SHARED_MODE, readers)

        await to_completion(with_place(self.path, write))

    async def add_own(self, name: str, content: int) -> None:
        """Write a file of one domain.

        Args:
            name: Its name.
            content: A descriptor of a sealed memory file.

        Raises:
            Internal: A file of that name exists.
            VirtlayerError: It cannot be written.
        """

        def write(directory: int) -> None:
            try:
                self._write(directory, name, content, _OWN_MODE, None)
            except FileExistsError as error:
                raise Internal(
                    f"The file {self.path / name} exists. It was not replaced."
                ) from error

        await to_completion(with_place(self.path, write))

    async def remove(self, names: Iterable[str]) -> None:
        """Remove files, as far as they exist.

        Raises:
            VirtlayerError: The directory cannot be written.
        """

        def remove(directory: int) -> None:
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=directory)

        await to_completion(with_existing_place(self.path, remove, None))

    async def sweep(self, needed: Callable[[], Awaitable[Collection[str]]]) -> None:
        """Remove kernels and initrds that no domain needs, and what killed processes have left.

        Args:
            needed: Finds the names of the files that the domains of this host need.

        Raises:
            VirtlayerError: The directory cannot be used, or the domains cannot be listed.
        """
        # What is needed from now on waits.
        async with self._sweeping:
            kept = self._unfinished | self._kept.keys()
            found = await with_existing_place(self.path, _sweepable, frozenset[str]()) - kept
            if found:
                await self.remove(found.difference(await needed()))

    def _write(
        self, directory: int, name: str, content: int, mode: int, readers: int | None
    ) -> None:
        with self._new(directory) as file:
            size, position = os.fstat(content).st_size, 0
            while position < size:
                position += os.sendfile(file, content, position, size - position)
            if readers is not None:
                os.fchown(file, -1, readers)
            os.fchmod(file, mode)
            os.fsync(file)
            link(file, directory, name)
        os.fsync(directory)

    @contextlib.contextmanager
    def _new(self, directory: int) -> Iterator[int]:
        """A new file under a name that it loses at the end of the context."""
        name = f"{_NEW}{secrets.token_hex(16)}"
        self._unfinished.add(name)
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
            with opened(open_beneath(directory, name, flags, _OWN_MODE)) as file:
                try:
                    yield file
                finally:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(name, dir_fd=directory)
        finally:
            self._unfinished.discard(name)


def _sweepable(directory: int) -> frozenset[str]:
    with os.scandir(directory) as entries:
        names = [entry.name for entry in entries]
    return frozenset(name for name in names if is_boot_volume(name) or name.startswith(_NEW))


def _exists(directory: int, name: str) -> bool:
    with contextlib.suppress(OSError), opened(find_regular(directory, name)):
        return True
    return False
