# SPDX-License-Identifier: LGPL-2.1-or-later
"""Removes the files of jobs that no longer run, on any host.

A claim that is not locked is dead. The sweep locks it, so that other hosts leave it alone, and
releases the pool's lock before it removes files, because large files take long. If it is killed,
the claim is dead again.
"""

import asyncio
import contextlib
import os
from dataclasses import dataclass, field

from virtlayer.cancellation import to_completion
from virtlayer.errors import PoolUnsupported
from virtlayer.keeper.beneath import NotRegular, open_regular, opened
from virtlayer.keeper.calls import ask_server
from virtlayer.keeper.kinds.directory.former_staging import sweep_former_staging
from virtlayer.keeper.kinds.directory.locks import try_lock
from virtlayer.keeper.kinds.directory.made import forget_others
from virtlayer.keeper.kinds.directory.own_directory import (
    CLAIMS,
    STAGING,
    OwnDirectory,
    existing_own_directory,
)
from virtlayer.keeper.kinds.directory.pool_lock import under_lock
from virtlayer.keeper.kinds.directory.records import NEW_RECORD
from virtlayer.keeper.kinds.directory.removal import remove_tree
from virtlayer.protocol.descriptors import OwnedDescriptor
from virtlayer.protocol.pools import Pool


async def sweep(pool: Pool, former_owners: frozenset[int]) -> int:
    """Remove the files of killed jobs from a pool.

    Args:
        pool: The pool.
        former_owners: The uids of the staging directories that there were before claims.

    Returns:
        The number of these jobs.

    Raises:
        PoolLocked: Another process has the pool's lock.
        VirtlayerError: The pool cannot be written.
    """
    swept = await to_completion(asyncio.to_thread(sweep_former_staging, pool.path, former_owners))
    if not await asyncio.to_thread(_has_own_directory, pool):
        return swept
    left = await under_lock(pool, _take_over)
    return swept + await to_completion(asyncio.to_thread(_remove, left))


@dataclass(slots=True)
class _Left:
    """What is left of dead jobs.

    Attributes:
        own: ``.virtlayer`` of the pool.
        claims: The names of their claims, with what locks them.
        staging: The names of their staging directories.
    """

    own: OwnDirectory
    claims: dict[str, OwnedDescriptor] = field(default_factory=dict)
    staging: list[str] = field(default_factory=list)


def _has_own_directory(pool: Pool) -> bool:
    # Something else in its place is reported when it is used.
    with contextlib.suppress(OSError, PoolUnsupported), existing_own_directory(pool) as own:
        return own is not None
    return False


def _take_over(own: OwnDirectory) -> _Left:
    """Find what is dead, and lock it; the caller has the pool's lock."""
    left = _Left(own.kept())
    # Before the claims: a staging directory is removed before its claim ends.
    with opened(own.open_part(STAGING)) as directory:
        staging = _names(directory)
    new_records = [name for name in _names(own.descriptor) if name.startswith(NEW_RECORD)]
    live: set[str] = set()
    with opened(own.open_part(CLAIMS)) as directory:
        for name in _names(directory):
            try:
                file = OwnedDescriptor(open_regular(directory, name, os.O_RDWR))
                if not try_lock(file):
                    live.add(name)
                elif os.fstat(file).st_nlink:
                    left.claims[name] = file
            except (FileNotFoundError, NotRegular):
                continue
            except OSError:
                # If the server does not answer now, the job may still run.
                live.add(name)
    left.staging = [name for name in staging if _claim_of(name) not in live]
    for name in new_records:
        if _claim_of(name) not in live:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=own.descriptor)
    return left


def _remove(left: _Left) -> int:
    """Remove it; return how many jobs had left something."""
    jobs = set(left.claims)
    with opened(left.own.open_part(STAGING)) as directory:
        present = set(_names(directory))
        for name in left.staging:
            # Its job may have removed it by now.
            if name in present:
                jobs.add(_claim_of(name))
                remove_tree(directory, name)
    with opened(left.own.open_part(CLAIMS)) as directory:
        for name in left.claims:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=directory)
    # A directory that cannot be listed now may be next time.
    with contextlib.suppress(OSError, PoolUnsupported):
        forget_others(left.own)
    return len(jobs)


def _claim_of(name: str) -> str:
    """Return the claim that a staging directory or new record belongs to."""
    return name.removeprefix(NEW_RECORD).partition("-")[0]


def _names(directory: int) -> list[str]:
    ask_server(directory)
    with os.scandir(directory) as entries:
        return [entry.name for entry in entries]
