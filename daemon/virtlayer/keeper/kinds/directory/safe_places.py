# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks where root may write the files of an image as files of the host.

They may belong to any user, be setuid programs, or be devices: a container needs that, but outside
of it a user could become root with them. So only root may be able to reach them, and to rename what
leads to them.
"""

import asyncio
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from virtlayer.errors import PoolUnsupported
from virtlayer.keeper.failures import refused_by_system
from virtlayer.protocol.pools import Pool

_ACCESS_LIST = "system.posix_acl_access"
_LINKS_LIMIT = 40
"""As many symbolic links as the kernel follows in a path."""


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
    for place, info in _way(pool.path):
        if info.st_uid != 0 or _is_exchangeable(place, info):
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


def _way(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Every directory and link that finding a path goes through, from the root directory on.

    Each is examined before the next one is looked up in it.
    """
    place, rest, links = Path("/"), list(path.parts[1:]), 0
    yield place, place.lstat()
    while rest:
        place = place.parent if rest[0] == ".." else place / rest[0]
        del rest[0]
        info = place.lstat()
        yield place, info
        if stat.S_ISLNK(info.st_mode):
            links += 1
            if links > _LINKS_LIMIT:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            target = place.readlink()
            rest[:0] = target.parts[1:] if target.is_absolute() else target.parts
            place = Path("/") if target.is_absolute() else place.parent


def _is_exchangeable(place: Path, info: os.stat_result) -> bool:
    """Tell whether a user other than root can rename entries of a directory."""
    if not stat.S_ISDIR(info.st_mode) or info.st_mode & stat.S_ISVTX:
        return False
    return _allows_others(place, info, stat.S_IWGRP, stat.S_IWOTH)


def _is_open(directory: Path) -> bool:
    """Tell whether a user other than root can reach and use the files in a directory."""
    flags = os.statvfs(directory).f_flag
    if flags & os.ST_NOSUID and flags & os.ST_NODEV:
        return False
    return all(
        _allows_others(place, place.stat(), stat.S_IXGRP, stat.S_IXOTH)
        for place in (directory, *directory.parents)
    )


def _allows_others(place: Path, info: os.stat_result, for_group: int, for_others: int) -> bool:
    if info.st_mode & for_others:
        return True
    if not info.st_mode & for_group:
        return False  # an access control list allows no more than the group's bits
    return info.st_gid != 0 or _ACCESS_LIST in os.listxattr(place)
