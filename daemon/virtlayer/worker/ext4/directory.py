# SPDX-License-Identifier: LGPL-2.1-or-later
"""A directory in memory, where names are found, added and removed."""

from __future__ import annotations

from virtlayer.worker.tree import Child


class Directory:
    """A directory in memory.

    Args:
        number: Its inode.
        parent: The inode that ``..`` leads to.
        entries: What its names lead to, each as inode number and kind packed into one int: with
            a million names in memory, their size counts.
    """

    __slots__ = ("changed", "entries", "number", "parent")

    def __init__(self, number: int, parent: int, entries: dict[bytes, int]) -> None:
        self.number = number
        self.parent = parent
        self.entries = entries
        self.changed = False

    def find(self, name: bytes) -> Child | None:
        """What a name leads to."""
        packed = self.entries.get(name)
        return None if packed is None else Child(packed >> 3, packed & 7)

    def add(self, name: bytes, number: int, kind: int) -> None:
        """Enter a name."""
        self.entries[name] = number << 3 | kind
        self.changed = True

    def remove(self, name: bytes) -> None:
        """Take a name out."""
        del self.entries[name]
        self.changed = True
