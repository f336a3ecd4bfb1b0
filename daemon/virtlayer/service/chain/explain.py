# SPDX-License-Identifier: LGPL-2.1-or-later
"""Finds the cause of a failed write into a pool, which programs seldom report."""

import contextlib
from collections.abc import AsyncIterator

from virtlayer.errors import Internal, NoSpace, VirtlayerError
from virtlayer.programs import ProgramFailed
from virtlayer.protocol.pools import Pool
from virtlayer.service.chain.qmp import CommandFailed
from virtlayer.service.keeper.pools import Pools
from virtlayer.sizes import MIB, human_size

_FULL_BELOW = 16 * MIB
"""If less than this is free, a write failed because the pool is full: the worker writes runs of 1
to 2 MiB, several at a time, and qemu also allocates tables."""


@contextlib.asynccontextmanager
async def explained(
    pools: Pools, pool: Pool, subject: str, advice: str = ""
) -> AsyncIterator[None]:
    """Convert failures of programs because of a full, stopped or deleted pool into its error.

    Args:
        pools: All pools.
        pool: The pool that is written to.
        subject: The object that is written.
        advice: A sentence with advice for a full pool.

    Raises:
        NoSpace: The pool is full.
        PoolNotFound: The pool no longer exists.
        PoolInactive: The pool was stopped.
        Internal: A program failed for another reason.
    """
    try:
        yield
    except (NoSpace, Internal, ProgramFailed, CommandFailed, OSError) as error:
        await pools.get(pool.name)
        # Of an RBD pool, the error says that it is full.
        space = None if pool.is_rbd else await pools.space(pool)
        if space is not None and space < _FULL_BELOW:
            raise NoSpace(
                f'The pool "{pool.name}" ({pool.path}) is full: {human_size(space)} available, and '
                f"{subject} needs more. Free some space there, then try again{advice}."
            ) from error
        if isinstance(error, VirtlayerError):
            raise
        raise Internal(f"Writing {subject} failed: {error}.") from error
