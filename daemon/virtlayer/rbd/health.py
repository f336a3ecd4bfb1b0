# SPDX-License-Identifier: LGPL-2.1-or-later
"""Watches the cluster while servers run: neither a full nor a stalled one reports an error."""

import asyncio
import json
from collections.abc import Callable

from virtlayer.errors import VirtlayerError
from virtlayer.rbd.cluster import Cluster
from virtlayer.rbd.failures import no_space

_INTERVAL = 3.0
"""Seconds between two looks."""


async def first_failure(cluster: Cluster, is_needed: Callable[[], bool]) -> VirtlayerError | None:
    """Wait until the pool is full, or the cluster does not answer.

    Args:
        cluster: The pool.
        is_needed: Whether somebody still needs it.

    Returns:
        The error for that; None if nobody needs it any more.
    """
    while is_needed():
        try:
            if await cluster.run(_is_full, cluster):
                return no_space(cluster.pool)
            await cluster.run(cluster.check)
        except VirtlayerError as error:
            return error
        await asyncio.sleep(_INTERVAL)
    return None


def _is_full(cluster: Cluster) -> bool:
    # The flag "full" is set if an OSD or the pool's quota is full.
    asked = {"prefix": "osd pool ls", "detail": "detail", "format": "json"}
    status, output, _ = cluster.connection.mon_command(json.dumps(asked), b"")
    if status != 0:
        return False
    return any(
        pool["pool_name"] == cluster.pool and "full" in pool["flags_names"].split(",")
        for pool in json.loads(output)
    )
