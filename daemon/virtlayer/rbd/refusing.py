# SPDX-License-Identifier: LGPL-2.1-or-later
"""Takes the place of ``answers`` where Ceph's Python modules are missing."""

import asyncio
import socket
from collections.abc import Mapping

from virtlayer.errors import PoolUnsupported
from virtlayer.protocol.answering import Answer, Answers, Requests, Turn, answer
from virtlayer.protocol.rbd import OPEN, Open, Opened


class RefusingConnection:
    """Refuses to open a pool.

    Args:
        connection: The socket; closed by ``close``.
        reason: Why Ceph's modules cannot be loaded.
    """

    def __init__(self, connection: socket.socket, reason: str) -> None:
        self._reason = reason
        answers: Mapping[str, Answer[Turn]] = {OPEN.message: answer(OPEN, self._refuse)}
        served = Answers("virtlayer-rbd", "virtlayer-keeper", answers, frozenset())
        self._requests = Requests(connection, served, lambda received: Turn(descriptors=received))
        self.ended = self._requests.ended
        """Set when the keeper has closed its end, or broken the protocol."""

    async def close(self, _stop: asyncio.Event) -> None:
        """Close the connection."""
        await self._requests.close()

    async def _refuse(self, _turn: Turn, request: Open) -> Opened:
        raise PoolUnsupported(
            f'The pool "{request.pool}" is of type rbd, which needs Ceph\'s Python modules: '
            f"{self._reason}. Install python3-rados and python3-rbd."
        )
