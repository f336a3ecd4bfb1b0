# SPDX-License-Identifier: LGPL-2.1-or-later
"""Notices that the process of an RBD pool no longer answers: it was stopped, or is defective.

The process itself ends requests to the cluster that take too long. This is for a process that
cannot do that.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from virtlayer.cancellation import meanwhile
from virtlayer.errors import VirtlayerError
from virtlayer.protocol import rbd
from virtlayer.protocol.asking import Connection
from virtlayer.protocol.calls import Nothing

_log = logging.getLogger(__name__)

INTERVAL = 15.0
"""Seconds between two questions."""
ANSWER_SECONDS = 40.0
"""Within which the process answers one; it does not ask the cluster."""


@contextlib.asynccontextmanager
async def watched(connection: Connection, pool: str) -> AsyncIterator[None]:
    """Close a connection if its process does not answer; all requests fail then.

    Args:
        connection: The connection.
        pool: The pool, for messages.
    """
    async with meanwhile(_watch(connection, pool)):
        yield


async def _watch(connection: Connection, pool: str) -> None:
    while not connection.ended:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await connection.ask(rbd.PING, Nothing())
        except TimeoutError:
            _log.error(
                'The process of the pool "%s" does not answer. Its connection was closed.', pool
            )
            connection.close()
            return
        except VirtlayerError:
            pass  # It has ended, or it answers.
        await asyncio.sleep(INTERVAL)
