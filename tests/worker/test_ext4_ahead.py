# SPDX-License-Identifier: LGPL-2.1-or-later
"""Metadata that a layer needs is read into memory in advance."""

import functools
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.volumes import SIZE, format_volume, served
from virtlayer.worker.apply import path_in_question
from virtlayer.worker.ext4.filesystem import ROOT, Ext4Filesystem
from virtlayer.worker.ext4.library import Ext4Error, check, ffi, lib
from virtlayer.worker.tree import FIFO, Metadata

_PATHS = [f"usr/lib/{part}/{name}".encode() for part in range(40) for name in range(100)]
_LAST = _PATHS[-1]
_METADATA = Metadata(0o755, 0, 0, 0)


async def _filled(volume: Path, size: int, paths: Iterable[bytes]) -> None:
    def fill(filesystem: Ext4Filesystem) -> None:
        for path in paths:
            *parents, name = path.split(b"/")
            directory = functools.reduce(functools.partial(_entered, filesystem), parents, ROOT)
            filesystem.add_special(directory, name, _METADATA, FIFO, 0, 0)

    await format_volume(volume, size, "ahead", fill)


def _entered(filesystem: Ext4Filesystem, directory: int, name: bytes) -> int:
    child = filesystem.find(directory, name)
    return child.node if child else filesystem.add_directory(directory, name, _METADATA)


@pytest.fixture
async def volume(tmp_path: Path) -> Path:
    """More inodes and directories than a cluster has room for."""
    volume = tmp_path / "volume"
    await _filled(volume, SIZE, _PATHS)
    return volume


@asynccontextmanager
async def opened(volume: Path) -> AsyncIterator[tuple[Ext4Filesystem, socket.socket]]:
    """A file system, and the connection that it reads through."""
    async with served(volume) as connection:
        with Ext4Filesystem.opened(connection.dup()) as filesystem:
            yield filesystem, connection


def found(filesystem: Ext4Filesystem, path: bytes) -> bool:
    """Follow a path, and look at the inode at its end."""
    node = ROOT
    for name in path.split(b"/"):
        child = filesystem.find(node, name)
        if child is None:
            return False
        node = child.node
    check(lib.vl_read_node(filesystem._writer, node, ffi.new("struct vl_node *")))
    return True


@pytest.mark.parametrize("spelling", ["{}", "/{}", "./{}", "{}/"])
async def test_expected_paths_need_no_further_request(volume: Path, spelling: str) -> None:
    async with opened(volume) as (filesystem, connection):
        filesystem.expect([spelling.format(path.decode()).encode() for path in _PATHS])
        connection.shutdown(socket.SHUT_RDWR)
        assert all(found(filesystem, path) for path in _PATHS)


async def test_unexpected_path_is_not_read_ahead(volume: Path) -> None:
    async with opened(volume) as (filesystem, connection):
        filesystem.expect([path for path in _PATHS if path.count(b"/39/") == 0])
        connection.shutdown(socket.SHUT_RDWR)
        assert found(filesystem, _PATHS[0])
        with pytest.raises(Ext4Error):
            found(filesystem, _LAST)


async def test_whiteout_reads_ahead_the_path_it_hides(volume: Path) -> None:
    head, _, name = _LAST.rpartition(b"/")
    async with opened(volume) as (filesystem, connection):
        filesystem.expect([path_in_question(head + b"/.wh." + name)])
        connection.shutdown(socket.SHUT_RDWR)
        assert found(filesystem, _LAST)


async def test_expecting_invalid_paths_is_harmless(volume: Path) -> None:
    async with opened(volume) as (filesystem, _):
        filesystem.expect([b"", b"/", b"..", b"../usr", b"no/such", _PATHS[0] + b"/below", b"\xff"])
        assert found(filesystem, _LAST)


async def test_failed_read_ahead_is_reported_to_its_readers(volume: Path) -> None:
    async with opened(volume) as (filesystem, connection):
        connection.shutdown(socket.SHUT_RDWR)
        filesystem.expect([_LAST])
        with pytest.raises(Ext4Error):
            found(filesystem, _LAST)


async def test_more_than_the_cache_has_room_for(tmp_path: Path) -> None:
    """Directories and inodes of 40 MiB, where there is room for 32."""
    paths = [f"{part}/{'n' * 200}{name}".encode() for part in range(4) for name in range(25_000)]
    volume = tmp_path / "volume"
    await _filled(volume, 16 * SIZE, paths)
    async with opened(volume) as (filesystem, _):
        filesystem.expect(paths)
        assert all(found(filesystem, path) for path in paths[::100])
