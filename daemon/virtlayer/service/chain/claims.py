# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which volumes running jobs count on, so that no deletion takes them away in the meantime.

A job that found a volume in the pool goes on to build on it, minutes later perhaps, and nothing in
the pool says so until it has. It therefore claims its volumes by name before it looks for them. A
deletion leaves claimed volumes alone; while it decides and deletes, new claims wait. Neither waits
for a whole job of the other kind.

This is about the jobs of one daemon. Two daemons that share a pool know nothing of each other's
claims, nor of each other's images.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterable

from virtlayer.protocol.pools import Pool


class Claims:
    """The claims on the volumes of every pool."""

    def __init__(self) -> None:
        self._pools: dict[str, _PoolClaims] = {}

    @contextlib.asynccontextmanager
    async def claimed(self, pool: Pool, names: Iterable[str]) -> AsyncIterator[None]:
        """Keep volumes of these names, which may not be there yet, for as long as this lasts."""
        claims = self._of(pool)
        wanted = Counter(set(names))
        async with claims.lock:
            claims.names += wanted
        try:
            yield
        finally:
            claims.names -= wanted

    @contextlib.asynccontextmanager
    async def deleting(self, pool: Pool) -> AsyncIterator[frozenset[str]]:
        """Let no new claims come for as long as this lasts.

        Yields:
            The names that are claimed.
        """
        claims = self._of(pool)
        async with claims.lock:
            yield frozenset(claims.names)

    def _of(self, pool: Pool) -> "_PoolClaims":
        return self._pools.setdefault(pool.uuid, _PoolClaims())


class _PoolClaims:
    """The claims in one pool: how many jobs want each name."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.names: Counter[str] = Counter()
