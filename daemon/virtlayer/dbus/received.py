# SPDX-License-Identifier: LGPL-2.1-or-later
"""Descriptors that came with a message."""

import array
import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterable

DESCRIPTOR_LIMIT = 253
"""Descriptors in one message; the kernel passes no more at once (SCM_MAX_FD)."""


def receive_with_descriptors(connection: socket.socket, size: int) -> tuple[bytes, list[int]]:
    """Receive bytes, and the descriptors that the kernel hands out together with the first of them.

    Args:
        connection: A non-blocking Unix socket.
        size: Bytes at most. To know which message descriptors belong to, ask for those of one only.

    Raises:
        BlockingIOError: There are none yet.
        OSError: The connection broke.
    """
    data, ancillary, _flags, _address = connection.recvmsg(
        size,
        socket.CMSG_SPACE(DESCRIPTOR_LIMIT * array.array("i").itemsize),
        socket.MSG_CMSG_CLOEXEC,
    )
    descriptors = array.array("i")
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(content[: len(content) - len(content) % descriptors.itemsize])
    return data, descriptors.tolist()


def close_received(
    descriptors: Iterable[int], closed: Callable[[int], object] = lambda _: None
) -> None:
    """Close descriptors of another process; one that is closed already is no error.

    This happens in a thread that is not waited for: the sender controls how long it takes, by
    SO_LINGER of a socket for instance.

    Args:
        descriptors: The descriptors.
        closed: Called in that thread with their number, when they are closed.
    """
    given = tuple(descriptors)

    def close() -> None:
        for descriptor in given:
            with contextlib.suppress(OSError):
                os.close(descriptor)
        # The event loop may be closed by then.
        with contextlib.suppress(RuntimeError):
            closed(len(given))

    if given:
        threading.Thread(target=close, name="closes descriptors", daemon=True).start()
