# SPDX-License-Identifier: LGPL-2.1-or-later
"""Does work in the directory of a pool in a thread, because a file system can be slow."""

import asyncio
from collections.abc import Callable

from virtlayer.keeper.failures import refused_by_system
from virtlayer.protocol.pools import Pool


async def in_thread[T](pool: Pool, work: Callable[[], T]) -> T:
    """Do work in a thread.

    Args:
        pool: The pool, for the error.
        work: What to do.

    Raises:
        VirtlayerError: What the work raises, or the meaning of its OSError.
    """
    try:
        return await asyncio.to_thread(work)
    except OSError as error:
        raise refused_by_system(error, pool.name, pool.path) from error
