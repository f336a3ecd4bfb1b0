# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the process has for its connection."""

from virtlayer.errors import Internal
from virtlayer.rbd.cluster import Cluster


class Holdings:
    """The open pool, and everything that has a number."""

    def __init__(self) -> None:
        self._cluster: Cluster | None = None
        self._is_opening = False

    @property
    def cluster(self) -> Cluster:
        """The open pool.

        Raises:
            Internal: It is not open yet.
        """
        if self._cluster is None:
            raise Internal("The pool is not open.")
        return self._cluster

    def begin_opening(self) -> None:
        """Allow the pool to be opened.

        Raises:
            Internal: It has been opened already.
        """
        if self._is_opening or self._cluster is not None:
            raise Internal("The pool is open already.")
        self._is_opening = True

    def end_opening(self, cluster: Cluster | None) -> None:
        """Take over the open pool; None if it cannot be opened, and another attempt may be made."""
        self._cluster = cluster
        self._is_opening = False

    async def close(self) -> None:
        """End everything."""
