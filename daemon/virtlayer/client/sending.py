# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sends a local source to the system service, as an archive through a pipe.

That service does not have the caller's rights, so the command reads the files. It does so in a
thread, while the job runs.
"""

import asyncio
import contextlib
import fcntl
import io
import os
import re
import shutil
import stat
import tarfile
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from virtlayer.client.bus.values import Descriptor
from virtlayer.client.layout import Member, dir_members, layout_members
from virtlayer.client.unreadable import unreadable
from virtlayer.errors import ImageNotFound, VirtlayerError

LOCAL = re.compile(r"(oci|oci-archive|docker-archive|dir):(.+)", re.DOTALL)
_PIPE_SIZE = 1024 * 1024


class Sending:
    """The sending of a local source, if there is one.

    Args:
        write: Writes it to a file, and closes the file; None if nothing is sent.
    """

    def __init__(self, write: Callable[[], None] | None = None) -> None:
        self._write = write
        self._error: VirtlayerError | None = None
        self._thread = threading.Thread(target=self._run, name="sends the source", daemon=True)
        if write is not None:
            self._thread.start()

    def check(self) -> None:
        """Check for failures here, which the service cannot detect.

        Raises:
            VirtlayerError: Sending failed.
        """
        if self._error is not None:
            raise self._error

    async def finished(self) -> None:
        """Wait until everything is sent, or the receiver has closed the pipe.

        Raises:
            VirtlayerError: Sending failed.
        """
        while self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, 1)
        self.check()

    def _run(self) -> None:
        assert self._write is not None, "it was started"
        try:
            # A job that has ended stops reading, and reports the reason.
            with contextlib.suppress(BrokenPipeError):
                self._write()
        except VirtlayerError as error:
            self._error = error
        except OSError as error:
            self._error = unreadable("the source", error, ImageNotFound)


@contextlib.contextmanager
def sending(source: str) -> Iterator[tuple[Descriptor, Sending]]:
    """Send a local source.

    Args:
        source: ``TRANSPORT:PATH[:TAG]``.

    Yields:
        The end of the pipe for the service, open in the context, and the sending.

    Raises:
        VirtlayerError: It cannot be read.
    """
    content = _opened(source)
    reading, writing = os.pipe()
    # The user's limit for pipes may forbid that; a smaller pipe works, too.
    with contextlib.suppress(OSError):
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)

    def write() -> None:
        with os.fdopen(writing, "wb") as pipe:
            content(pipe)

    try:
        yield Descriptor(reading), Sending(write)
    finally:
        os.close(reading)


def _opened(source: str) -> Callable[[BinaryIO], None]:
    """Check a source; return a function that writes it to a file."""
    match = LOCAL.fullmatch(source)
    assert match is not None, "a local source"
    transport, rest = match[1], match[2]
    if transport == "dir":
        members = dir_members(Path(rest))
        return lambda pipe: _write_archive(pipe, members)
    path, _, tag = rest.partition(":")
    if transport == "oci":
        members = layout_members(Path(path), tag or None)
        return lambda pipe: _write_archive(pipe, members)
    file = _opened_archive(Path(path))
    return lambda pipe: _write_file(pipe, file)


def _opened_archive(path: Path) -> BinaryIO:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ImageNotFound(f"{path} is not a regular file.")
        return path.open("rb")
    except OSError as error:
        raise unreadable(str(path), error, ImageNotFound) from error


def _write_file(pipe: BinaryIO, file: BinaryIO) -> None:
    with file:
        shutil.copyfileobj(file, pipe, _PIPE_SIZE)


def _write_archive(pipe: BinaryIO, members: tuple[Member, ...]) -> None:
    with tarfile.open(fileobj=pipe, mode="w|", bufsize=_PIPE_SIZE) as archive:
        for directory in _directories(members):
            header = tarfile.TarInfo(directory)
            header.type = tarfile.DIRTYPE
            header.mode = 0o755
            archive.addfile(header)
        for member in members:
            with _content(member) as (file, size):
                header = tarfile.TarInfo(member.name)
                header.size = size
                archive.addfile(header, file)


def _directories(members: Iterable[Member]) -> list[str]:
    """Return the directories of members, outer ones first.

    skopeo makes missing ones for root, which it may do only as root.
    """
    found = {str(parent) for member in members for parent in PurePosixPath(member.name).parents}
    return sorted(found - {"."})


@contextlib.contextmanager
def _content(member: Member) -> Iterator[tuple[BinaryIO, int]]:
    if isinstance(member.content, bytes):
        yield io.BytesIO(member.content), len(member.content)
        return
    try:
        with member.content.open("rb") as file:
            yield file, os.fstat(file.fileno()).st_size
    except BrokenPipeError:
        raise
    except OSError as error:
        # tarfile's own errors have no reason: the file has become shorter.
        reason = error.strerror or "it was changed during the pull"
        raise unreadable(
            str(member.content), OSError(error.errno, reason), ImageNotFound
        ) from error
