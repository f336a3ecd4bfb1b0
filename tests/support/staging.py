# SPDX-License-Identifier: LGPL-2.1-or-later
"""Claims and staging directories in the test's process, and where they are."""

import contextlib
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

from virtlayer.keeper.kinds.directory.claims import DirectoryClaim
from virtlayer.keeper.kinds.directory.staging import StagingDirectory, staging_directory
from virtlayer.keeper.pools import Pools
from virtlayer.protocol.pools import Pool


@contextlib.asynccontextmanager
async def claimed(pool: Pool, names: Iterable[str] = ()) -> AsyncIterator[DirectoryClaim]:
    """A claim for as long as the context lasts."""
    claim = await DirectoryClaim.made(pool, names)
    try:
        yield claim
    finally:
        await claim.end()


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
