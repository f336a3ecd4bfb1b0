# SPDX-License-Identifier: LGPL-2.1-or-later
"""Says why a cluster refused something."""

import errno
import os
from typing import Any

from virtlayer.errors import NoSpace, PoolUnavailable, VirtlayerError, VolumeNotFound


class NoAnswer(PoolUnavailable):
    """The cluster did not answer in time; a change may still be made at any later time."""

    @property
    def name(self) -> str:
        """It is reported as ``PoolUnavailable``; only this process distinguishes the two."""
        return PoolUnavailable.__name__


def no_answer(pool: str) -> NoAnswer:
    """The error for a cluster that does not answer."""
    return NoAnswer(
        f'The cluster of the pool "{pool}" does not answer. Check with "ceph status" that its '
        'monitors and OSDs run and that this host reaches them, and with "ceph auth ls" that the '
        "pool's user may use OSDs."
    )


def no_space(pool: str) -> NoSpace:
    """The error for a full pool."""
    return NoSpace(
        f'The Ceph pool "{pool}" is full. Free some space in its cluster, then try again.'
    )


def refused_by_cluster(error: Any, pool: str) -> VirtlayerError:
    """The error for the user."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return no_space(pool)
    if error.errno == errno.ESHUTDOWN:
        return PoolUnavailable(
            f'Another host has cut this host off from the pool "{pool}", because this host had no '
            "connection to the cluster for too long. Try again."
        )
    if error.errno == errno.ETIMEDOUT:
        return no_answer(pool)
    if error.errno in (errno.EPERM, errno.EACCES):
        return PoolUnavailable(
            f'The user of the pool "{pool}" may not do this in the cluster. Give it the '
            f"capabilities: mon 'profile rbd' osd 'profile rbd pool={pool}'"
        )
    if error.errno == errno.ENOENT:
        return VolumeNotFound(f'The pool "{pool}" no longer has that image: {error}')
    return PoolUnavailable(f'The cluster refuses access to the pool "{pool}": {error}')


def failure_in_words(text: str, pool: str) -> VirtlayerError | None:
    """Return the error that a program of QEMU has reported in the words of the system.

    Args:
        text: What it wrote to standard error.
        pool: The pool.

    Returns:
        None if it reports something else.
    """
    if os.strerror(errno.ETIMEDOUT) in text:
        return no_answer(pool)
    return None
