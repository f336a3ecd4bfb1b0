# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks whether other users of the host may enter a directory.

The ids of an image are mapped for a container by a worker, which the service talks to. Neither is
trusted with the result: before such a directory gets its name, all of it is looked at here.
"""

import asyncio
import errno
import os
import stat
from collections.abc import Iterator

from virtlayer.errors import PoolUnsupported
from virtlayer.keeper.beneath import by_descriptor, opened
from virtlayer.settings import CONTAINER_IDS

_CAPABILITIES = "security.capability"
_OF_NAMESPACE = 3
"""The version of file capabilities that count in one user namespace (capabilities(7))."""


async def check_contained(directory: int) -> None:
    """Check that no file in a directory is a device, or runs with rights of a user of the host.

    Args:
        directory: A descriptor of it; nobody else may enter it meanwhile.

    Raises:
        PoolUnsupported: One is or does, or not all files can be examined.
    """
    try:
        found = await asyncio.to_thread(lambda: next(_dangerous(directory), None))
    except OSError as error:
        found = error.strerror or str(error)
    if found is not None:
        raise PoolUnsupported(
            "The directory was not added to the pool, because not all IDs in it are mapped: "
            f"{found}. Use a pool whose directory other users cannot enter."
        )


def _dangerous(directory: int) -> Iterator[str]:
    for _path, directories, files, parent in os.fwalk(".", dir_fd=directory, onerror=_raise):
        for name in (*directories, *files):
            info = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if _is_dangerous(info) or _has_capabilities(parent, name, info):
                yield f"{name!r} would run as a user of this host, or is a device"


def _is_dangerous(info: os.stat_result) -> bool:
    if stat.S_ISCHR(info.st_mode) or stat.S_ISBLK(info.st_mode):
        return True
    if stat.S_ISLNK(info.st_mode):
        return False
    # The users and groups of containers are above those of the host (directory.id-base).
    becomes_user = info.st_mode & stat.S_ISUID and info.st_uid < CONTAINER_IDS
    becomes_group = info.st_mode & stat.S_ISGID and info.st_gid < CONTAINER_IDS
    return bool(becomes_user or becomes_group)


def _has_capabilities(parent: int, name: str, info: os.stat_result) -> bool:
    """Whether a program gets capabilities outside of the container, too."""
    # One that cannot be run now can be after its owner's chmod(2), which leaves capabilities.
    if not stat.S_ISREG(info.st_mode):
        return False
    with opened(os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)) as file:
        try:
            value = os.getxattr(by_descriptor(file), _CAPABILITIES)
        except OSError as error:
            if error.errno in (errno.ENODATA, errno.EOPNOTSUPP):
                return False
            raise
    version, root = value[3], int.from_bytes(value[-4:], "little")
    return version != _OF_NAMESPACE or root < CONTAINER_IDS


def _raise(error: OSError) -> None:
    raise error
