# SPDX-License-Identifier: LGPL-2.1-or-later
"""Determines the user of a connection, which the bus knows from the socket.

The bus never reuses the unique name of a connection, so the answer can be cached.
"""

import asyncio
from collections import OrderedDict

from virtlayer.dbus.connection import BusError, Connection, caller_uid
from virtlayer.errors import NotAuthorized

_KEPT = 1024


class Callers:
    """Caches the users of connections."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._uids: OrderedDict[str, int] = OrderedDict()
        self._asked: dict[str, asyncio.Task[int]] = {}

    def known_uid(self, sender: str) -> int | None:
        """Return the uid of a connection if it is cached."""
        return self._uids.get(sender)

    async def uid(self, sender: str) -> int:
        """Return the uid of a connection.

        Args:
            sender: Its unique name.

        Raises:
            NotAuthorized: The connection is closed.
        """
        known = self._uids.get(sender)
        if known is not None:
            return known
        # One request for all calls of a connection, because many may arrive at a time.
        if sender not in self._asked:
            self._asked[sender] = asyncio.create_task(self._ask(sender), name=f"uid of {sender}")
        return await asyncio.shield(self._asked[sender])

    async def _ask(self, sender: str) -> int:
        try:
            self._uids[sender] = await caller_uid(self._connection, sender)
        except BusError as error:
            raise NotAuthorized(f"The caller has left the bus: {error}.") from error
        finally:
            del self._asked[sender]
        uid = self._uids[sender]
        while len(self._uids) > _KEPT:
            self._uids.popitem(last=False)
        return uid
