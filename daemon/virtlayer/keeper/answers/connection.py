# SPDX-License-Identifier: LGPL-2.1-or-later
"""One connection of the service, whose requests are answered concurrently.

The other end is ``service.keeper.connection``.
"""

import socket
from collections.abc import Mapping

from virtlayer.cancellation import to_completion
from virtlayer.keeper.answers import claims, domains, pools, programs, records, staging
from virtlayer.keeper.answers.answer import Turn
from virtlayer.keeper.answers.holdings import Holdings
from virtlayer.keeper.connection import Hypervisor
from virtlayer.keeper.domains.domains import Domains
from virtlayer.keeper.kinds.known import Kinds
from virtlayer.keeper.pools import Pools
from virtlayer.protocol.answering import Answer, Answers, Requests
from virtlayer.protocol.messages import Message

ANSWERS: Mapping[str, Answer[Turn]] = {
    one.call.message: one
    for one in (
        *pools.ANSWERS,
        *claims.ANSWERS,
        *records.ANSWERS,
        *staging.ANSWERS,
        *programs.ANSWERS,
        *domains.ANSWERS,
    )
}
_LONG = frozenset(
    (
        *(Message.FIND_VOLUMES, Message.FIND_FILES, Message.USERS),
        *(Message.LOCK, Message.LIST_RECORDS, Message.READ_RECORDS),
    )
)
_SERVED = Answers("virtlayer-keeper", "virtlayerd", ANSWERS, _LONG)


class ServiceConnection:
    """Answers what comes over one connection, and cleans up after its end.

    Args:
        connection: The socket; closed by ``close``.
        hypervisor: The connection to libvirt.
        pools: Its pools.
        kinds: The kinds of the pools.
        domains: Its domains.
    """

    def __init__(
        self,
        connection: socket.socket,
        hypervisor: Hypervisor,
        pools: Pools,
        kinds: Kinds,
        domains: Domains,
    ) -> None:
        self._holdings = Holdings()

        def turn(descriptors: list[int]) -> Turn:
            return Turn(
                hypervisor=hypervisor,
                pools=pools,
                kinds=kinds,
                domains=domains,
                holdings=self._holdings,
                descriptors=descriptors,
            )

        self._requests = Requests(connection, _SERVED, turn)
        self.ended = self._requests.ended
        """Set when the service has closed its end, or broken the protocol."""

    async def close(self) -> None:
        """End everything of the connection: answers, programs, staging directories."""
        await self._requests.close()
        await to_completion(self._holdings.close())
