# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the answers to all messages have in common."""

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from virtlayer.keeper.answers.holdings import Holdings
from virtlayer.keeper.connection import Hypervisor
from virtlayer.keeper.domains.domains import Domains
from virtlayer.keeper.kinds.known import Kinds
from virtlayer.keeper.pools import Pools
from virtlayer.protocol.calls import Call
from virtlayer.protocol.packets import close_in_thread


@dataclass(frozen=True, slots=True)
class Turn:
    """One request.

    Attributes:
        hypervisor: The connection to libvirt.
        pools: Its pools.
        kinds: The kinds of the pools.
        domains: Its domains.
        holdings: What the connection of the service holds.
        descriptors: The descriptors that came with the request.
        reply_descriptors: The descriptors that are sent with the reply, and closed after that.
    """

    hypervisor: Hypervisor
    pools: Pools
    kinds: Kinds
    domains: Domains
    holdings: Holdings
    descriptors: list[int]
    reply_descriptors: list[int] = field(default_factory=list)

    async def close_received(self) -> None:
        """Close the descriptors that came with the request."""
        received = tuple(self.descriptors)
        self.descriptors.clear()
        await close_in_thread(received)

    def close(self) -> None:
        """Close all descriptors; closing those of the request may take longer."""
        close_in_thread(tuple(self.descriptors))
        self.descriptors.clear()
        for descriptor in self.reply_descriptors:
            os.close(descriptor)
        self.reply_descriptors.clear()


@dataclass(frozen=True, slots=True)
class Answer:
    """A message, and the function that answers it.

    Attributes:
        call: The message.
        function: The function.
        takes_descriptors: Whether it needs the descriptors that came with the request.
    """

    call: Call[Any, Any]
    function: Callable[[Turn, Any], Awaitable[Any]]
    takes_descriptors: bool


def answer[Q, R](
    call: Call[Q, R],
    function: Callable[[Turn, Q], Awaitable[R]],
    *,
    takes_descriptors: bool = False,
) -> Answer:
    """Say which function answers a message; its types must be those of the message."""
    return Answer(call, function, takes_descriptors)
