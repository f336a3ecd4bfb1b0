# SPDX-License-Identifier: LGPL-2.1-or-later
"""The lock of a pool: while it is held, no other process on any host claims or deletes anything.

It is the first byte of ``.virtlayer/lock``. A thread that waits for a lock cannot be cancelled, so
the lock is tried again and again, for as long as one request may take.
"""

import asyncio
import contextlib
import errno
import functools
import itertools
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Self

from virtlayer.cancellation import to_completion
from virtlayer.errors import Internal
from virtlayer.keeper.beneath import opened
from virtlayer.keeper.failures import refused_by_system
from virtlayer.keeper.kinds.directory.live_claims import live_claims
from virtlayer.keeper.kinds.directory.locks import try_lock, unlock
from virtlayer.keeper.kinds.directory.own_directory import (
    LOCK_FILE,
    OWN_DIRECTORY,
    OwnDirectory,
    own_directory,
)
from virtlayer.protocol.claims import PoolLocked
from virtlayer.protocol.descriptors import OwnedDescriptor
from virtlayer.protocol.pools import Pool

_PAUSES = (0.001, 0.002, 0.004, 0.008, 0.016)
"""Seconds between the first attempts: a claim is written in a millisecond."""
_PAUSE = 0.02
_REQUEST_SECONDS = 0.3
"""How long one request waits. The service asks again, unless its job was cancelled meanwhile: a
cancelled job ends within a second."""


class DirectoryLock:
    """The lock of a pool, to be held across requests; ``taken`` takes it."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self._claims: Mapping[str, frozenset[str]] = {}
        self.in_use = asyncio.Lock()
        """Held while something is done that needs the lock."""
        self.taken_at = math.inf
        self._file: OwnedDescriptor | None = None
        self._own: OwnDirectory | None = None

    @classmethod
    async def taken(cls, pool: Pool) -> Self:
        """Wait for the lock.

        Raises:
            PoolLocked: Another process has it for longer than one request waits.
            InUse: The claim of a job cannot be read.
            PoolUnsupported: There can be no lock in the pool.
        """
        lock = cls(pool)
        try:
            await _until_locked(pool, lock._take)
            lock.taken_at = asyncio.get_running_loop().time()
        except BaseException:
            await to_completion(lock.release())
            raise
        return lock

    @property
    def own(self) -> OwnDirectory:
        """``.virtlayer`` of the pool."""
        return _held(self._own)

    def claimed(self, *, but_for: str | None = None) -> frozenset[str]:
        """The names of the volumes that the jobs of all hosts need.

        Args:
            but_for: The name of a claim that does not count.

        Raises:
            Internal: The lock is not held.
        """
        _held(self._file)
        others = (names for claim, names in self._claims.items() if claim != but_for)
        return frozenset().union(*others)

    async def release(self) -> None:
        """End the lock, when nothing is done under it any longer."""
        async with self.in_use:
            if self._file is not None:
                unlock(self._file)
            self._file = self._own = None

    def _take(self) -> None:
        with _taken(self.pool) as (own, file):
            self._claims = live_claims(own)
            self._own = own.kept()
            self._file = OwnedDescriptor(os.dup(file))


async def under_lock[T](place: Pool | OwnDirectory, work: Callable[[OwnDirectory], T]) -> T:
    """Run a function in a thread while this process has a pool's lock.

    Args:
        place: The pool, or its ``.virtlayer`` if that is open.
        work: What to do, with its ``.virtlayer``.

    Raises:
        PoolLocked: Another process has the lock for longer than one request waits.
        PoolUnsupported: There can be no lock in the pool.
        VirtlayerError: What the work raises.
    """
    pool = place.pool if isinstance(place, OwnDirectory) else place
    return await _until_locked(pool, functools.partial(_with_lock, place, work))


def _with_lock[T](place: Pool | OwnDirectory, work: Callable[[OwnDirectory], T]) -> T:
    with _taken(place) as (own, _file):
        return work(own)


def _opened(place: Pool | OwnDirectory) -> AbstractContextManager[OwnDirectory]:
    return own_directory(place) if isinstance(place, Pool) else contextlib.nullcontext(place)


@contextlib.contextmanager
def _taken(place: Pool | OwnDirectory) -> Iterator[tuple[OwnDirectory, int]]:
    """Take the lock for as long as the context lasts, or for that of a copy of its descriptor."""
    with _opened(place) as own, opened(own.open_lock_file()) as file:
        # A lock file that was removed excludes no other process: the next attempt opens the new
        # one.
        if not try_lock(file, 0, 1) or os.fstat(file).st_nlink == 0:
            raise BlockingIOError(errno.EAGAIN, "the pool is locked")
        yield own, file


async def _until_locked[T](pool: Pool, attempt: Callable[[], T]) -> T:
    clock = asyncio.get_running_loop().time
    deadline = clock() + _REQUEST_SECONDS
    for pause in itertools.chain(_PAUSES, itertools.repeat(_PAUSE)):
        try:
            return await to_completion(asyncio.to_thread(attempt))
        except BlockingIOError as error:
            if clock() > deadline:
                raise PoolLocked(
                    f'Another process has the lock of the pool "{pool.name}". '
                    f'"lslocks" on each host that uses the pool shows who has '
                    f"{pool.path / OWN_DIRECTORY / LOCK_FILE}; end that process."
                ) from error
        except OSError as error:
            raise refused_by_system(error, pool.name, pool.path) from error
        await asyncio.sleep(pause)
    raise AssertionError("the attempts do not end")


def _held[T](part: T | None) -> T:
    if part is None:
        raise Internal("The lock of the pool is not held.")
    return part
