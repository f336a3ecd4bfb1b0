# SPDX-License-Identifier: LGPL-2.1-or-later
"""Claims and staging directories in the test's process, and where they are."""

import contextlib
import functools
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

from virtlayer.keeper.kinds.directory.claims import Claim
from virtlayer.keeper.kinds.directory.pool_lock import under_lock
from virtlayer.keeper.kinds.directory.staging import StagingDirectory, staging_directory
from virtlayer.keeper.pools import Pools
from virtlayer.protocol.pools import Pool


@contextlib.asynccontextmanager
async def claimed(pool: Pool, names: Iterable[str] = ()) -> AsyncIterator[Claim]:
    """A claim for as long as the context lasts."""
    claim = Claim(pool)
    try:
        await under_lock(pool, functools.partial(claim.make, names=names))
        yield claim
    finally:
        claim.end()


@contextlib.asynccontextmanager
async def staging_in(
    pools: Pools, pool: Pool, *, owner: int | None = None
) -> AsyncIterator[StagingDirectory]:
    """A staging directory of a claim of its own."""
    async with claimed(pool) as claim, staging_directory(pools, claim, owner=owner) as made:
        yield made


def path_of(staging: StagingDirectory) -> Path:
    """Where a staging directory is now."""
    return Path(f"/proc/self/fd/{staging.descriptor}").readlink()
