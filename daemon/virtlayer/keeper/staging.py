# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where volumes are written before they are finished: a directory of each job, inside the pool.

It is on the same file system, so that a finished volume only has to be renamed, and one level
below the pool's directory, because libvirt takes every file there for a volume, dot-files too, and
an unfinished qcow2 header there takes the pool down. libvirt does not look into directories; it
lists ``.virtlayer-staging`` itself, as a volume of type dir, while it exists.

The owner of a staging directory holds a lock on a file in it, so that one whose owner was killed
can be told from one in use. Names carry the machine and the user: locks tell nothing about other
hosts on some network file systems, so nobody sweeps what is not his own.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import os
import platform
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

from virtlayer.cancellation import to_completion
from virtlayer.keeper.failures import refused_by_system
from virtlayer.keeper.pools import Pools, soon_or_never
from virtlayer.keeper.removal import remove_tree
from virtlayer.protocol.pools import Pool

STAGING_PARENT = ".virtlayer-staging"
"""The directory, directly below the pool's, that holds the jobs' ones."""

_LOCK_FILE = "lock"


@contextlib.asynccontextmanager
async def staging_directory(pools: Pools, pool: Pool, job_id: int) -> AsyncIterator[Path]:
    """A directory for the unfinished volumes of a job, 0700, removed on leaving.

    Args:
        pools: Told afterwards that the directory has gone, and, when the job fails, to look at what
            it has finished before.
        pool: The pool that the volumes are for.
        job_id: For its name, so that somebody who meets it knows what it belongs to.

    Raises:
        NoSpace: The pool is full.
        PoolUnsupported: The pool's directory cannot be written.
        PoolInactive: The pool's directory does not exist any more.
    """
    staging = _Staging(pool.path / STAGING_PARENT, f"{_own_prefix()}{job_id}-")
    tell_libvirt = _let_libvirt_forget
    try:
        try:
            path = await to_completion(asyncio.to_thread(staging.create))
        except OSError as error:
            raise refused_by_system(error, pool.name, pool.path) from error
        tell_libvirt = _let_libvirt_look
        yield path
        tell_libvirt = _let_libvirt_forget
    finally:
        await to_completion(staging.remove())
        await to_completion(tell_libvirt(pools, pool))


async def sweep(pools: Pools, pool: Pool) -> int:
    """Remove the staging directories that this user's killed processes on this host left.

    Returns:
        How many there were.
    """
    swept = await to_completion(_sweep(pool.path / STAGING_PARENT))
    await to_completion(_let_libvirt_forget(pools, pool))
    return swept


class _Staging:
    """One staging directory; ``remove`` undoes as much as ``create`` has done."""

    def __init__(self, parent: Path, prefix: str) -> None:
        self._parent = parent
        self._prefix = prefix
        self._path: Path | None = None
        self._lock: int | None = None

    def create(self) -> Path:
        while True:
            self._parent.mkdir(mode=0o755, exist_ok=True)
            path = self._parent / f"{self._prefix}{secrets.token_hex(4)}"
            # Another's sweep or end may remove the parent, or this directory while it is not yet
            # locked, between any two of these steps: then it begins again.
            with contextlib.suppress(FileNotFoundError):
                path.mkdir(mode=0o700)
                self._path = path
                self._lock = _locked(path / _LOCK_FILE, os.O_CREAT, wait=True)
                if self._lock is not None:
                    return path

    async def remove(self) -> None:
        # What cannot be removed now, the next start sweeps.
        if self._path is not None:
            await remove_tree(self._path)
        if self._lock is not None:
            os.close(self._lock)
        await asyncio.to_thread(_remove_if_empty, self._parent)


async def _sweep(parent: Path) -> int:
    dead = await asyncio.to_thread(_lock_dead_ones, parent)
    for directory, lock in dead:
        await remove_tree(directory)
        os.close(lock)
    await asyncio.to_thread(_remove_if_empty, parent)
    return len(dead)


def _lock_dead_ones(parent: Path) -> list[tuple[Path, int]]:
    """The staging directories below ``parent`` that nobody has locked, locked now."""
    dead = []
    try:
        candidates = sorted(parent.glob(f"{_own_prefix()}*"))
    except OSError:
        return []
    for directory in candidates:
        with contextlib.suppress(OSError):
            lock = _locked(directory / _LOCK_FILE, os.O_CREAT, wait=False)
            if lock is not None:
                dead.append((directory, lock))
    return dead


def _locked(path: Path, flags: int, *, wait: bool) -> int | None:
    """Lock a file; None if another has the lock, or had it and removed the file."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        if os.fstat(descriptor).st_nlink > 0:
            return descriptor
    except BlockingIOError:
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _remove_if_empty(directory: Path) -> None:
    with contextlib.suppress(OSError):
        directory.rmdir()


def _own_prefix() -> str:
    """The beginning of the names of this user's staging directories on this host."""
    try:
        machine = Path("/etc/machine-id").read_text(encoding="ascii").strip()
    except OSError:
        machine = platform.node()
    # machine-id(5): the id itself is not to be shown to others.
    tag = hashlib.sha256(f"virtlayer staging {machine}".encode()).hexdigest()[:8]
    return f"{tag}-{os.geteuid()}-"


async def _let_libvirt_look(pools: Pools, pool: Pool) -> None:
    async with soon_or_never():
        await pools.refresh(pool)


async def _let_libvirt_forget(pools: Pools, pool: Pool) -> None:
    # It is only a name in a list: neither a stopped pool nor a slow libvirtd matters here.
    async with soon_or_never():
        await pools.volume(pool, STAGING_PARENT)
