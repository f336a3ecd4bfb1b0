# SPDX-License-Identifier: LGPL-2.1-or-later
"""The connection of the keeper, whose requests are answered concurrently."""

import asyncio
import socket
from collections.abc import Mapping

from virtlayer.cancellation import to_completion
from virtlayer.protocol.answering import Answer, Answers, Requests
from virtlayer.protocol.rbd import RbdMessage
from virtlayer.rbd.answers import claims, images, pool, records, servers, staging
from virtlayer.rbd.answers.answer import Turn
from virtlayer.rbd.answers.holdings import Holdings

ANSWERS: Mapping[str, Answer[Turn]] = {
    one.call.message: one
    for one in (
        *pool.ANSWERS,
        *images.ANSWERS,
        *claims.ANSWERS,
        *records.ANSWERS,
        *staging.ANSWERS,
        *servers.ANSWERS,
    )
}
_LONG = frozenset(
    (
        *(RbdMessage.FIND_IMAGES, RbdMessage.USERS, RbdMessage.LOCK),
        *(RbdMessage.LIST_RECORDS, RbdMessage.READ_RECORDS),
    )
)
_SERVED = Answers("virtlayer-rbd", "virtlayer-keeper", ANSWERS, _LONG)


class KeeperConnection:
    """Answers what comes over the connection, and cleans up after its end.

    Args:
        connection: The socket; closed by ``close``.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._holdings = Holdings()
        self._requests = Requests(connection, _SERVED, self._turn)
        self.ended = self._requests.ended
        """Set when the keeper has closed its end, or broken the protocol."""

    async def close(self, stop: asyncio.Event) -> None:
        """End everything of the connection.

        Claims last as long as the service keeps them, but no longer than until ``stop`` is set.
        """
        await self._requests.close()
        await to_completion(self._holdings.disconnect())
        ends = [
            asyncio.create_task(stop.wait()),
            asyncio.create_task(self._holdings.until_unused()),
        ]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for task in ends:
            task.cancel()
        await to_completion(self._holdings.close())

    def _turn(self, descriptors: list[int]) -> Turn:
        return Turn(holdings=self._holdings, descriptors=descriptors)
