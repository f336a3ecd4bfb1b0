# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks the descriptors that come from the process of an RBD pool, which may be compromised.

The keeper passes them on, and closes them. Closing a socket or a file of another kind can block for
hours (``packets.close_in_thread``).
"""

import os
import signal
import stat
from collections.abc import Callable

from virtlayer.errors import Internal
from virtlayer.protocol.memory_files import received_content
from virtlayer.protocol.packets import close_in_thread
from virtlayer.protocol.records import READ_LIMIT


def received_pipe(descriptors: list[int]) -> int:
    """The one end of a pipe that came with a reply, which is the caller's.

    Raises:
        Internal: Something else came.
    """
    return _only(descriptors, lambda one: stat.S_ISFIFO(os.fstat(one).st_mode))


def received_pidfd(descriptors: list[int]) -> int:
    """The one descriptor of a process (pidfd_open(2)); as ``received_pipe``."""
    return _only(descriptors, _is_pidfd)


def received_records(descriptors: list[int]) -> int:
    """The sealed memory file with the contents of records; as ``received_pipe``."""
    return _only(descriptors, lambda one: received_content([one], READ_LIMIT) is not None)


def _only(descriptors: list[int], is_right: Callable[[int], bool]) -> int:
    try:
        if len(descriptors) == 1 and is_right(descriptors[0]):
            return descriptors[0]
    except Internal:
        close_in_thread(descriptors)
        raise
    close_in_thread(descriptors)
    raise Internal("The process of the pool has sent wrong descriptors.")


def _is_pidfd(descriptor: int) -> bool:
    try:
        signal.pidfd_send_signal(descriptor, 0)
    except (PermissionError, ProcessLookupError):
        pass  # of another user, or ended
    except OSError:
        return False
    return True
