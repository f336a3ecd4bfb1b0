# SPDX-License-Identifier: LGPL-2.1-or-later
"""The ext4 writer's end of an NBD connection: servers that hang, fail, or have been left."""

import contextlib
import errno
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.support.leftovers import children
from tests.support.volumes import SIZE, format_volume, served
from tests.support.waiting import stop
from virtlayer.worker.ext4.filesystem import ROOT, Ext4Filesystem
from virtlayer.worker.ext4.library import Ext4Error, ServerHangs
from virtlayer.worker.ext4.refusal import refusal
from virtlayer.worker.tree import FIFO, Metadata

_METADATA = Metadata(0o755, 0, 0, 0)
_SECONDS = 3.0
"""The deadline: long enough for a server that is not stopped, on a busy machine."""
_AT_ONCE = 0.2
"""The deadline where a server never answers."""


def _open_descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


@contextlib.contextmanager
def _no_descriptor_left() -> Iterator[None]:
    before = _open_descriptors()
    yield
    assert _open_descriptors() == before


@pytest.fixture
async def volume(tmp_path: Path) -> Path:
    def fill(filesystem: Ext4Filesystem) -> None:
        for number in range(3000):
            filesystem.add_special(ROOT, b"%d" % number, _METADATA, FIFO, 0, 0)

    path = tmp_path / "volume"
    await format_volume(path, SIZE, "server", fill)
    return path


@contextlib.asynccontextmanager
async def _stoppable(volume: Path) -> AsyncIterator[tuple[socket.socket, Callable[[], None]]]:
    """A connection, and a function that stops its server; which goes on at the end."""
    before = children()
    async with served(volume) as connection:
        (server,) = children() - before
        try:
            yield connection, lambda: stop(server)
        finally:
            os.kill(server, signal.SIGCONT)


def _read(filesystem: Ext4Filesystem) -> None:
    filesystem.find(ROOT, b"1")


def _write_and_flush(filesystem: Ext4Filesystem) -> None:
    filesystem.add_special(ROOT, b"new", _METADATA, FIFO, 0, 0)
    filesystem.finish()


@pytest.mark.parametrize("use", [_read, _write_and_flush, Ext4Filesystem.leave])
async def test_server_that_hangs_is_an_error_after_the_deadline(
    volume: Path, use: Callable[[Ext4Filesystem], None]
) -> None:
    async with _stoppable(volume) as (connection, stop):
        with Ext4Filesystem.opened(connection.dup(), _SECONDS) as filesystem:
            if use is not _read:
                filesystem.find(ROOT, b"1")
            stop()
            if use is Ext4Filesystem.leave:
                # Everything that was written is flushed: there is nothing more to be told.
                use(filesystem)
                return
            with pytest.raises(Ext4Error, match="timed out"):
                use(filesystem)
            # The connection is closed by now: these do not wait again.
            with pytest.raises(Ext4Error, match="timed out"):
                filesystem.finish()
            with pytest.raises(Ext4Error, match="timed out"):
                filesystem.leave()


def test_server_that_hangs_is_reported_as_such() -> None:
    refused = refusal(ServerHangs(errno.ETIMEDOUT), b"some/entry", None)
    assert refused.problem.startswith(
        "cannot be written: the server of the volume makes no progress"
    )


@pytest.mark.parametrize("code", [errno.ENOTCONN, errno.EPIPE, errno.ECONNRESET])
def test_server_that_has_ended_is_reported_and_no_entry_is_blamed(code: int) -> None:
    refused = refusal(Ext4Error(code), b"some/entry", None)
    assert refused.problem == "cannot be written: qemu-storage-daemon has stopped"


def _opened(device: socket.socket) -> None:
    Ext4Filesystem.opened(device, _AT_ONCE)


def _formatted(device: socket.socket) -> None:
    Ext4Filesystem.formatted(device, SIZE, "server", _AT_ONCE)


@pytest.mark.parametrize("begin", [_opened, _formatted])
def test_server_that_never_shakes_hands_is_an_error_after_the_deadline(
    begin: Callable[[socket.socket], None],
) -> None:
    with _no_descriptor_left():
        ours, theirs = socket.socketpair()
        with theirs, pytest.raises(Ext4Error, match="timed out"):
            begin(ours)


async def test_read_ahead_of_a_hanging_server_is_reported_to_the_reader(volume: Path) -> None:
    async with _stoppable(volume) as (connection, stop):
        with Ext4Filesystem.opened(connection.dup(), _SECONDS) as filesystem:
            stop()
            filesystem.expect([b"%d" % number for number in range(3000)])
            with pytest.raises(Ext4Error, match="timed out"):
                filesystem.find(ROOT, b"1")


async def test_file_system_that_cannot_be_made_or_opened_leaves_no_descriptor(
    volume: Path,
) -> None:
    async def attempt(what: Callable[[socket.socket], object]) -> None:
        async with served(volume) as connection:
            with pytest.raises(Ext4Error):
                what(connection.dup())

    empty = volume.with_name("empty")
    empty.write_bytes(bytes(SIZE))
    with _no_descriptor_left():
        await attempt(lambda device: Ext4Filesystem.formatted(device, 2 * SIZE, "server"))
        volume = empty
        await attempt(Ext4Filesystem.opened)
        ours, theirs = socket.socketpair()
        theirs.close()
        with pytest.raises(Ext4Error):
            Ext4Filesystem.opened(ours)
        # Before the device is opened: there is no file system of no blocks.
        ours, theirs = socket.socketpair()
        with theirs, pytest.raises(Ext4Error):
            Ext4Filesystem.formatted(ours, 0, "server")


async def test_volume_that_was_left_cannot_be_read(volume: Path) -> None:
    async with served(volume) as connection:
        with Ext4Filesystem.opened(connection.dup()) as filesystem:
            filesystem.leave()
            with pytest.raises(Ext4Error, match="not connected"):
                filesystem.find(ROOT, b"1")


async def test_volume_that_was_left_cannot_be_written(volume: Path) -> None:
    async with served(volume) as connection:
        with Ext4Filesystem.opened(connection.dup()) as filesystem:
            filesystem.add_directory(ROOT, b"new", _METADATA)
            filesystem.leave()
            with pytest.raises(Ext4Error, match="not connected"):
                filesystem.finish()


async def test_volume_that_was_not_left_is_not_exchanged(volume: Path) -> None:
    async with served(volume) as connection:
        with Ext4Filesystem.opened(connection.dup()) as filesystem:
            ours, theirs = socket.socketpair()
            with theirs, pytest.raises(Ext4Error, match="already connected"):
                filesystem.go_on(ours)
            assert filesystem.find(ROOT, b"1")


async def test_volume_of_a_server_that_hangs_is_not_gone_on_with(volume: Path) -> None:
    with _no_descriptor_left():
        async with served(volume) as connection:
            with Ext4Filesystem.opened(connection.dup(), _SECONDS) as filesystem:
                filesystem.finish()
                filesystem.leave()
                ours, theirs = socket.socketpair()
                with theirs, pytest.raises(Ext4Error, match="timed out"):
                    filesystem.go_on(ours)
