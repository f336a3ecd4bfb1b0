# SPDX-License-Identifier: LGPL-2.1-or-later
"""The directory of the local files of machines: where it is, and that only its owner changes it.

libvirt changes the owner of what it finds there, as root, so nobody else may be able to put a link
in the place of a file, or of a directory on the way.
"""

import asyncio
import contextlib
import errno
import itertools
import os
import stat
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from virtlayer.errors import NoSpace, NotAuthorized, PoolUnavailable, VirtlayerError
from virtlayer.keeper.beneath import opened
from virtlayer.keeper.ways import exchangeable_part

_SYSTEM = Path("/var/lib/virtlayer/boot")
_WAY_MODE = 0o755
_SYSTEM_MODE = 0o711
"""QEMU's user finds files by their names, and cannot list them."""
_USER_MODE = 0o700
_OTHERS_WRITE = 0o022
_FULL = (errno.ENOSPC, errno.EDQUOT)


def local_directory(uri: str) -> Path:
    """The directory for the machines of a libvirt: that of the system, or of the user's session.

    Args:
        uri: The connection to libvirt.
    """
    if os.geteuid() == 0 and urlsplit(uri).path != "/session":
        return _SYSTEM
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local/share") / "virtlayer" / "boot"


async def with_existing_place[T](path: Path, act: Callable[[int], T], default: T) -> T:
    """As ``with_place``, but return a default if there is no such directory.

    Args:
        path: The directory.
        act: It gets a descriptor of the directory.
        default: What is returned otherwise.

    Raises:
        VirtlayerError: As ``with_place``.
    """
    if not await asyncio.to_thread(path.exists):
        return default
    return await with_place(path, act)


async def with_place[T](path: Path, act: Callable[[int], T]) -> T:
    """Let a thread do something in the directory, which is made if it does not exist.

    Args:
        path: The directory.
        act: It gets a descriptor of the directory.

    Raises:
        NotAuthorized: Another user can change it, or this one cannot.
        NoSpace: There is no space left there.
        PoolUnavailable: It cannot be used for another reason.
    """

    def run() -> T:
        with opened(_made(path)) as directory:
            return act(directory)

    try:
        return await asyncio.to_thread(run)
    except OSError as error:
        raise _failure(error, path) from error


def _made(path: Path) -> int:
    is_system = os.geteuid() == 0
    missing = list(itertools.takewhile(lambda one: not one.exists(), (path, *path.parents)))
    if missing:
        _check(missing[-1].parent, is_system=is_system)
    for one in reversed(missing):
        mode = _USER_MODE
        if is_system:
            mode = _SYSTEM_MODE if one == path else _WAY_MODE
        with contextlib.suppress(FileExistsError):
            one.mkdir()
            # The mode of mkdir(2) is reduced by the umask.
            one.chmod(mode)
    _check(path, is_system=is_system)
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _check(path: Path, *, is_system: bool) -> None:
    """Check that no other user can change what a path leads to; a user's home is the user's."""
    info = path.stat()
    place, found = path, info
    if is_system:
        place, found = exchangeable_part(path) or (path, info)
    if place != path or found.st_uid != os.geteuid() or found.st_mode & _OTHERS_WRITE:
        raise NotAuthorized(
            f"The directory {path} cannot be used for the kernels and configurations of machines: "
            f"{place} belongs to UID {found.st_uid} and has mode {stat.S_IMODE(found.st_mode):04o}."
            f" It must belong to UID {os.geteuid()}, and no other user may write there. Correct "
            "that with chown and chmod."
        )


def _failure(error: OSError, path: Path) -> VirtlayerError:
    reason = error.strerror or str(error)
    what = f"{path}, the directory of the kernels and configurations of machines"
    if error.errno in _FULL:
        return NoSpace(f"No space left in {what}. Free some space.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return NotAuthorized(f"Cannot write to {what}: {reason}. Permit that to virtlayer-keeper.")
    return PoolUnavailable(f"Cannot use {what}: {reason}.")
