# SPDX-License-Identifier: LGPL-2.1-or-later
"""Opens files in a directory that another user may own.

The owner of a pool's directory can put a link, a FIFO or another directory in the place of any
name at any time. Therefore a path is opened once, for the pool's directory itself. Everything below
is opened by one name in a directory that is open already: no link is followed and no mount point is
entered. What a name stands for is examined on the descriptor, and permissions are changed there.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from virtlayer.keeper import calls

type Identity = tuple[int, int]
"""A file's device and inode."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_ACCESSIBLE = 0o700


class NotRegular(OSError):
    """A name that should be one of a regular file is that of another kind of file."""


@contextlib.contextmanager
def opened(descriptor: int) -> Iterator[int]:
    """Close a descriptor at the end of the context."""
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def open_directory(path: Path) -> int:
    """Open a directory by its path, which a trusted party has named.

    Raises:
        OSError: There is no such directory.
    """
    return os.open(path, _DIRECTORY | os.O_CLOEXEC)


def open_beneath(directory: int, name: str, flags: int, mode: int = 0) -> int:
    """Open a name in a directory, without following a link or entering a mount point.

    Opening a FIFO or a device can block or have effects: see ``open_regular``.

    Args:
        directory: A descriptor of the directory.
        name: The name, without a slash.
        flags: As for open(2); O_NOFOLLOW and O_CLOEXEC are added.
        mode: The permissions of a new file.

    Raises:
        OSError: As open(2). ELOOP says that the name is a link, EXDEV that it is a mount point.
    """
    return calls.open_beneath(directory, name, flags, mode)


def open_directory_beneath(directory: int, name: str) -> int:
    """Open a directory in a directory.

    Raises:
        OSError: There is none; ENOTDIR says that the name is one of something else.
    """
    return open_beneath(directory, name, _DIRECTORY)


def find_regular(directory: int, name: str) -> int:
    """Find a regular file in a directory without opening it for anything (O_PATH).

    Args:
        directory: A descriptor of the directory.
        name: The name, without a slash.

    Raises:
        NotRegular: It is a link, a FIFO, a device, or a directory.
        OSError: It cannot be found.
    """
    found = open_beneath(directory, name, os.O_PATH)
    try:
        check_regular(found, name)
    except BaseException:
        os.close(found)
        raise
    return found


def check_regular(descriptor: int, name: str) -> None:
    """Check that a descriptor is that of a regular file.

    Raises:
        NotRegular: It is not; the error says what it is.
    """
    kind = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(kind):
        raise NotRegular(errno.EINVAL, f"{name} is {_KINDS[stat.S_IFMT(kind)]}")


def open_regular(directory: int, name: str, access: int = os.O_RDONLY) -> int:
    """Open a regular file in a directory; anything else is not even opened.

    Args:
        directory: A descriptor of the directory.
        name: The name, without a slash.
        access: O_RDONLY or O_RDWR.

    Raises:
        NotRegular: It is a link, a FIFO, a device, or a directory.
        OSError: It cannot be opened.
    """
    with opened(find_regular(directory, name)) as found:
        # Not blocking: the file's owner may have a lease on it (fcntl(2)).
        return os.open(by_descriptor(found), access | os.O_NONBLOCK | os.O_CLOEXEC)


def make_directory(directory: int, name: str) -> int:
    """Make a directory that only this process's user may enter, and open it.

    Raises:
        FileNotFoundError: Another process removed it at once.
        PermissionError: Another process replaced it at once, or the file system gives new files to
            another user.
        OSError: It cannot be made.
    """
    os.mkdir(name, _ACCESSIBLE, dir_fd=directory)
    made = open_directory_beneath(directory, name)
    info = os.fstat(made)
    if info.st_uid == os.geteuid() and stat.S_IMODE(info.st_mode) & 0o077 == 0:
        return made
    os.close(made)
    raise PermissionError(
        errno.EACCES,
        f"a new directory there belongs to uid {info.st_uid}, not to uid {os.geteuid()} alone "
        "(an NFS export needs no_root_squash)",
    )


def make_accessible(directory: int) -> None:
    """Let the owner of a directory read, write and enter it; root can anyway.

    Args:
        directory: A descriptor of it, which O_PATH is enough for.
    """
    mode = stat.S_IMODE(os.fstat(directory).st_mode)
    if os.geteuid() != 0 and mode & _ACCESSIBLE != _ACCESSIBLE:
        # fchmod(2) takes no descriptor that was opened with O_PATH.
        Path(by_descriptor(directory)).chmod(mode | _ACCESSIBLE)


def can_be_direct(directory: int) -> bool:
    """Whether a file in a directory can be written past the page cache.

    Args:
        directory: A descriptor of it.

    Raises:
        OSError: There can be no new file in it.
    """
    flags = os.O_RDWR | os.O_TMPFILE | os.O_DIRECT | os.O_CLOEXEC
    try:
        os.close(os.open(by_descriptor(directory), flags, 0o600))
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.EISDIR):
            raise
        return False
    return True


def link(descriptor: int, directory: int, name: str) -> None:
    """Give an open file another name, which must not exist yet.

    Unlike the file's first name, the descriptor cannot be replaced by another user; unlike
    rename(2), link(2) never replaces a file.

    Raises:
        FileExistsError: The name exists.
        OSError: The file system does not allow it.
    """
    os.link(by_descriptor(descriptor), name, dst_dir_fd=directory, follow_symlinks=True)


def identity(descriptor: int) -> Identity:
    """Return what identifies an open file."""
    info = os.fstat(descriptor)
    return info.st_dev, info.st_ino


def by_descriptor(descriptor: int) -> str:
    """Return a path to an open file that does not depend on its name."""
    return f"/proc/self/fd/{descriptor}"


_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a directory",
}
