# SPDX-License-Identifier: LGPL-2.1-or-later
"""Finds the disk of a containerDisk image in its layers, and copies it out of the stream.

Such an image has a disk in its directory ``/disk`` (kubevirt.io, user guide, "containerDisk"). The
layers are read from the top one down: so an entry that hides or replaces a file is known before the
file, and no file is copied needlessly.

An artifact has no archive: its one blob is the disk.
"""

from __future__ import annotations

import os

from virtlayer.worker.archive.archive import HARD_LINK, Archive, Entry
from virtlayer.worker.archive.stream import LayerStream
from virtlayer.worker.problems import BadArchive
from virtlayer.worker.tree import DIRECTORY, REGULAR

_DIRECTORY = b"disk"
_SUFFIXES = (b".qcow2", b".img", b".raw")
_WHITEOUT, _OPAQUE = b".wh.", b".wh..wh..opq"
_CHUNK = 64 * 1024
"""Blocks of this size that are zero become holes of the file."""
_ZEROES = bytes(_CHUNK)
_EVERYTHING = 2**63 - 1


_HEAD = 512
"""Bytes of a disk's first sector."""
_QCOW2_MAGIC = b"QFI\xfb"
_BOOT_SIGNATURE = b"\x55\xaa"
"""At the end of the first sector of a disk with a partition table (MBR, or the one of a GPT)."""


class NotADisk(Exception):
    """What a blob contains is not a disk image."""


def is_disk(entry: Entry) -> bool:
    """Whether an entry of any layer is a disk in /disk."""
    if entry.kind != REGULAR or not entry.name.endswith(_SUFFIXES):
        return False
    match _parts(entry):
        case [directory, _]:
            return directory == _DIRECTORY
    return False


class DiskSearch:
    """The search through the layers of one image.

    Args:
        output: A descriptor of the file that the disk is copied to; stays the caller's.
    """

    def __init__(self, output: int) -> None:
        self.disks: list[bytes] = []
        """The names of the disks found in /disk. The first one is copied."""
        self.size = 0
        """Of the disk that was copied, in bytes."""
        self._output = output
        self._hidden: set[bytes] = set()
        self._all_hidden = False
        self._hidden_here: set[bytes] = set()
        self._all_hidden_here = False

    def begin_layer(self) -> None:
        """Begin with a layer that is below those before."""
        self._hidden |= self._hidden_here
        self._all_hidden |= self._all_hidden_here
        self._hidden_here = set()
        self._all_hidden_here = False

    def use(self, entry: Entry, archive: Archive) -> None:
        """Examine an entry of the layer, and copy it if it is the disk.

        Raises:
            BadArchive: The disk is a link.
        """
        match _parts(entry):
            case [name] if name in (_OPAQUE, _WHITEOUT + _DIRECTORY):
                self._all_hidden_here = True
            case [name] if name == _DIRECTORY and entry.kind != DIRECTORY:
                self._all_hidden_here = True
            case [directory, name] if directory == _DIRECTORY:
                self._use_in_directory(name, entry, archive)

    def copy_whole(self, stream: LayerStream) -> None:
        """Copy a disk that is the whole content of a blob, without an archive.

        Raises:
            NotADisk: It is neither a qcow2 nor a raw disk with a partition table.
        """
        head = stream.read(_HEAD)
        if not head.startswith(_QCOW2_MAGIC) and head[-2:] != _BOOT_SIGNATURE:
            raise NotADisk
        os.ftruncate(self._output, 0)
        _write(self._output, memoryview(head), 0)
        self.size = len(head)
        for piece in stream.pieces(_EVERYTHING):
            self._write_data(piece, self.size)
            self.size += len(piece)
        os.ftruncate(self._output, self.size)
        self.disks.append(b"")

    def _use_in_directory(self, name: bytes, entry: Entry, archive: Archive) -> None:
        if name == _OPAQUE:
            self._all_hidden_here = True
            return
        if name.startswith(_WHITEOUT):
            self._hidden_here.add(name.removeprefix(_WHITEOUT))
            return
        self._hidden_here.add(name)
        if self._all_hidden or name in self._hidden or not name.endswith(_SUFFIXES):
            return
        if entry.kind == HARD_LINK:
            raise BadArchive("a disk that is a hard link", entry.name)
        if entry.kind != REGULAR:
            return
        if name not in self.disks:
            self.disks.append(name)
        if name == self.disks[0]:
            self._copy(entry, archive)

    def _copy(self, entry: Entry, archive: Archive) -> None:
        self.size = entry.size
        # Emptied first: the layer may have the name twice, and then the last one counts.
        os.ftruncate(self._output, 0)
        os.ftruncate(self._output, entry.size)
        for offset, length in entry.segments:
            position = offset
            for piece in archive.pieces(length):
                self._write_data(piece, position)
                position += len(piece)

    def _write_data(self, piece: memoryview, position: int) -> None:
        for start in range(0, len(piece), _CHUNK):
            chunk = piece[start : start + _CHUNK]
            if chunk != _ZEROES[: len(chunk)]:
                _write(self._output, chunk, position + start)


def _parts(entry: Entry) -> list[bytes]:
    return [part for part in entry.name.split(b"/") if part not in (b"", b".")]


def _write(output: int, data: memoryview, offset: int) -> None:
    os.lseek(output, offset, os.SEEK_SET)
    while data:
        data = data[os.write(output, data) :]
