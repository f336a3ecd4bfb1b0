# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the answers to all messages have in common."""

from dataclasses import dataclass

from virtlayer.keeper.answers.holdings import Holdings
from virtlayer.keeper.connection import Hypervisor
from virtlayer.keeper.domains.domains import Domains
from virtlayer.keeper.kinds.known import Kinds
from virtlayer.keeper.pools import Pools
from virtlayer.protocol import answering


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn(answering.Turn):
    """One request.

    Attributes:
        hypervisor: The connection to libvirt.
        pools: Its pools.
        kinds: The kinds of the pools.
        domains: Its domains.
        holdings: What the connection of the service holds.
    """

    hypervisor: Hypervisor
    pools: Pools
    kinds: Kinds
    domains: Domains
    holdings: Holdings
