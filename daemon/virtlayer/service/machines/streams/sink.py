# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sends bytes to a caller as fast as the caller takes them, and not for longer than a deadline."""

import asyncio
import os

from virtlayer.service.readiness import writable

PATIENCE = 600.0
"""Seconds that a caller may take nothing: the user may have stopped the client, or its output."""


class TooSlow(Exception):
    """The caller has taken nothing within the deadline."""


class Sink:
    """Writes to a socket or terminal that does not block.

    A write that is cancelled leaves bytes; they are sent before the next ones.

    Args:
        descriptor: The socket or terminal; its owner closes it.
        patience: Seconds that one write may wait.
    """

    def __init__(self, descriptor: int, patience: float = PATIENCE) -> None:
        self._descriptor = descriptor
        self._patience = patience
        self._left = bytearray()

    async def send(self, content: bytes) -> None:
        """Send bytes.

        Raises:
            TooSlow: The caller has taken nothing for too long.
            OSError: The caller has closed its end.
        """
        self._left += content
        while self._left:
            try:
                sent = os.write(self._descriptor, self._left)
            except BlockingIOError:
                try:
                    async with asyncio.timeout(self._patience):
                        await writable(self._descriptor)
                except TimeoutError:
                    raise TooSlow from None
            else:
                del self._left[:sent]
