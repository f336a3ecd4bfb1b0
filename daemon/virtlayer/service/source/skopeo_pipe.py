# SPDX-License-Identifier: LGPL-2.1-or-later
"""The pipe that skopeo's proxy writes a blob or a manifest to."""

import contextlib
import errno
import fcntl
import os
import time
from typing import Protocol, Self

from virtlayer.service.readiness import readable
from virtlayer.sizes import KIB, MIB

_PIPE_SIZE = MIB
"""The maximum for an unprivileged user, for fewer event loop iterations per megabyte."""
_SMALL = 64 * KIB
"""The bytes of one read of a manifest, which is seldom longer."""
_RECEIVED_AT_ONCE = 8 * MIB
_RECEIVING_SECONDS = 0.02
"""How long a thread receives before it returns: the longest wait of a cancellation."""
_AT_ITS_POSITION = -1
"""For preadv2(2): use the offset of the descriptor, as read(2) does."""
_BURST_SECONDS = 0.001
"""skopeo writes 32 KiB at a time, and a wake-up for each write would cost as much as hashing it.
The pipe does not fill up meanwhile."""


class Receiver(Protocol):
    """Takes the bytes that are received."""

    def buffer(self) -> memoryview:
        """Return memory for the next bytes; it is never empty."""

    def take(self, length: int) -> None:
        """Take that many bytes, which were written to ``buffer``."""


class SkopeoPipe:
    """The reading end of a pipe from the proxy.

    Args:
        descriptor: The descriptor of the reading end; it is closed with the pipe.
        number: The number of the pipe in the protocol of the proxy.
    """

    def __init__(self, descriptor: int, number: int) -> None:
        self.number = number
        os.set_blocking(descriptor, False)
        self._reads_now = True
        # The kernel refuses a size above the user's limit; the pipe then keeps its size.
        with contextlib.suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
        self._descriptor: int | None = descriptor

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def readable(self) -> None:
        """Wait until data can be read, or the end is reached."""
        await readable(self._open())

    async def read(self, limit: int) -> bytes:
        """Read the available data, up to ``limit`` bytes; return no bytes at the end."""
        buffer = bytearray(min(limit, _SMALL))
        while True:
            try:
                return bytes(buffer[: self._read_now(memoryview(buffer))])
            except BlockingIOError:
                await self.readable()

    def receive(self, receiver: Receiver, limit: int) -> int:
        """Read the available data, and the data that follows it shortly.

        It blocks for ``_RECEIVING_SECONDS`` or a little more, so it must run in a thread.

        Args:
            receiver: Takes the bytes.
            limit: The most bytes.

        Returns:
            The number of bytes read; 0 if none are available at present, or at the end.
        """
        limit = min(limit, _RECEIVED_AT_ONCE)
        deadline = time.monotonic() + _RECEIVING_SECONDS
        received = 0
        while received < limit and time.monotonic() < deadline:
            length = self._read_burst(receiver.buffer()[: limit - received])
            if not length:
                break
            receiver.take(length)
            received += length
        return received

    def _read_burst(self, buffer: memoryview) -> int:
        """Fill a buffer, up to the end of the data or a short pause in it."""
        filled, idle = 0, False
        while filled < len(buffer):
            try:
                length = self._read_now(buffer[filled:])
            except BlockingIOError:
                if idle:
                    break
                idle = True
                time.sleep(_BURST_SECONDS)
            else:
                if not length:
                    break
                filled, idle = filled + length, False
        return filled

    def _read_now(self, buffer: memoryview) -> int:
        """Read the available data. The writer could have cleared O_NONBLOCK, which is shared.

        Raises:
            BlockingIOError: No data is available at present.
        """
        if self._reads_now:
            try:
                return os.preadv(self._open(), [buffer], _AT_ITS_POSITION, os.RWF_NOWAIT)
            except OSError as error:
                if error.errno != errno.EOPNOTSUPP:
                    raise
            # Kernels before 6.4 do not support RWF_NOWAIT for pipes.
            self._reads_now = False
        return os.readv(self._open(), [buffer])

    def _open(self) -> int:
        assert self._descriptor is not None, "read after close"
        return self._descriptor

    def close(self) -> None:
        """Close the pipe; the proxy then stops writing to it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
