# SPDX-License-Identifier: LGPL-2.1-or-later
"""The memory that a download shares with its reader: what is lost, and who waits for whom."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.support.leftovers import nothing_left
from tests.support.waiting import PATIENCE
from virtlayer.protocol.recent_bytes import PIECE, PIECES, SIZE
from virtlayer.service.blobs import recent_bytes
from virtlayer.service.blobs.recent_bytes import RecentBytes
from virtlayer.worker import blob_reader

FIRST_LOSS = PIECES - 1
"""The number of the piece for which the first one is given up."""


@pytest.fixture(autouse=True)
def no_leftovers() -> Iterator[None]:
    with nothing_left():
        yield


@contextlib.contextmanager
def followed() -> Iterator[tuple[RecentBytes, socket.socket]]:
    """The memory of a download, and the socket of its reader."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    recent = RecentBytes()
    with ours, theirs:
        ours.setblocking(False)
        with recent.followed(ours):
            yield recent, theirs


def size(number: int) -> bytes:
    return number.to_bytes(8, "little")


def is_given(recent: RecentBytes, piece: int) -> bool:
    """Whether memory is given for a piece, though the reader does not make progress."""
    taking = threading.Thread(target=recent.piece, args=[piece], daemon=True)
    taking.start()
    taking.join(PATIENCE)
    return not taking.is_alive()


def test_bytes_are_lost_one_piece_before_they_are_overwritten() -> None:
    shared = RecentBytes()
    recent = blob_reader.RecentBytes(shared.descriptor)
    for number in range(FIRST_LOSS):
        shared.piece(number)[:] = bytes([number]) * PIECE
    assert recent.read(5, 10) == bytes(10)
    assert recent.read(PIECE - 5, 10) == bytes([0] * 5 + [1] * 5)
    assert len(recent.read(SIZE - 5, 10)) == 5
    shared.piece(FIRST_LOSS)
    assert recent.read(PIECE - 1, 10) == b""
    assert recent.read(PIECE, 10) == bytes([1] * 10)
    shared.piece(PIECES)[:] = bytes([99]) * PIECE
    assert recent.read(2 * PIECE - 1, 1) == b""
    assert recent.read(PIECES * PIECE, SIZE)[:1] == bytes([99])


def test_reader_is_told_about_each_piece() -> None:
    with followed() as (recent, reader):
        for number in range(3):
            recent.piece(number)
            assert reader.recv(8) == size(number * PIECE)


def test_reader_that_is_near_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_bytes, "_PATIENCE", 10 * PATIENCE)
    monkeypatch.setattr(recent_bytes, "_MOST_PATIENCE", 10 * PATIENCE)
    with followed() as (recent, reader):
        taking = threading.Thread(target=recent.piece, args=[FIRST_LOSS])
        taking.start()
        reader.send(size(PIECE - 1))
        taking.join(0.2)
        assert taking.is_alive(), "it did not wait for the last byte"
        reader.send(size(PIECE))
        taking.join(PATIENCE)
        assert not taking.is_alive()


def test_reader_without_progress_is_left_behind() -> None:
    with followed() as (recent, _reader):
        assert is_given(recent, FIRST_LOSS)


def test_reader_that_is_far_behind_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_bytes, "_PATIENCE", 10 * PATIENCE)
    monkeypatch.setattr(recent_bytes, "_MOST_PATIENCE", 10 * PATIENCE)
    with followed() as (recent, _reader):
        assert is_given(recent, 1000)


def test_reader_cannot_hold_up_a_download_with_messages() -> None:
    with followed() as (recent, reader):
        ended = threading.Event()

        def talk() -> None:
            while not ended.is_set():
                with contextlib.suppress(OSError):
                    reader.send(size(0), socket.MSG_DONTWAIT)

        talking = threading.Thread(target=talk)
        talking.start()
        try:
            assert is_given(recent, FIRST_LOSS)
        finally:
            ended.set()
            talking.join()


def test_reader_that_has_ended_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_bytes, "_PATIENCE", 10 * PATIENCE)
    with followed() as (recent, reader):
        reader.close()
        for number in range(FIRST_LOSS, 3 * PIECES):
            recent.piece(number)
