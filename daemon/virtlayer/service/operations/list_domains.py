# SPDX-License-Identifier: LGPL-2.1-or-later
"""Lists the machines and containers that virtlayer has made."""

from dataclasses import dataclass

from virtlayer.protocol.domains import State


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedDomain:
    """A machine or container.

    Attributes:
        name: The name of its domain.
        uuid: The UUID of its domain.
        state: Its state.
        pool: The name of the pool of its volume; its UUID if libvirt has no such pool.
        image: The name of its image.
    """

    name: str
    uuid: str
    state: State
    pool: str
    image: str
