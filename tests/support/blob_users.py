# SPDX-License-Identifier: LGPL-2.1-or-later
"""Users of the blob cache in tests."""

from collections.abc import Iterable


class User:
    """One who may use what is recorded for him.

    Args:
        source: Where he downloads from.
        usable: The digests of what he may use; all if None.
    """

    def __init__(self, source: str = "here", usable: set[str] | None = None) -> None:
        self.source = source
        self.usable = usable
        self.has_downloaded: list[str] = []

    async def may_use(self, digests: Iterable[str]) -> frozenset[str]:
        wanted = frozenset(digests)
        return wanted if self.usable is None else wanted & self.usable

    async def downloaded(self, digest: str) -> None:
        self.has_downloaded.append(digest)
        if self.usable is not None:
            self.usable.add(digest)
