# SPDX-License-Identifier: LGPL-2.1-or-later
"""Locks on bytes of files, which work between hosts (open file description locks, fcntl(2)).

Such a lock belongs to an open file description: to all descriptors that are copies of one, in any
process. It ends when the last of them is closed. Another description is another holder, also in the
same process. On NFSv4 the server has the lock, and ends it a while after the host stops answering.
"""

import errno
import fcntl
import struct

from virtlayer.errors import PoolUnsupported

_FLOCK = struct.Struct("@hhqqi4x")
"""``struct flock``: type, whence, start, length (0 for all), pid (0)."""
_TAKEN = (errno.EAGAIN, errno.EACCES)
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)


def try_lock(file: int, start: int = 0, length: int = 0) -> bool:
    """Lock bytes of a file for this open file description alone, without waiting.

    Args:
        file: A descriptor that was opened for writing.
        start: The first byte.
        length: How many bytes; 0 for all from there on.

    Returns:
        Whether they are locked now; else, another description has one of them.

    Raises:
        PoolUnsupported: The file system has no such locks.
        OSError: The lock cannot be set.
    """
    try:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_WRLCK, 0, start, length, 0))
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        if error.errno in _NO_LOCKS:
            raise PoolUnsupported(
                f"The file system of the pool has no locks: {error.strerror}. If it is a network "
                "file system, its server must support them; otherwise, use another pool."
            ) from error
        raise
    return True


def unlock(file: int, start: int = 0, length: int = 0) -> None:
    """Release the lock of bytes of a file, even if its descriptor has copies."""
    fcntl.fcntl(file, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_UNLCK, 0, start, length, 0))


def is_locked(file: int) -> bool:
    """Whether another open file description has a lock on a file."""
    asked = _FLOCK.pack(fcntl.F_WRLCK, 0, 0, 0, 0)
    answer = fcntl.fcntl(file, fcntl.F_OFD_GETLK, asked)
    kind: int = _FLOCK.unpack(answer)[0]
    return kind != fcntl.F_UNLCK
