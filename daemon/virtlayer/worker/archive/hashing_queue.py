# SPDX-License-Identifier: LGPL-2.1-or-later
"""A queue of pieces of memory from one thread to another, which hashes them.

Each is hashed once and in order, by the thread that has time: the producer while it would wait
because the queue is full, else the consumer.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Protocol


class Hash(Protocol):
    """A hash object of ``hashlib``, which releases Python's lock."""

    def update(self, data: bytes, /) -> None:
        """Add bytes."""


class Handover:
    """A queue of pieces, with the end after the last one.

    Args:
        hashed_by: The hash of all pieces.
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
        """Append a piece, or the end: None, or an error. Return False if the queue is closed."""
        while (waiting := self._append_or_claim(piece)) is not None:
            self._hash_claimed(waiting, stays=True)
        return not self._closed

    def take(self) -> bytes | BaseException | None:
        """The next piece, hashed; or the end, after which nothing comes."""
        with self._changed:
            while not self._waiting or (self._hashing and not self._hashed):
                self._changed.wait()
            piece = self._waiting.popleft()
            self._changed.notify_all()
            if self._hashed:
                self._hashed -= 1
                return piece
            if not isinstance(piece, bytes):
                return piece
            self._hashing = True
        self._hash_claimed(piece, stays=False)
        return piece

    def close(self) -> None:
        """Take nothing from now on; a thread that waits to give stops waiting."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _append_or_claim(self, piece: bytes | BaseException | None) -> bytes | None:
        """Append a piece as soon as there is room; or return one that is to be hashed meanwhile."""
        with self._changed:
            while len(self._waiting) >= self._limit and not self._closed:
                if (waiting := self._claim()) is not None:
                    return waiting
                self._changed.wait()
            self._waiting.append(piece)
            self._changed.notify_all()
            return None

    def _claim(self) -> bytes | None:
        """The next piece to be hashed, for the caller alone; called with the lock.

        Returns:
            None if there is none, or the other thread hashes.
        """
        if self._hashing or self._hashed == len(self._waiting):
            return None
        piece = self._waiting[self._hashed]
        if not isinstance(piece, bytes):
            return None
        self._hashing = True
        return piece

    def _hash_claimed(self, piece: bytes, *, stays: bool) -> None:
        """Hash a piece that the caller has claimed. Called without the lock.

        Args:
            piece: The piece.
            stays: Whether it stays in the queue.
        """
        hashed = 0
        try:
            self._hash.update(piece)
            hashed = int(stays)
        finally:
            with self._changed:
                self._hashing = False
                self._hashed += hashed
                self._changed.notify_all()
