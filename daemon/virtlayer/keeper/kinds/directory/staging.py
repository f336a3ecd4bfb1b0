# SPDX-License-Identifier: LGPL-2.1-or-later
"""Staging directories: where a job writes its unfinished volumes, in the pool.

They are on the same file system, so that a finished volume only has to be linked, and below
``.virtlayer``, because libvirt takes every file of the pool's directory for a volume, dot-files
too, and an unfinished qcow2 header there makes the refresh of the pool fail.

A staging directory is named after the claim of its job, and is removed when that has ended: see
``sweep``. It is used by its descriptor alone.
"""

import asyncio
import contextlib
import os
import stat
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from virtlayer.cancellation import to_completion
from virtlayer.keeper.beneath import (
    by_descriptor,
    can_be_direct,
    find_regular,
    link,
    make_directory,
    opened,
)
from virtlayer.keeper.failures import refused_by_system
from virtlayer.keeper.kinds.directory.claims import DirectoryClaim
from virtlayer.keeper.kinds.directory.own_directory import STAGING
from virtlayer.keeper.kinds.directory.removal import remove_content
from virtlayer.keeper.pools import Pools, soon_or_never
from virtlayer.protocol.descriptors import OwnedDescriptor

_LAYER_MODE = 0o440
_QCOW2 = b"QFI\xfb"
"""The beginning of the files of layers, which no other file of root with that mode has."""
_POOL_FROM_STAGING = "../../.."


@dataclass(frozen=True, slots=True)
class StagingDirectory:
    """A directory for the unfinished volumes of a job.

    Attributes:
        descriptor: The directory; its name may have been replaced.
        pool_directory: A descriptor of the directory of the pool that it is in.
        owner: The uid of the user who may enter it: this process's, or that of the programs that
            write here.
        direct: Whether files in it can be written past the page cache.
    """

    descriptor: int
    pool_directory: int
    owner: int
    direct: bool


@contextlib.asynccontextmanager
async def staging_directory(
    pools: Pools, claim: DirectoryClaim, *, owner: int | None = None
) -> AsyncIterator[StagingDirectory]:
    """Make a directory for the unfinished volumes of a job, which is removed on leaving.

    Args:
        pools: Refreshed if the job fails, so that libvirt lists the volumes that it has finished.
        claim: That of the job, in the pool that the volumes are for.
        owner: The uid of the user who may enter it; None for this process's.

    Raises:
        NoSpace: The pool is full.
        PoolUnsupported: The pool's directory cannot be written.
        PoolInactive: The pool's directory no longer exists.
    """
    pool = claim.pool
    making = _Making(claim, owner)
    try:
        try:
            directory = await to_completion(asyncio.to_thread(making.make))
        except OSError as error:
            # Its traceback would keep open what the claim has open.
            error.with_traceback(None)
            raise refused_by_system(error, pool.name, pool.path) from error
        yield directory
    except BaseException:
        await to_completion(asyncio.to_thread(making.remove))
        await to_completion(_let_libvirt_look(pools, claim))
        raise
    await to_completion(asyncio.to_thread(making.remove))


def link_chain(
    staging: StagingDirectory, names: Sequence[str], *, readers: int | None = None
) -> str:
    """Link the volumes of a chain into a staging directory, where no other user can replace them.

    Args:
        staging: The directory.
        names: The volumes' names in the pool, which are those of the links as well; base first.
            Those that the pool does not have are left out, but for the last one: another program
            may have shortened the chain.
        readers: The gid of the group that reads layers; None if that need not be set. libvirt
            takes layers over while a machine runs, and may give them back to root's group.

    Returns:
        The name of the last one for a program that works in the directory.

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
        # A link to another user's file is refused. A process that is not root's opens it by the
        # pool's name, with its own rights.
        if os.geteuid() == 0:
            raise
        return f"{_POOL_FROM_STAGING}/{names[-1]}"
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

    def __init__(self, claim: DirectoryClaim, owner: int | None) -> None:
        self._claim = claim
        self._owner = owner
        self._undo = contextlib.ExitStack()
        self._is_made = False

    def make(self) -> StagingDirectory:
        parent = OwnedDescriptor(self._claim.own.open_part(STAGING))
        self._undo.callback(self._close_unused, parent)
        name = self._claim.staging_name()
        self._undo.callback(_remove_if_empty, parent, name)
        directory = OwnedDescriptor(make_directory(parent, name))
        self._undo.callback(self._close_unused, directory)
        self._undo.callback(remove_content, directory)
        if self._owner is not None:
            os.fchown(directory, self._owner, -1)
        direct = can_be_direct(directory)
        self._is_made = True
        owner = os.geteuid() if self._owner is None else self._owner
        return StagingDirectory(directory, self._claim.own.pool_directory, owner, direct)

    def remove(self) -> None:
        # A sweep removes what cannot be removed now.
        self._undo.close()

    def _close_unused(self, descriptor: OwnedDescriptor) -> None:
        """Close a descriptor that was not handed out: an error's traceback may refer to it."""
        if not self._is_made:
            descriptor.close()


def _remove_if_empty(directory: int, name: str) -> None:
    with contextlib.suppress(OSError):
        os.rmdir(name, dir_fd=directory)


async def _let_libvirt_look(pools: Pools, claim: DirectoryClaim) -> None:
    async with soon_or_never():
        await pools.refresh(claim.pool)
