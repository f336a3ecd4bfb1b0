# SPDX-License-Identifier: LGPL-2.1-or-later
"""Claims: which volumes of a pool the running jobs of all hosts need.

A claim is a file of ``.virtlayer/claims`` that is locked for the life of its job and names volumes,
one a line. It is made, and gets further names, under the pool's lock: the holder of that lock knows
all of them. A claim that is not locked belongs to a job that no longer runs.

A claim also has the right to build layers, one job on all hosts each: for every layer a byte of
``.virtlayer/lock``, by its key. These end with the process that builds, the claim itself lives as
long as the service has a copy of its descriptor.
"""

import asyncio
import contextlib
import functools
import itertools
import os
import secrets
import threading
from collections.abc import Iterable
from typing import Self

from virtlayer.cancellation import to_completion
from virtlayer.errors import Internal, PoolUnavailable, PoolUnsupported
from virtlayer.keeper.beneath import open_beneath, opened
from virtlayer.keeper.calls import ask_server
from virtlayer.keeper.failures import refused_by_system
from virtlayer.keeper.kinds.directory.locks import try_lock, unlock
from virtlayer.keeper.kinds.directory.own_directory import CLAIMS, OwnDirectory
from virtlayer.keeper.kinds.directory.pool_lock import under_lock
from virtlayer.protocol.descriptors import OwnedDescriptor
from virtlayer.protocol.pools import Pool

NAMES_LIMIT = 16_384
"""Volumes of one claim."""
BUILDS_LIMIT = 1024
"""Layers that one claim builds at a time."""
_KEY_BITS = 62
"""Of a key: the number of a byte that can be locked is less than 2**63 - 1, and byte 0 is taken."""


class DirectoryClaim:
    """A claim of one job; ``made`` makes it.

    Args:
        pool: The pool.
    """

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.name = secrets.token_hex(16)
        """A name that no other claim on any host has."""
        self._numbers = itertools.count(1)
        self._names: set[str] = set()
        self._building: set[int] = set()
        self._file: OwnedDescriptor | None = None
        self._own: OwnDirectory | None = None
        self._lock_file: OwnedDescriptor | None = None
        self._locking = threading.Lock()

    @classmethod
    async def made(cls, pool: Pool, names: Iterable[str]) -> Self:
        """Make a claim on volumes.

        Raises:
            PoolLocked: Another process has the pool's lock.
            VirtlayerError: There can be no claim in the pool.
        """
        claim = cls(pool)
        try:
            await under_lock(pool, functools.partial(claim.make, names=names))
        except BaseException:
            await claim.end()
            raise
        return claim

    def copy_descriptor(self) -> int:
        """A descriptor that keeps the claim until it is closed, which is the caller's."""
        return os.dup(_made(self._file))

    @property
    def own(self) -> OwnDirectory:
        """``.virtlayer`` of the pool."""
        return _made(self._own)

    def make(self, own: OwnDirectory, names: Iterable[str]) -> None:
        """Make the claim; the caller has the pool's lock.

        Args:
            own: ``.virtlayer`` of the pool.
            names: The volumes.

        Raises:
            Internal: There are too many names.
            OSError: It cannot be written.
        """
        self._own = own.kept()
        with opened(own.open_part(CLAIMS)) as directory:
            new = os.O_RDWR | os.O_CREAT | os.O_EXCL
            self._file = OwnedDescriptor(open_beneath(directory, self.name, new, 0o600))
        if not try_lock(self._file):
            raise Internal(f"Another process has locked the new claim {self.name}.")
        self._write(names)

    async def add(self, names: Iterable[str]) -> None:
        """Add volumes.

        Raises:
            PoolLocked: Another process has the pool's lock.
            Internal: There are too many.
            VirtlayerError: They cannot be written.
        """
        if not self._names.issuperset(names):
            await under_lock(self.own, lambda _own: self._write(names))

    def _write(self, names: Iterable[str]) -> None:
        file = _made(self._file)
        new = set(names) - self._names
        if len(new) + len(self._names) > NAMES_LIMIT:
            raise Internal(f"A claim has at most {NAMES_LIMIT} volumes.")
        text = "".join(f"{name}\n" for name in sorted(new)).encode()
        end = os.fstat(file).st_size
        try:
            while text:
                written = os.pwrite(file, text, os.fstat(file).st_size)
                text = text[written:]
        except OSError:
            os.ftruncate(file, end)
            raise
        self._names |= new

    def staging_name(self) -> str:
        """The name of a new staging directory of the claim."""
        return f"{self.name}-{next(self._numbers)}"

    async def try_build(self, keys: Iterable[str]) -> frozenset[str]:
        """Take the right to build layers, without waiting.

        Args:
            keys: Of the layers: 64 hexadecimal digits each.

        Returns:
            The keys of the layers that another claim builds.

        Raises:
            Internal: There are too many.
            VirtlayerError: Nothing can be locked there.
        """
        try:
            return await asyncio.to_thread(self._try_build, tuple(keys))
        except OSError as error:
            raise refused_by_system(error, self.pool.name, self.pool.path) from error

    def _try_build(self, keys: Iterable[str]) -> frozenset[str]:
        # Two requests must not open the file for one description each.
        with self._locking:
            return self._locked(keys)

    def _locked(self, keys: Iterable[str]) -> frozenset[str]:
        wanted = {key: _byte(key) for key in keys}
        if len(self._building.union(wanted.values())) > BUILDS_LIMIT:
            raise Internal(f"A claim builds at most {BUILDS_LIMIT} layers.")
        if self._lock_file is None:
            self._lock_file = OwnedDescriptor(self.own.open_lock_file())
        taken = {key for key, byte in wanted.items() if try_lock(self._lock_file, byte, 1)}
        self._building.update(wanted[key] for key in taken)
        return frozenset(wanted.keys() - taken)

    def check_held(self) -> None:
        """Check that no other host has swept the claim while the pool's server was unreachable.

        Raises:
            PoolUnavailable: A host has: volumes that the job needs may have been deleted.
            OSError: The server does not answer.
        """
        file = _made(self._file)
        ask_server(file)
        if os.fstat(file).st_nlink == 0:
            raise PoolUnavailable(
                f'The claim of this job on the pool "{self.pool.name}" was removed. This host may '
                "have had no connection to the pool's server for too long. Try again."
            )

    def end_build(self, key: str) -> None:
        """Give up the right to build a layer, which is in the pool."""
        byte = _byte(key)
        lock_file = self._lock_file
        if lock_file is not None and byte in self._building:
            self._building.discard(byte)
            unlock(lock_file, byte, 1)

    async def end(self) -> None:
        """End the claim and what it builds; nothing happens if it was never made."""
        await to_completion(asyncio.to_thread(self._end))

    def _end(self) -> None:
        if self._own is not None and self._file is not None:
            # What cannot be removed is not locked, and a sweep finds it.
            with (
                contextlib.suppress(OSError, PoolUnsupported),
                opened(self._own.open_part(CLAIMS)) as directory,
            ):
                os.unlink(self.name, dir_fd=directory)
        for descriptor in (self._file, self._lock_file):
            if descriptor is not None:
                # Not closed: another thread may be using it, and nobody else refers to it.
                unlock(descriptor)
        self._file = self._lock_file = self._own = None


def _byte(key: str) -> int:
    return 1 + (int(key, 16) >> (256 - _KEY_BITS))


def _made[T](part: T | None) -> T:
    if part is None:
        raise Internal("The claim was not made.")
    return part
