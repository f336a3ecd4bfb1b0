# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the answers to all messages have in common."""

from dataclasses import dataclass

from virtlayer.protocol import answering
from virtlayer.rbd.answers.holdings import Holdings
from virtlayer.rbd.cluster import Cluster


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn(answering.Turn):
    """One request.

    Attributes:
        holdings: What the process has for its connection.
    """

    holdings: Holdings

    @property
    def cluster(self) -> Cluster:
        """The open pool.

        Raises:
            Internal: It is not open yet.
        """
        return self.holdings.cluster
