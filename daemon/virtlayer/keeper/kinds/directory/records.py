# SPDX-License-Identifier: LGPL-2.1-or-later
"""The files of records in ``.virtlayer``: listed, read, and replaced whole.

The service composes and parses their contents. A record that is written has another name until all
of it is on disk, and each content has a file of its own, so that a stamp tells one from another.
"""

import contextlib
import os
import re
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import starmap

from virtlayer.errors import PoolUnsupported
from virtlayer.keeper.beneath import (
    NotRegular,
    open_beneath,
    open_regular,
    opened,
)
from virtlayer.keeper.calls import ask_server, list_files
from virtlayer.keeper.kinds.directory.own_directory import (
    OwnDirectory,
    existing_own_directory,
)
from virtlayer.protocol.descriptors import OwnedDescriptor
from virtlayer.protocol.memory_files import new_memory_file, seal
from virtlayer.protocol.pools import Pool
from virtlayer.protocol.records import (
    READ_LIMIT,
    RECORD_LIMIT,
    RECORDS_LIMIT,
    ListedRecord,
    ReadRecord,
    RecordContents,
    RecordList,
    Stamp,
    list_digest,
)
from virtlayer.sizes import MIB

NEW_RECORD = ".new-"
"""How the names of records begin that are being written; the name of a claim follows."""
_RECORD = re.compile(r"[0-9a-f]{64}\.json")
_SETTLED_SECONDS = 2.0
"""How old the last change of a directory must be for its time to tell it from the next change. File
systems have clocks of 1 to 10 ms, and hosts and servers do not agree exactly."""


@dataclass(frozen=True, slots=True)
class NewRecord:
    """A record that is written together with the volume that it describes.

    Attributes:
        own: ``.virtlayer`` of the pool.
        holder: The name of a claim.
        file: The name of the record's file.
        content: A descriptor of a sealed memory file.
        is_of_disk: Whether the volume is the disk of a machine, which others can be based on.
    """

    own: OwnDirectory
    holder: str
    file: str
    content: int
    is_of_disk: bool = False

    def add(self) -> Stamp | None:
        """Write it, unless there is one; its stamp, or None. The caller has the directory synced.

        Raises:
            OSError: It cannot be written.
        """
        directory = self.own.descriptor
        new = new_record(self.own, self.holder, self.content)
        try:
            # Unlike rename(2), link(2) replaces nothing.
            os.link(new, self.file, src_dir_fd=directory, dst_dir_fd=directory)
        except FileExistsError:
            return None
        finally:
            os.unlink(new, dir_fd=directory)
        return stamp_of(directory, self.file)

    def replace(self) -> Stamp | None:
        """Write it, and replace an existing one; the caller has the pool's lock.

        The caller has the directory synced as well.

        Raises:
            OSError: It cannot be written.
        """
        directory = self.own.descriptor
        new = new_record(self.own, self.holder, self.content)
        try:
            os.rename(new, self.file, src_dir_fd=directory, dst_dir_fd=directory)
        except OSError:
            os.unlink(new, dir_fd=directory)
            raise
        return stamp_of(directory, self.file)

    def remove(self) -> None:
        """Remove it, if that is possible."""
        with contextlib.suppress(OSError):
            os.unlink(self.file, dir_fd=self.own.descriptor)


def list_records(pool: Pool, since: Stamp | None, known: str | None = None) -> RecordList:
    """List the records of a pool.

    Args:
        pool: The pool.
        since: The stamp of an earlier list.
        known: The digest of a list (``records.list_digest``).

    Raises:
        PoolUnsupported: ``.virtlayer`` is something else, or has too many records.
        OSError: It cannot be read.
    """
    with existing_own_directory(pool) as own:
        if own is None:
            return RecordList(present=False, unchanged=False, stamp=None, records=())
        ask_server(own.descriptor)
        stamp = _stamp(os.fstat(own.descriptor))
        if stamp == since:
            return RecordList(present=True, unchanged=True, stamp=stamp, records=())
        # The time of the directory first, its content after: a later change has another stamp.
        is_settled = abs(time.time_ns() - stamp.changed) > _SETTLED_SECONDS * 1e9
        records = _listed(own)
    # Otherwise a list of thousands would be sent after each change of the service itself.
    unchanged = known == list_digest((name, str(one)) for name, one in records)
    return RecordList(
        present=True,
        unchanged=unchanged,
        stamp=stamp if is_settled else None,
        records=() if unchanged else tuple(starmap(ListedRecord, records)),
    )


def read_records(pool: Pool, files: Iterable[str]) -> tuple[RecordContents, OwnedDescriptor]:
    """Read records, as many as one answer may hold.

    Args:
        pool: The pool.
        files: The names of their files.

    Returns:
        What was found, and a sealed memory file with the contents.

    Raises:
        PoolUnsupported: ``.virtlayer`` is something else.
        OSError: There can be no memory file, or the server does not answer.
    """
    found: list[ReadRecord] = []
    contents = new_memory_file()
    with existing_own_directory(pool) as own:
        room = READ_LIMIT
        if own is not None:
            ask_server(own.descriptor)
        for file in files:
            record = _read(own, file, contents, room) if own else ReadRecord(None, 0, "")
            if record is None:
                break
            found.append(record)
            room -= record.length
    seal(contents)
    return RecordContents(tuple(found)), contents


def delete_record(pool: Pool, file: str, only: Stamp | None = None) -> None:
    """Delete the record of something that no longer exists, if that is possible.

    Args:
        pool: The pool.
        file: The name of the record's file.
        only: The stamp that the record must have; None to delete any. The caller has the pool's
            lock then.
    """
    with (
        contextlib.suppress(OSError, PoolUnsupported),
        existing_own_directory(pool) as own,
    ):
        if own is not None and only in (None, stamp_of(own.descriptor, file)):
            os.unlink(file, dir_fd=own.descriptor)
            os.fsync(own.descriptor)


def new_record(own: OwnDirectory, holder: str, content: int) -> str:
    """Write a record that has no name yet, and wait until all of it is on disk.

    Args:
        own: ``.virtlayer`` of the pool.
        holder: The name of a claim.
        content: A descriptor of a sealed memory file.

    Returns:
        The temporary name.

    Raises:
        OSError: It cannot be written.
    """
    name = f"{NEW_RECORD}{holder}-{secrets.token_hex(8)}"
    new = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with opened(open_beneath(own.descriptor, name, new, 0o600)) as file:
        try:
            position, end = 0, os.fstat(content).st_size
            while position < end:
                position += os.sendfile(file, content, position, end - position)
            os.fsync(file)
        except OSError:
            os.unlink(name, dir_fd=own.descriptor)
            raise
    return name


def stamp_of(directory: int, name: str) -> Stamp | None:
    """Return the stamp of a record; None if there is none."""
    try:
        return _stamp(os.stat(name, dir_fd=directory, follow_symlinks=False))
    except FileNotFoundError:
        return None


def _listed(own: OwnDirectory) -> list[tuple[str, Stamp]]:
    """The names of the records, and their stamps."""
    # One call for all: a pool has thousands, and each pull lists them.
    found = list_files(own.descriptor, ".json", RECORDS_LIMIT + 1)
    if len(found) > RECORDS_LIMIT:
        raise PoolUnsupported(
            f'The pool "{own.pool.name}" has more than {RECORDS_LIMIT} records in {own.path}. Use '
            "several pools."
        )
    return [
        (name, Stamp(inode, changed, size))
        for name, inode, changed, size in found
        if _RECORD.fullmatch(name)
    ]


def _read(own: OwnDirectory, name: str, contents: int, room: int) -> ReadRecord | None:
    """Append a record to the contents; None if there is no room for it."""
    try:
        file = open_regular(own.descriptor, name)
    except FileNotFoundError:
        return ReadRecord(None, 0, "")
    except OSError as error:
        return ReadRecord(stamp_of(own.descriptor, name), 0, _problem(error))
    with opened(file):
        info = os.fstat(file)
        stamp = _stamp(info)
        if info.st_size > RECORD_LIMIT:
            problem = f"it has {info.st_size} bytes, more than {RECORD_LIMIT // MIB} MiB"
            return ReadRecord(stamp, 0, problem)
        if info.st_size > room:
            return None
        length = 0
        try:
            # Up to the size that was found: another process may be appending to it.
            while length < info.st_size and (
                sent := os.sendfile(contents, file, length, info.st_size - length)
            ):
                length += sent
        except OSError as error:
            os.ftruncate(contents, os.fstat(contents).st_size - length)
            os.lseek(contents, 0, os.SEEK_END)
            return ReadRecord(stamp, 0, _problem(error))
    return ReadRecord(stamp, length, "")


def _problem(error: OSError) -> str:
    text = error.strerror or str(error)
    return text if isinstance(error, NotRegular) else f"it cannot be read ({text})"


def _stamp(info: os.stat_result) -> Stamp:
    return Stamp(info.st_ino, info.st_ctime_ns, info.st_size)
