# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pieces of memory on their way from one thread to another, which are hashed on the way.

Each is hashed once and in order, by whichever thread has time: the one that makes them while it
would wait because too many are waiting, else the one that takes them.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Protocol


class Hash(Protocol):
    """What ``hashlib`` makes; it lets Python's lock go."""

    def update(self, data: bytes, /) -> None:
        """Add bytes."""


class Handover:
    """A queue of pieces, and of what comes after the last one.

    Args:
        hashed_by: Every piece goes through it.
        limit: The most pieces that wait.
    """

    def __init__(self, hashed_by: Hash, limit: int) -> None:
        self._hash = hashed_by
        self._limit = limit
        self._waiting: deque[bytes | BaseException | None] = deque()
        self._changed = threading.Condition()
        self._closed = False
        # How many of those waiting are hashed, from the first on; and whether one is being hashed,
        # which is the next of them, or the one that was taken last.
        self._hashed = 0
        self._hashing = False

    def give(self, piece: bytes | BaseException | None) -> bool:
        """Append a piece, or the end: None, or the reason for it. False if nobody takes it."""
        with self._changed:
            while len(self._waiting) >= self._limit and not self._closed:
                if not self._hash_ahead():
                    self._changed.wait()
            self._waiting.append(piece)
            self._changed.notify_all()
            return not self._closed

    def take(self) -> bytes | BaseException | None:
        """The next piece, hashed; or the end, after which nothing comes."""
        with self._changed:
            while not self._waiting or (self._hashing and not self._hashed):
                self._changed.wait()
            piece = self._waiting.popleft()
            if self._hashed:
                self._hashed -= 1
            elif isinstance(piece, bytes):
                self._hash_unlocked(piece)
            self._changed.notify_all()
            return piece

    def close(self) -> None:
        """Nothing is taken any more, and who waits to give need not."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _hash_ahead(self) -> bool:
        """Hash the next piece that waits; False if there is none, or the other thread hashes."""
        if self._hashing or self._hashed == len(self._waiting):
            return False
        piece = self._waiting[self._hashed]
        if not isinstance(piece, bytes):
            return False
        self._hash_unlocked(piece)
        self._hashed += 1
        self._changed.notify_all()
        return True

    def _hash_unlocked(self, piece: bytes) -> None:
        """Hash a piece while the other thread may give, take and wait, but not hash."""
        self._hashing = True
        self._changed.release()
        try:
            self._hash.update(piece)
        finally:
            self._changed.acquire()
            self._hashing = False
