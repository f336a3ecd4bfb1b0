# SPDX-License-Identifier: LGPL-2.1-or-later
"""Finds the backing files of images by their headers, which are untrusted.

A file is first found without being opened for anything (O_PATH), and examined. Only a regular file
is opened, or a device that libvirt itself has named, and only the sandboxed reader reads it. Every
file is read once, so images that back each other end the search.
"""

import asyncio
import errno
import itertools
import os
import stat
import threading
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from virtlayer.keeper.backing import named_file, unclear
from virtlayer.keeper.beneath import Identity, by_descriptor, opened
from virtlayer.keeper.calls import is_made_by_kernel
from virtlayer.keeper.headers import HeaderReader, HeadersUnreadable
from virtlayer.protocol.image_headers import BATCH, ImageHeader

_SECONDS = 60.0
"""What the whole search may take."""
_RAW = "raw"
_OVERLAYS = ("qcow2", "qcow", "qed")
_MISSING = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
"""The errors of the system for a name without a file."""
_MAKE_READABLE = "Make that file readable, or remove what refers to it."


@dataclass(frozen=True, slots=True)
class Reference:
    """A file that is referred to as an image.

    Attributes:
        path: The file.
        format: What it is opened as; None if that is not said, and its content decides.
        may_be_device: Whether a trusted party has named it, so that a block device is opened.
    """

    path: Path
    format: str | None
    may_be_device: bool = False

    @property
    def is_raw(self) -> bool:
        """Whether it is opened as plain bytes, so that its content refers to nothing."""
        return self.format == _RAW


class ImageFiles:
    """The files that were found, and what each needs.

    Args:
        reader: What reads headers.
    """

    def __init__(self, reader: HeaderReader) -> None:
        self._reader = reader
        self._found: dict[Reference, Identity | None] = {}
        self._needs: dict[Identity, tuple[Reference, ...]] = {}

    def add(self, file: Identity, needs: tuple[Reference, ...]) -> None:
        """Add a file whose header need not be read."""
        self._needs[file] = needs

    async def look_at(self, references: Iterable[Reference]) -> None:
        """Find these files, the files that they need, and so on.

        Raises:
            InUse: The files that one of them needs cannot be determined.
        """
        rest, batch = list(references), []
        try:
            async with asyncio.timeout(_SECONDS):
                while rest:
                    batch = [one for one in dict.fromkeys(rest[-BATCH:]) if one not in self._found]
                    del rest[-BATCH:]
                    rest += await self._look_at(batch)
        except TimeoutError as error:
            reason = f"the search for its backing files took longer than {_SECONDS:.0f} s"
            raise unclear(batch[0].path, reason, _MAKE_READABLE) from error

    def needed_by(self, reference: Reference) -> Iterator[Identity]:
        """Return the file of a reference, the files that it needs, and so on."""
        seen: set[Reference] = set()
        rest = [reference]
        while rest:
            one = rest.pop()
            file = self._found.get(one)
            if one in seen or file is None:
                continue
            seen.add(one)
            yield file
            if not one.is_raw:
                rest += self._needs.get(file, ())

    async def _look_at(self, references: Sequence[Reference]) -> list[Reference]:
        """Read the headers of a few files; return the references in them."""
        with _Opening(self._needs) as opening:
            await asyncio.to_thread(opening.open_all, references)
            headers = await self._read(opening.unread)
        self._found |= opening.found
        for (reference, file, _), header in zip(opening.unread, headers, strict=True):
            self._needs[file] = _needs_of(reference, header)
        files = dict.fromkeys(file for file in opening.found.values() if file is not None)
        needs = itertools.chain.from_iterable(self._needs.get(file, ()) for file in files)
        return [one for one in needs if one not in self._found]

    async def _read(self, unread: "Sequence[_Unread]") -> list[ImageHeader]:
        if not unread:
            return []
        try:
            return await self._reader.read([one.descriptor for one in unread])
        except HeadersUnreadable as error:
            path = unread[0].reference.path
            raise unclear(path, f"{error} when its header was read", _MAKE_READABLE) from error


class _Unread(NamedTuple):
    """A file whose header is to be read."""

    reference: Reference
    file: Identity
    descriptor: int


class _Opening:
    """Files that a thread opens; the context closes them, even if the thread still runs.

    Args:
        known: Files that need not be read.
    """

    def __init__(self, known: Container[Identity]) -> None:
        self.found: dict[Reference, Identity | None] = {}
        self.unread: list[_Unread] = []
        self._known = known
        self._lock = threading.Lock()
        self._is_over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._is_over = True
            for one in self.unread:
                os.close(one.descriptor)

    def open_all(self, references: Iterable[Reference]) -> None:
        """Open files.

        Raises:
            InUse: One of them cannot be opened.
        """
        for reference in references:
            try:
                self._open(reference)
            except OSError as error:
                reason = f"it cannot be opened ({error.strerror})"
                raise unclear(reference.path, reason, _MAKE_READABLE) from error

    def _open(self, reference: Reference) -> None:
        try:
            found = os.open(reference.path, os.O_PATH | os.O_CLOEXEC)
        except OSError as error:
            if error.errno not in _MISSING:
                raise
            _check_not_hidden(reference)
            self.found[reference] = None
            return
        with opened(found):
            info = os.fstat(found)
            file = info.st_dev, info.st_ino
            self.found[reference] = file
            if reference.is_raw or file in self._known:
                return
            if any(file == one.file for one in self.unread):
                return
            if _has_header(reference, found, info):
                self._open_to_read(reference, file, found)

    def _open_to_read(self, reference: Reference, file: Identity, found: int) -> None:
        # Not blocking: the file's owner may have a lease on it (fcntl(2)).
        descriptor = os.open(by_descriptor(found), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with self._lock:
            if self._is_over:
                os.close(descriptor)
            else:
                self.unread.append(_Unread(reference, file, descriptor))


def _has_header(reference: Reference, found: int, info: os.stat_result) -> bool:
    """Whether a file is one that can be an image; others are not opened.

    Raises:
        InUse: It is a device, which only a trusted party may have opened.
    """
    if stat.S_ISBLK(info.st_mode):
        if reference.may_be_device:
            return True
        raise unclear(
            reference.path,
            "it is a device that the header of another image names",
            "Delete the image that names it.",
        )
    return stat.S_ISREG(info.st_mode) and info.st_size > 0 and not is_made_by_kernel(found)


def _check_not_hidden(reference: Reference) -> None:
    if reference.is_raw or not reference.path.is_relative_to("/dev"):
        return
    raise unclear(
        reference.path,
        "virtlayer-keeper has no access to that device",
        "Allow it (PrivateDevices=no in a drop-in for its unit), or remove what refers to it.",
    )


def _needs_of(reference: Reference, header: ImageHeader) -> tuple[Reference, ...]:
    path = reference.path
    if header.problem:
        raise unclear(path, f"it {header.problem}", "Repair or delete it.")
    if reference.format in _OVERLAYS and header.format != reference.format:
        raise unclear(path, f"it is not a {reference.format} image", "Repair or delete it.")
    found = []
    if header.backing and (backing := named_file(header.backing, path)):
        found.append(Reference(backing, header.backing_format or None))
    if header.data_file and (data := named_file(header.data_file, path)):
        found.append(Reference(data, _RAW))
    return tuple(found)
