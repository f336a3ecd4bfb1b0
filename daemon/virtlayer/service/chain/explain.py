# SPDX-License-Identifier: LGPL-2.1-or-later
"""Why writing into a pool failed: what programs and workers say of it seldom tells."""

import contextlib
from collections.abc import AsyncIterator

from virtlayer.errors import Internal, NoSpace, VirtlayerError
from virtlayer.programs import ProgramFailed
from virtlayer.protocol.pools import Pool
from virtlayer.service.chain.qmp import CommandFailed
from virtlayer.service.keeper.pools import Pools
from virtlayer.sizes import MIB, human_size

_FULL_BELOW = 16 * MIB
"""A pool with less than this left is why a write failed: the worker writes runs of 1 to 2 MiB,
several at a time, and qemu allocates tables besides."""


@contextlib.asynccontextmanager
async def explained(
    pools: Pools, pool: Pool, subject: str, advice: str = ""
) -> AsyncIterator[None]:
    """Turn what a full, stopped or deleted pool does to programs into its error.

    Args:
        pools: The pools that there are.
        pool: The one that is written to.
        subject: What is written.
        advice: A sentence for who has a full pool.

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
        space = await pools.space(pool)
        if space < _FULL_BELOW:
            raise NoSpace(
                f'The pool "{pool.name}" ({pool.path}) is full: {human_size(space)} available, and '
                f"{subject} needs more. Free some space there, then try again{advice}."
            ) from error
        if isinstance(error, VirtlayerError):
            raise
        raise Internal(f"Writing {subject} failed: {error}.") from error
