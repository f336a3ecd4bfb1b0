# SPDX-License-Identifier: LGPL-2.1-or-later
"""``.virtlayer``: what a pool says about itself, and what running jobs have there.

::

    .virtlayer/          0711
      lock               0600; its bytes are locked, see ``pool_lock`` and ``claims``
      <64 hex>.json      0600; a record, see ``records``
      .new-<claim>-<n>   0600; a record that is being written
      claims/<claim>     0600; locked while its job runs

libvirt lists it as a volume of type dir and does not look into it. The pool's directory may belong
to somebody else: it is found beneath the descriptor of that, and must be this process's user's.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator

from virtlayer.errors import PoolUnsupported
from virtlayer.keeper.beneath import (
    open_beneath,
    open_directory,
    open_directory_beneath,
    open_regular,
    opened,
)
from virtlayer.keeper.kinds.directory.network import check_locks_are_shared
from virtlayer.protocol.pools import Pool

OWN_DIRECTORY = ".virtlayer"
CLAIMS = "claims"
LOCK_FILE = "lock"

_MODE = 0o711
_PRIVATE = 0o700
_NOT_A_DIRECTORY = (errno.ELOOP, errno.ENOTDIR, errno.EXDEV)


@contextlib.contextmanager
def own_directory(pool: Pool) -> Iterator[int]:
    """Open ``.virtlayer`` of a pool, made if there is none.

    Yields:
        A descriptor of it.

    Raises:
        PoolUnsupported: Something else has the name, or locks there are not for all hosts.
        OSError: It cannot be made or opened.
    """
    with opened(open_directory(pool.path)) as directory:
        check_locks_are_shared(pool, directory)
        with opened(_made(pool, directory, OWN_DIRECTORY, _MODE)) as own:
            yield own


@contextlib.contextmanager
def existing_own_directory(pool: Pool) -> Iterator[int | None]:
    """Open ``.virtlayer`` of a pool if there is one.

    Yields:
        A descriptor of it, or None.

    Raises:
        PoolUnsupported: As ``own_directory``.
        OSError: As ``own_directory``.
    """
    with opened(open_directory(pool.path)) as directory:
        check_locks_are_shared(pool, directory)
        try:
            found = _opened_own(pool, directory, OWN_DIRECTORY, _MODE)
        except FileNotFoundError:
            yield None
            return
        with opened(found):
            yield found


def open_part(pool: Pool, own: int, name: str) -> int:
    """Open a directory in ``.virtlayer``, made if there is none; only this user may enter it.

    Args:
        pool: The pool, for errors.
        own: A descriptor of its ``.virtlayer``.
        name: The directory's name there.

    Raises:
        PoolUnsupported: Something else has the name.
        OSError: It cannot be made or opened.
    """
    return _made(pool, own, name, _PRIVATE)


def open_lock_file(own: int) -> int:
    """Open the file whose bytes are locked, by an open file description of its own.

    Raises:
        OSError: It cannot be opened, or something else has the name.
    """
    try:
        return open_regular(own, LOCK_FILE, os.O_RDWR)
    except FileNotFoundError:
        with contextlib.suppress(FileExistsError):
            os.close(open_beneath(own, LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        return open_regular(own, LOCK_FILE, os.O_RDWR)


def _made(pool: Pool, parent: int, name: str, mode: int) -> int:
    try:
        return _opened_own(pool, parent, name, mode)
    except FileNotFoundError:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, _PRIVATE, dir_fd=parent)
        return _opened_own(pool, parent, name, mode)


def _opened_own(pool: Pool, parent: int, name: str, mode: int) -> int:
    shown = pool.path / OWN_DIRECTORY / ("" if name == OWN_DIRECTORY else name)
    try:
        found = open_directory_beneath(parent, name)
    except OSError as error:
        if error.errno in _NOT_A_DIRECTORY:
            raise PoolUnsupported(
                f'{shown} is not a directory of the pool "{pool.name}" ({error.strerror}). Nothing '
                "was written. Find out who put it there, and delete it."
            ) from error
        raise
    try:
        info = os.fstat(found)
        if info.st_uid != os.geteuid():
            raise PoolUnsupported(
                f'{shown} in the pool "{pool.name}" belongs to uid {info.st_uid}, not to uid '
                f"{os.geteuid()}, which virtlayer-keeper runs as. Use this pool with the "
                'virtlayerd of that user, or, if its content may be trusted, run "chown -R '
                f'{os.geteuid()} {pool.path / OWN_DIRECTORY}". On NFS, the export needs '
                "no_root_squash."
            )
        if stat.S_IMODE(info.st_mode) != mode:
            os.fchmod(found, mode)
    except BaseException:
        os.close(found)
        raise
    return found
