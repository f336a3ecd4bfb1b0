# SPDX-License-Identifier: LGPL-2.1-or-later
"""The pipe that skopeo's proxy writes a blob or a manifest to."""

import contextlib
import errno
import fcntl
import os
import time
from typing import Protocol, Self

from virtlayer.service.source.descriptors import readable
from virtlayer.sizes import KIB, MIB

_PIPE_SIZE = MIB
"""The most that an ordinary user may ask for: fewer turns of the event loop a megabyte."""
_SMALL = 64 * KIB
"""Of a manifest, which is seldom longer, at a time."""
_RECEIVED_AT_ONCE = 8 * MIB
_RECEIVING_SECONDS = 0.02
"""How long a thread receives before its caller is told: what a cancellation waits for at most."""
_AT_ITS_POSITION = -1
"""For preadv2(2): where the descriptor is, as read(2)."""
_BURST_SECONDS = 0.001
"""skopeo writes 32 KiB at a time, and to wake up for each would cost as much as to hash them. The
pipe does not fill up meanwhile."""


class Receiver(Protocol):
    """Takes the bytes that are received."""

    def buffer(self) -> memoryview:
        """Memory for the bytes that come next; never empty."""

    def take(self, length: int) -> None:
        """Take that many bytes, which were put into ``buffer``."""


class SkopeoPipe:
    """The reading end of a pipe from the proxy.

    Args:
        descriptor: Closed with the pipe.
        number: What the proxy calls the pipe.
    """

    def __init__(self, descriptor: int, number: int) -> None:
        self.number = number
        os.set_blocking(descriptor, False)
        self._reads_now = True
        # More than what is left of the user's allowance is refused; the pipe works all the same.
        with contextlib.suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
        self._descriptor: int | None = descriptor

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def readable(self) -> None:
        """Wait until there is something to read, or the end."""
        await readable(self._open())

    async def read(self, limit: int) -> bytes:
        """Read up to ``limit`` bytes, as many as are there; nothing at the end."""
        buffer = bytearray(min(limit, _SMALL))
        while True:
            try:
                return bytes(buffer[: self._read_now(memoryview(buffer))])
            except BlockingIOError:
                await self.readable()

    def receive(self, receiver: Receiver, limit: int) -> int:
        """Read what is there, and what comes close behind it.

        It blocks for ``_RECEIVING_SECONDS`` or a little more, so it belongs into a thread.

        Args:
            receiver: Takes them.
            limit: The most bytes.

        Returns:
            How many there were; 0 where there are none at present, or at the end.
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
        """Fill a buffer, up to the end or to where nothing more comes for a moment."""
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
        """Read what is there. The writer could have cleared O_NONBLOCK, which is shared.

        Raises:
            BlockingIOError: Nothing is there at present.
        """
        if self._reads_now:
            try:
                return os.preadv(self._open(), [buffer], _AT_ITS_POSITION, os.RWF_NOWAIT)
            except OSError as error:
                if error.errno != errno.EOPNOTSUPP:
                    raise
            # Kernels before 6.4 cannot do so for pipes.
            self._reads_now = False
        return os.readv(self._open(), [buffer])

    def _open(self) -> int:
        assert self._descriptor is not None, "read after close"
        return self._descriptor

    def close(self) -> None:
        """Close it; the proxy's writer then ends as well."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
