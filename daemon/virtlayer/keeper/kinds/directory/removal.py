# SPDX-License-Identifier: LGPL-2.1-or-later
"""Removes a directory with any content that an image may have.

Trees of images are deeper than a process may open directories, and a path into them would be longer
than the kernel takes. Therefore no directory is descended into: what a directory below the top has
is moved up into the top, until there are only files and empty directories. Everything is found by
one name in an open directory, so no link leads elsewhere.
"""

import contextlib
import errno
import itertools
import os
import stat
from collections.abc import Iterator

from virtlayer.keeper.beneath import (
    Identity,
    by_descriptor,
    identity,
    make_accessible,
    open_beneath,
    opened,
)


def remove_tree(directory: int, name: str, *, only: Identity | None = None) -> None:
    """Remove a file, or a directory with its content, as far as that is possible.

    Args:
        directory: A descriptor of the directory that it is in.
        name: Its name there.
        only: What the name must stand for; anything else stays.
    """
    with contextlib.suppress(OSError), opened(open_beneath(directory, name, os.O_PATH)) as found:
        if only is not None and identity(found) != only:
            return
        if not stat.S_ISDIR(os.fstat(found).st_mode):
            os.unlink(name, dir_fd=directory)
            return
        make_accessible(found)
        with opened(os.open(by_descriptor(found), os.O_RDONLY | os.O_CLOEXEC)) as top:
            remove_content(top)
        os.rmdir(name, dir_fd=directory)


def remove_content(top: int) -> None:
    """Remove all that is in a directory, as far as that is possible.

    Args:
        top: A descriptor of the directory.
    """
    numbers = itertools.count()
    changed = True
    while changed:
        changed = False
        for name in _directories(top):
            changed |= _flattened(top, name, numbers)


def _flattened(top: int, name: str, numbers: Iterator[int]) -> bool:
    """Move the directories of a directory up into the top, and remove it; False if all stays."""
    changed = False
    with contextlib.suppress(OSError), opened(_open_directory(top, name)) as directory:
        for inner in _directories(directory):
            _move_up(directory, inner, top, numbers)
            changed = True
        os.rmdir(name, dir_fd=top)
        changed = True
    return changed


def _move_up(directory: int, name: str, top: int, numbers: Iterator[int]) -> None:
    with opened(open_beneath(directory, name, os.O_PATH | os.O_DIRECTORY)) as found:
        # Its entry ".." changes, which its permissions may forbid to its owner.
        make_accessible(found)
    while True:
        try:
            os.rename(name, f"{next(numbers)}", src_dir_fd=directory, dst_dir_fd=top)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                raise
        else:
            return


def _directories(directory: int) -> list[str]:
    """Remove the files of a directory; return the names of its directories."""
    with os.scandir(directory) as entries:
        names = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    left = [name for name, is_directory in names if is_directory]
    for name, is_directory in names:
        if not is_directory:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=directory)
    return left


def _open_directory(directory: int, name: str) -> int:
    """Open a directory whose mode may deny that to its owner."""
    with opened(open_beneath(directory, name, os.O_PATH | os.O_DIRECTORY)) as found:
        make_accessible(found)
        return os.open(by_descriptor(found), os.O_RDONLY | os.O_CLOEXEC)
