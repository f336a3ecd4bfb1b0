# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the process has for its connection."""

import itertools

from virtlayer.errors import Internal
from virtlayer.rbd.answers.held_claims import HeldClaims
from virtlayer.rbd.answers.stagings import Stagings
from virtlayer.rbd.cluster import Cluster
from virtlayer.rbd.withdrawal import PlacedImages


class Holdings:
    """The open pool, and everything that has a number."""

    def __init__(self) -> None:
        self._cluster: Cluster | None = None
        self._claims: HeldClaims | None = None
        self._stagings: Stagings | None = None
        self.placed = PlacedImages()
        """The images that this connection has placed."""
        self._numbers = itertools.count(1)
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

    @property
    def claims(self) -> HeldClaims:
        """The claims and locks.

        Raises:
            Internal: The pool is not open yet.
        """
        if self._claims is None:
            raise Internal("The pool is not open.")
        return self._claims

    @property
    def stagings(self) -> Stagings:
        """The staging places, and the servers of images in them.

        Raises:
            Internal: The pool is not open yet.
        """
        if self._stagings is None:
            raise Internal("The pool is not open.")
        return self._stagings

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
        if cluster is not None:
            self._stagings = Stagings(cluster, self._numbers)
            self._claims = HeldClaims(cluster, self._numbers, self._stagings.vacate)
        self._is_opening = False

    async def release(self, number: int) -> None:
        """End a claim with its staging places, a lock, or a staging place.

        Raises:
            Internal: There is none of that number.
        """
        if number in self.stagings:
            await self.stagings.remove(number)
        else:
            await self.claims.release(number)

    async def disconnect(self) -> None:
        """End everything but claims: the keeper has ended."""
        if self._stagings is not None:
            await self._stagings.close()
        if self._claims is not None:
            await self._claims.disconnect()

    async def until_unused(self) -> None:
        """Wait until nobody keeps a claim."""
        if self._claims is not None:
            await self._claims.until_none()

    async def close(self) -> None:
        """End everything."""
        if self._claims is not None:
            await self._claims.close()
