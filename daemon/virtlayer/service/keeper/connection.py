# SPDX-License-Identifier: LGPL-2.1-or-later
"""Connections to the keeper; the other end is ``keeper.answers.connection``.

A connection is opened when the first job needs it, and again after the keeper has ended. Staging
directories and programs end with the connection that they belong to.
"""

import asyncio
import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack

from virtlayer.errors import PoolUnavailable
from virtlayer.protocol.asking import Connection
from virtlayer.protocol.calls import Call

type Connect = Callable[[], AbstractAsyncContextManager[socket.socket]]
"""Connects to a keeper; when the context ends, a keeper that was started for it has ended."""


class KeeperLink:
    """The link to the keeper: the open connection, or a new one.

    Args:
        connect: Opens a connection.
    """

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._current: Connection | None = None
        self._life = AsyncExitStack()
        self._opening = asyncio.Lock()

    async def connection(self) -> Connection:
        """Return the connection; open it if there is none.

        Raises:
            PoolUnavailable: The keeper cannot be reached.
        """
        async with self._opening:
            if self._current is None or self._current.ended:
                await self.close()
                connected = await self._life.enter_async_context(self._connect())
                self._current = keeper_connection(connected)
                self._life.callback(self._current.close)
            return self._current

    async def ask[Q, R](self, call: Call[Q, R], request: Q) -> R:
        """Send a request on the connection; see ``Connection.ask``."""
        connection = await self.connection()
        try:
            return await connection.ask(call, request)
        except PoolUnavailable as error:
            if not isinstance(error.__cause__, OSError):
                raise
        # The keeper had ended before, so the request was not sent.
        connection = await self.connection()
        return await connection.ask(call, request)

    async def close(self) -> None:
        """Close the connection; a keeper that was started for it ends."""
        await self._life.aclose()
        self._current = None


def keeper_connection(connection: socket.socket) -> Connection:
    """One connection to a keeper."""
    return Connection(connection, "virtlayer-keeper", _ended)


def _ended() -> PoolUnavailable:
    return PoolUnavailable(
        "virtlayer-keeper stopped during the job. Try again; finished layers are kept. See the "
        "journal for the cause."
    )
