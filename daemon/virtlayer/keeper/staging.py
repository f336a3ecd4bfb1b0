# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where volumes are written before they are finished: a directory of each job, inside the pool.

It is on the same file system, so that a finished volume only has to be linked, and one level
below the pool's directory, because libvirt takes every file there for a volume, dot-files too, and
an unfinished qcow2 header there takes the pool down. libvirt does not look into directories; it
lists ``.virtlayer-staging`` itself, as a volume of type dir, while it exists.

A job holds its staging directory open, with a lock on it, so that one whose owner was killed
can be told from one in use. The pool's directory may belong to somebody else, who can replace every
name in it: after it was made, a staging directory is used by its descriptor alone. Names carry the
machine and the user: locks tell nothing about other hosts on some network file systems, so a sweep
removes only what its own user has left on its own host.
"""

import asyncio
import contextlib
import errno
import fcntl
import hashlib
import os
import platform
import secrets
import stat
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from virtlayer.cancellation import to_completion
from virtlayer.errors import PoolUnsupported
from virtlayer.keeper.beneath import (
    OwnedDescriptor,
    by_descriptor,
    can_be_direct,
    find_regular,
    identity,
    link,
    make_directory,
    open_beneath,
    open_directory,
    open_directory_beneath,
    opened,
)
from virtlayer.keeper.failures import refused_by_system
from virtlayer.keeper.pools import Pools, soon_or_never
from virtlayer.keeper.removal import remove_content
from virtlayer.protocol.pools import Pool

STAGING_PARENT = ".virtlayer-staging"
"""The directory, directly below the pool's, that holds the jobs' ones."""

_LAYER_MODE = 0o440
_QCOW2 = b"QFI\xfb"
"""How the files of layers begin, and no other file of root's with that mode."""
_ATTEMPTS = 100
"""Others remove an empty parent, or a directory that is not locked yet, but not this often."""


@dataclass(frozen=True, slots=True)
class StagingDirectory:
    """A directory for the unfinished volumes of a job.

    Attributes:
        descriptor: The directory; its name may have been replaced.
        pool_directory: A descriptor of the directory of the pool that it is in.
        owner: The uid of who may enter it: this process's, or that of the programs that write here.
        name: What it was called when it was made, for who meets it.
        direct: Whether files in it can be written past the page cache.
    """

    descriptor: int
    pool_directory: int
    owner: int
    name: str
    direct: bool


@contextlib.asynccontextmanager
async def staging_directory(
    pools: Pools, pool: Pool, job_id: int, *, owner: int | None = None
) -> AsyncIterator[StagingDirectory]:
    """Make a directory for the unfinished volumes of a job, which is removed on leaving.

    Args:
        pools: Told afterwards that the directory is deleted, and, when the job fails, to look at
            what it has finished before.
        pool: The pool that the volumes are for.
        job_id: For its name, so that who meets it knows what it belongs to.
        owner: The uid of who may enter it; None for this process's.

    Raises:
        NoSpace: The pool is full.
        PoolUnsupported: The pool's directory cannot be written.
        PoolInactive: The pool's directory no longer exists.
    """
    making = _Making(pool.path, f"{_own_prefix()}{job_id}-", owner)
    tell_libvirt = _let_libvirt_forget
    try:
        try:
            directory = await to_completion(asyncio.to_thread(making.make))
        except OSError as error:
            raise refused_by_system(error, pool.name, pool.path) from error
        tell_libvirt = _let_libvirt_look
        yield directory
        tell_libvirt = _let_libvirt_forget
    finally:
        await to_completion(asyncio.to_thread(making.remove))
        await to_completion(tell_libvirt(pools, pool))


async def sweep(pools: Pools, pool: Pool, *, owner: int | None = None) -> int:
    """Remove the staging directories that this user's killed processes on this host left.

    Args:
        pools: Told afterwards that they are deleted.
        pool: The pool.
        owner: The uid of who may enter them, as in ``staging_directory``.

    Returns:
        How many there were.
    """
    swept = await to_completion(asyncio.to_thread(_sweep, pool.path, _owners(owner)))
    await to_completion(_let_libvirt_forget(pools, pool))
    return swept


def link_chain(
    staging: StagingDirectory, names: Sequence[str], *, readers: int | None = None
) -> str:
    """Give the volumes of a chain names in a staging directory, where nobody can replace them.

    Args:
        staging: The directory.
        names: The volumes' names in the pool, which are those of the links as well; base first.
            Those that the pool does not have are left out, but for the last one: somebody may have
            shortened the chain.
        readers: The gid of the group that reads layers; None if that need not be set. libvirt
            takes layers over while a machine runs, and may give them back to root's group.

    Returns:
        By which name a program that works in the directory finds the last one.

    Raises:
        OSError: The pool has no such file, or the file system does not allow it.
    """
    try:
        for name in names:
            try:
                with contextlib.suppress(FileExistsError), _found(staging, name) as volume:
                    if readers is not None:
                        _let_read(volume, readers)
                    link(volume, staging.descriptor, name)
            except FileNotFoundError:
                if name == names[-1]:
                    raise
    except PermissionError:
        # One is another user's. A process that is not root's can open no more by the pool's names
        # than it may.
        if os.geteuid() == 0:
            raise
        return f"../../{names[-1]}"
    return names[-1]


def _found(staging: StagingDirectory, name: str) -> AbstractContextManager[int]:
    return opened(find_regular(staging.pool_directory, name))


def _let_read(volume: int, readers: int) -> None:
    """Give a layer back to the group that reads layers; any other file keeps its group."""
    info = os.fstat(volume)
    if info.st_gid == readers or stat.S_IMODE(info.st_mode) != _LAYER_MODE:
        return
    with opened(os.open(by_descriptor(volume), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)) as file:
        if os.pread(file, len(_QCOW2), 0) == _QCOW2:
            os.fchown(file, -1, readers)


class _Making:
    """Makes a staging directory; ``remove`` undoes as much as ``make`` has done."""

    def __init__(self, pool_path: Path, prefix: str, owner: int | None) -> None:
        self._pool_path = pool_path
        self._prefix = prefix
        self._owner = owner
        self._undo = contextlib.ExitStack()
        self._is_made = False

    def make(self) -> StagingDirectory:
        pool = OwnedDescriptor(open_directory(self._pool_path))
        self._undo.callback(self._close_unused, pool)
        self._undo.callback(_remove_if_empty, pool, STAGING_PARENT)
        for _ in range(_ATTEMPTS):
            # Another's sweep or end may remove the parent, or this directory while it is not yet
            # locked, between any two of these steps: then it begins again.
            with contextlib.suppress(FileNotFoundError):
                return self._made(pool)
        raise OSError(errno.EBUSY, f"another process keeps removing {STAGING_PARENT}")

    def remove(self) -> None:
        # What cannot be removed now, the next start sweeps.
        self._undo.close()

    def _made(self, pool: int) -> StagingDirectory:
        with contextlib.suppress(FileExistsError):
            os.mkdir(STAGING_PARENT, 0o755, dir_fd=pool)
        name = f"{self._prefix}{secrets.token_hex(4)}"
        with contextlib.ExitStack() as undo:
            parent = self._open_parent(pool)
            undo.callback(os.close, parent)
            undo.callback(_remove_if_empty, parent, name)
            directory = OwnedDescriptor(make_directory(parent, name))
            undo.callback(self._close_unused, directory)
            undo.callback(remove_content, directory)
            if not _locked(parent, name, directory):
                raise FileNotFoundError(f"{name} was swept before it was locked")
            if self._owner is not None:
                os.fchown(directory, self._owner, -1)
            direct = can_be_direct(directory)
            self._undo.push(undo.pop_all())
            self._is_made = True
        owner = os.geteuid() if self._owner is None else self._owner
        return StagingDirectory(directory, pool, owner, name, direct)

    def _close_unused(self, descriptor: OwnedDescriptor) -> None:
        """Close a descriptor that nobody has got; an error's traceback may still refer to it."""
        if not self._is_made:
            descriptor.close()

    def _open_parent(self, pool: int) -> int:
        try:
            return open_directory_beneath(pool, STAGING_PARENT)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.EXDEV):
                raise PoolUnsupported(
                    f"{self._pool_path / STAGING_PARENT} is not a directory of the pool "
                    f"({error.strerror}). Nothing was written. Find out what created it, and "
                    "delete it."
                ) from error
            raise


def _sweep(pool_path: Path, owners: frozenset[int]) -> int:
    swept = 0
    with contextlib.suppress(OSError), opened(open_directory(pool_path)) as pool:
        with opened(open_directory_beneath(pool, STAGING_PARENT)) as parent:
            for name in _names(parent):
                if name.startswith(_own_prefix()):
                    with contextlib.suppress(OSError):
                        swept += _swept(parent, name, owners)
        _remove_if_empty(pool, STAGING_PARENT)
    return swept


def _swept(parent: int, name: str, owners: frozenset[int]) -> bool:
    """Remove a staging directory that nobody has locked and no other user has made."""
    with opened(open_directory_beneath(parent, name)) as directory:
        if os.fstat(directory).st_uid not in owners:
            return False
        if not _locked(parent, name, directory):
            return False
        remove_content(directory)
        os.rmdir(name, dir_fd=parent)
        return True


def _locked(parent: int, name: str, directory: int) -> bool:
    """Lock a directory; False if another has the lock, or had it and removed the directory."""
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    with opened(open_beneath(parent, name, os.O_PATH)) as found:
        return identity(found) == identity(directory)


def _remove_if_empty(directory: int, name: str) -> None:
    with contextlib.suppress(OSError):
        os.rmdir(name, dir_fd=directory)


def _names(directory: int) -> list[str]:
    with os.scandir(directory) as entries:
        return sorted(entry.name for entry in entries)


def _owners(owner: int | None) -> frozenset[int]:
    return frozenset({os.geteuid()} if owner is None else {os.geteuid(), owner})


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
