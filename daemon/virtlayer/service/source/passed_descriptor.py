# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reads a descriptor that a caller has passed, without ever blocking on the caller.

A caller may keep copies of the descriptor. It can clear O_NONBLOCK, set SO_RCVLOWAT, read the data
that poll(2) has reported, or hold a lock in the kernel by a long page fault. A separate thread
therefore reads with non-blocking calls, and it can be stopped. A thread that is blocked in the
kernel nevertheless is abandoned, with its own copy of the descriptor.
"""

import asyncio
import contextlib
import errno
import fcntl
import os
import select
import socket
import stat
from collections.abc import Callable, Iterator

from virtlayer.errors import InvalidArgument
from virtlayer.service.source.detached import detached
from virtlayer.sizes import KIB, human_size

_SECONDS = 10
_CHUNK = 64 * KIB
"""The default capacity of a pipe."""
_NOTHING = contextlib.nullcontext()


class UnsuitableDescriptor(Exception):
    """The descriptor has an unsupported type; the text completes a sentence."""


def secrets_deadline() -> float:
    """Return the deadline for the secrets of a new call, by the clock of the event loop."""
    return asyncio.get_running_loop().time() + _SECONDS


async def content_of(descriptor: int, name: str, limit: int, deadline: float) -> bytes:
    """Read the whole content of a caller's descriptor.

    Args:
        descriptor: A regular file, a pipe or a stream socket; the caller closes it.
        name: The name that the caller knows it by, for errors.
        limit: The most bytes.
        deadline: The result of ``secrets_deadline``.

    Raises:
        InvalidArgument: It cannot be read, does not end in time, or exceeds the limit.
    """
    content = bytearray()

    def take(chunk: bytes) -> bool:
        content.extend(chunk)
        return len(content) <= limit

    try:
        async with asyncio.timeout_at(deadline):
            await read_passed(descriptor, take)
    except TimeoutError:
        raise InvalidArgument(
            f"{name}: no end of file within {_SECONDS} seconds. Close its other end."
        ) from None
    except UnsuitableDescriptor as problem:
        raise InvalidArgument(f"{name} {problem}.") from None
    except OSError as error:
        raise InvalidArgument(f"{name} cannot be read: {error.strerror}.") from error
    if len(content) > limit:
        raise InvalidArgument(f"{name} gives more than {human_size(limit)}.")
    return bytes(content)


async def read_passed(
    descriptor: int,
    take: Callable[[bytes], bool],
    needed: contextlib.AbstractContextManager[object] = _NOTHING,
) -> None:
    """Read a caller's descriptor to its end; a cancellation takes effect at once.

    Args:
        descriptor: A regular file, which is read from its beginning, a pipe or a stream socket.
        take: Called in another thread with each chunk; returns False to stop the reading. After a
            cancellation, it may be called once more.
        needed: A context that ``take`` needs; closed after its last call.

    Raises:
        Busy: Too many other descriptors are being read.
        UnsuitableDescriptor: It has another type, or is a file whose reads can block.
        OSError: It cannot be read, or ``take`` raises this.
    """
    with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
        theirs.enter_context(needed)
        copy = _owned(theirs, os.dup(descriptor))
        stop_reading, stop_writing = os.pipe()
        _owned(theirs, stop_reading)
        _owned(ours, stop_writing)
        belongings = theirs.pop_all()

        def read() -> None:
            with belongings:
                for chunk in _chunks(copy, stop_reading):
                    if not take(chunk):
                        break

        try:
            reading = detached(read, "reads a caller's descriptor")
        except BaseException:
            belongings.close()
            raise
        await reading


def _owned(stack: contextlib.ExitStack, descriptor: int) -> int:
    stack.callback(os.close, descriptor)
    return descriptor


def _chunks(descriptor: int, stop: int) -> Iterator[bytes]:
    """Yield the content of a descriptor in chunks, until its end or until ``stop`` is closed."""
    mode = os.fstat(descriptor).st_mode
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    if flags & os.O_PATH or flags & os.O_ACCMODE == os.O_WRONLY:
        # The writing end of a pipe would never become readable.
        raise UnsuitableDescriptor("is not open for reading")
    if stat.S_ISREG(mode):
        yield from _chunks_of_file(descriptor, stop)
    elif stat.S_ISFIFO(mode):
        yield from _chunks_of_pipe(descriptor, stop)
    elif stat.S_ISSOCK(mode):
        yield from _chunks_of_socket(descriptor, stop)
    else:
        raise UnsuitableDescriptor("must be a regular file, a pipe or a stream socket")


def _chunks_of_file(descriptor: int, stop: int) -> Iterator[bytes]:
    _check_reads_end(descriptor)
    # A memfd's writer has left the offset at its end.
    offset = 0
    while not _is_closed(stop) and (chunk := os.pread(descriptor, _CHUNK, offset)):
        yield chunk
        offset += len(chunk)


def _chunks_of_pipe(descriptor: int, stop: int) -> Iterator[bytes]:
    # Unlike read(2), splice(2) has a flag not to wait that ignores the flags of the pipe.
    reading, writing = os.pipe()
    try:
        while _is_readable(descriptor, stop):
            with contextlib.suppress(BlockingIOError):
                length = os.splice(descriptor, writing, _CHUNK, flags=os.SPLICE_F_NONBLOCK)
                if not length:
                    return
                yield os.read(reading, length)
    finally:
        os.close(reading)
        os.close(writing)


def _chunks_of_socket(descriptor: int, stop: int) -> Iterator[bytes]:
    with socket.socket(fileno=os.dup(descriptor)) as connection:
        if connection.family != socket.AF_UNIX or connection.type != socket.SOCK_STREAM:
            raise UnsuitableDescriptor("must be a regular file, a pipe or a Unix stream socket")
        while _is_readable(descriptor, stop):
            with contextlib.suppress(BlockingIOError):
                chunk = connection.recv(_CHUNK, socket.MSG_DONTWAIT)
                if not chunk:
                    return
                yield chunk


def _check_reads_end(descriptor: int) -> None:
    """Check that a file is on a local disk or in memory, so that reads always return.

    Raises:
        UnsuitableDescriptor: It is on another file system, such as FUSE or a network one.
    """
    try:
        os.preadv(descriptor, [bytearray(1)], 0, os.RWF_NOWAIT)
    except BlockingIOError:
        return
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
    else:
        return
    try:
        # Files in memory support seals, even if only the one that forbids further seals.
        fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
    except OSError:
        raise UnsuitableDescriptor(
            "is a file whose reads could block. Pass its content through a pipe or a memfd"
        ) from None


def _is_readable(descriptor: int, stop: int) -> bool:
    """Wait until data can be read; return False if the reading must stop."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    poll.register(stop, select.POLLIN)
    return stop not in dict(poll.poll())


def _is_closed(stop: int) -> bool:
    poll = select.poll()
    poll.register(stop, select.POLLIN)
    return bool(poll.poll(0))
