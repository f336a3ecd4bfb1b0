# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pieces that two threads hand over, and hash in order between them."""

import hashlib
import random
import threading
import time
from collections.abc import Iterator

import pytest

from virtlayer.worker.archive.hashing_queue import Handover

_PIECES = [bytes([number % 256]) * 3000 for number in range(300)]


class _Recorded:
    """Remembers what was hashed, and by which thread."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.threads: list[str] = []
        self.changed = threading.Event()

    def update(self, data: bytes, /) -> None:
        self.pieces.append(data)
        self.threads.append(threading.current_thread().name)
        self.changed.set()


def _taken(handover: Handover) -> Iterator[bytes]:
    while isinstance(piece := handover.take(), bytes):
        yield piece


@pytest.mark.parametrize("slow", ["giver", "taker", "both", "neither"])
def test_every_piece_comes_once_and_is_hashed_once(slow: str) -> None:
    chance = random.Random(slow)  # noqa: S311 -- to pause now and then
    digest = hashlib.sha256()
    handover = Handover(digest, 4)

    def pause(who: str) -> None:
        if slow in (who, "both") and chance.random() < 0.2:
            time.sleep(0.001)

    def give() -> None:
        for piece in _PIECES:
            pause("giver")
            handover.give(piece)
        handover.give(None)

    giver = threading.Thread(target=give)
    giver.start()
    taken = []
    for piece in _taken(handover):
        pause("taker")
        taken.append(piece)
    giver.join()

    assert taken == _PIECES
    assert digest.digest() == hashlib.sha256(b"".join(_PIECES)).digest()


def test_blocked_writer_hashes_queued_pieces() -> None:
    record = _Recorded()
    handover = Handover(record, 3)
    giver = threading.Thread(
        target=lambda: [handover.give(piece) for piece in (*_PIECES[:6], None)], name="giver"
    )
    giver.start()
    while len(record.pieces) < 3:
        record.changed.wait(1)

    assert record.pieces == _PIECES[:3]
    assert list(_taken(handover)) == _PIECES[:6]
    giver.join()
    assert record.pieces == _PIECES[:6]
    assert record.threads[:3] == ["giver"] * 3


def test_reader_hashes_unhashed_pieces() -> None:
    record = _Recorded()
    handover = Handover(record, 9)
    for piece in (*_PIECES[:6], None):
        handover.give(piece)
    assert record.pieces == []

    assert list(_taken(handover)) == record.pieces == _PIECES[:6]


class _Interrupted(Exception):
    """The exception of the signal handler."""


class _InterruptedLock:
    """A lock for which a thread waits in vain, because a signal arrives meanwhile."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.interrupts = False

    def acquire(self, *arguments: bool) -> bool:
        if self.interrupts:
            raise _Interrupted
        return self._lock.acquire(*arguments)

    def release(self) -> None:
        self._lock.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class _Interrupting:
    """A hash after which the lock is interrupted."""

    def __init__(self, lock: _InterruptedLock) -> None:
        self._lock = lock

    def update(self, _: bytes, /) -> None:
        self._lock.interrupts = True


def test_signal_while_waiting_for_the_lock_raises() -> None:
    lock = _InterruptedLock()
    queue = Handover(_Interrupting(lock), 2)
    queue._changed = threading.Condition(lock)  # type: ignore[arg-type]
    queue.give(b"piece")
    with pytest.raises(_Interrupted):
        queue.take()


def test_blocked_writer_stops_when_closed() -> None:
    record = _Recorded()
    handover = Handover(record, 1)
    answers: list[bool] = []
    giver = threading.Thread(
        target=lambda: answers.extend(handover.give(piece) for piece in _PIECES[:2])
    )
    giver.start()
    record.changed.wait()

    handover.close()
    giver.join()

    assert answers == [True, False]
