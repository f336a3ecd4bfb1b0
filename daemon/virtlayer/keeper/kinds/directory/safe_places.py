# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks where root may write the files of an image as files of the host.

They may belong to any user, be setuid programs, or be devices: a container needs that, but outside
of it a user could become root with them. So only root may be able to reach them, and to rename what
leads to them.
"""

import asyncio
import os
import stat
from pathlib import Path

from virtlayer.errors import PoolUnsupported
from virtlayer.keeper.failures import refused_by_system
from virtlayer.keeper.ways import allows_others, exchangeable_part
from virtlayer.protocol.pools import Pool


async def check_place(pool: Pool, *, others_may_enter: bool) -> None:
    """Check that a pool may hold the files of an image, with owners, devices and setuid programs.

    Args:
        pool: The pool.
        others_may_enter: Whether other users may enter, because no file will be a setuid program of
            root or a device.

    Raises:
        PoolUnsupported: A user other than root owns or can replace a directory on the path, or
            every user can enter it.
        PoolInactive: The pool's directory no longer exists.
    """
    try:
        await asyncio.to_thread(_check, pool, others_may_enter)
    except OSError as error:
        raise refused_by_system(error, pool.name, pool.path) from error


def _check(pool: Pool, others_may_enter: bool) -> None:
    if (found := exchangeable_part(pool.path)) is not None:
        place, info = found
        raise PoolUnsupported(
            f'The pool "{pool.name}" ({pool.path}) cannot hold the files of an image: {place} '
            f"belongs to uid {info.st_uid} and has mode {stat.S_IMODE(info.st_mode):04o}. Each "
            "directory on the way must belong to root and be writable for root alone, or be "
            "sticky as /tmp is, because programs of the image run with root's rights. Use "
            "another pool, or the virtlayerd of that user (virtlayer --user)."
        )
    # From here on, no other user can change the path.
    if not others_may_enter and _is_open(pool.path.resolve()):
        raise PoolUnsupported(
            f'Every user of this host can enter the directory of the pool "{pool.name}" '
            f"({pool.path}) and could use the image's setuid programs and devices there. Use a "
            "pool whose directory only its owner and the group root can enter (chmod o-x), or one "
            "that is mounted with nosuid and nodev."
        )


def _is_open(directory: Path) -> bool:
    """Tell whether a user other than root can reach and use the files in a directory."""
    flags = os.statvfs(directory).f_flag
    if flags & os.ST_NOSUID and flags & os.ST_NODEV:
        return False
    return all(
        allows_others(place, place.stat(), stat.S_IXGRP, stat.S_IXOTH)
        for place in (directory, *directory.parents)
    )
