# SPDX-License-Identifier: LGPL-2.1-or-later
"""The directories of an open file system: read when they are needed, written at the end."""

from __future__ import annotations

import itertools
from array import array
from typing import TYPE_CHECKING

from virtlayer.worker.ext4.directory import Directory
from virtlayer.worker.ext4.library import check, ffi, lib

if TYPE_CHECKING:
    from virtlayer.worker.ext4._ext4 import Writer

_KEPT = 16384
"""Directories in memory. A layer with a million directories does not need them all at a time."""


class Directories:
    """The directories of a file system.

    Args:
        writer: The file system.
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._kept: dict[int, Directory] = {}
        self._listing = ffi.new("struct vl_listing *")

    def get(self, number: int) -> Directory:
        """A directory; valid until the next one is asked for.

        Raises:
            Ext4Error: It cannot be read, or another one cannot be written to make room.
            DirectoryTooLarge: Another one has too many names to be written.
        """
        directory = self._kept.get(number)
        if directory is None:
            directory = self._read(number)
            self._keep(directory)
        return directory

    def create(self, number: int, parent: int) -> None:
        """Begin an empty directory, whose inode exists."""
        directory = Directory(number, parent, {})
        directory.changed = True
        self._keep(directory)

    def forget(self, number: int) -> None:
        """Forget a directory that was removed."""
        self._kept.pop(number, None)

    def write_all(self) -> None:
        """Write every directory that has changed.

        Raises:
            Ext4Error: One cannot be written.
            DirectoryTooLarge: One has too many names.
        """
        for directory in self._kept.values():
            if directory.changed:
                self._write(directory)

    def _keep(self, directory: Directory) -> None:
        """Keep a directory in memory; archives go by branches, so the oldest is needed least."""
        if len(self._kept) >= _KEPT:
            for number in list(itertools.islice(self._kept, _KEPT // 2)):
                if self._kept[number].changed:
                    self._write(self._kept[number])
                del self._kept[number]
        self._kept[directory.number] = directory

    def _read(self, number: int) -> Directory:
        listing = self._listing
        check(lib.vl_read_directory(self._writer, number, listing))
        try:
            names = bytes(ffi.buffer(listing.names, listing.length)).split(b"/")
            values = ffi.unpack(listing.values, listing.count)
            parent = listing.parent
        finally:
            lib.vl_forget_listing(listing)
        # Nothing follows the last "/".
        return Directory(number, parent, dict(zip(names, values, strict=False)))

    def _write(self, directory: Directory) -> None:
        entries = directory.entries
        names = b"/".join(entries)
        values = array("Q", entries.values())
        code = lib.vl_write_directory(
            self._writer,
            directory.number,
            directory.parent,
            names,
            len(names),
            ffi.from_buffer("uint64_t[]", values),
            len(values),
        )
        check(code)
        directory.changed = False
