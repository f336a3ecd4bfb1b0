# SPDX-License-Identifier: LGPL-2.1-or-later
"""Finds out whether only root can change what a path leads to."""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

_ACCESS_LIST = "system.posix_acl_access"
_LINKS_LIMIT = 40
"""As many symbolic links as the kernel follows in a path."""


def exchangeable_part(path: Path) -> tuple[Path, os.stat_result] | None:
    """Return a directory or link on the way to a path that a user other than root can change.

    Such a user owns it, or can rename entries of it. The path itself is examined, too.

    Raises:
        OSError: Something on the way does not exist.
    """
    for place, info in _way(path):
        if info.st_uid != 0 or _is_exchangeable(place, info):
            return place, info
    return None


def allows_others(place: Path, info: os.stat_result, for_group: int, for_others: int) -> bool:
    """Whether a permission is given to users other than root.

    Args:
        place: A file or directory, which belongs to root.
        info: Its state.
        for_group: The bit of the permission for the group.
        for_others: The bit of the permission for others.
    """
    if info.st_mode & for_others:
        return True
    if not info.st_mode & for_group:
        return False  # an access control list allows no more than the group's bits
    return info.st_gid != 0 or _ACCESS_LIST in os.listxattr(place)


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
    return allows_others(place, info, stat.S_IWGRP, stat.S_IWOTH)
