# SPDX-License-Identifier: LGPL-2.1-or-later
"""``.virtlayer`` of a pool: its records, and the files of running jobs.

::

    .virtlayer/          0711
      lock               0600; its bytes are locked, see ``pool_lock`` and ``claims``
      <64 hex>.json      0600; a record, see ``records``
      .new-<claim>-<n>   0600; a record that is being written
      claims/<claim>     0600; locked while its job runs
      domains/<uuid>     symlinks; the domains with files in the pool, see ``domain_files``
      made/<64 hex>      symlinks; the volumes that virtlayer has made, see ``made``
      staging/<claim>-<n>/   0700; where a job writes its unfinished volumes, see ``staging``

libvirt lists it as a volume of type dir and does not look into it. The pool's directory may belong
to another user: ``.virtlayer`` is opened beneath its descriptor, and must belong to this process's
user.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from virtlayer.errors import PoolUnsupported
from virtlayer.keeper.beneath import (
    open_beneath,
    open_directory,
    open_directory_beneath,
    open_regular,
    opened,
)
from virtlayer.keeper.kinds.directory.network import check_locks_are_shared
from virtlayer.protocol.descriptors import OwnedDescriptor
from virtlayer.protocol.pools import Pool

OWN_DIRECTORY = ".virtlayer"
CLAIMS = "claims"
STAGING = "staging"
LOCK_FILE = "lock"

_MODE = 0o711
_PRIVATE = 0o700
_NOT_A_DIRECTORY = (errno.ELOOP, errno.ENOTDIR, errno.EXDEV)


@dataclass(frozen=True, slots=True)
class OwnDirectory:
    """``.virtlayer`` of a pool, open.

    Attributes:
        pool: The pool.
        pool_directory: A descriptor of its directory.
        descriptor: A descriptor of ``.virtlayer``.
    """

    pool: Pool
    pool_directory: int
    descriptor: int

    @property
    def path(self) -> Path:
        """Its path, for errors."""
        return self.pool.path / OWN_DIRECTORY

    def kept(self) -> "OwnDirectory":
        """Return a copy that stays open as long as something refers to it."""
        return OwnDirectory(
            self.pool,
            OwnedDescriptor(os.dup(self.pool_directory)),
            OwnedDescriptor(os.dup(self.descriptor)),
        )

    def open_part(self, name: str) -> int:
        """Open a directory in it, made if there is none; only this user may enter it.

        Raises:
            PoolUnsupported: Something else has the name.
            OSError: It cannot be made or opened.
        """
        return _made(self.path / name, self.descriptor, _PRIVATE)

    def open_lock_file(self) -> int:
        """Open the file whose bytes are locked, by an open file description of its own.

        Raises:
            OSError: It cannot be opened, or something else has the name.
        """
        own = self.descriptor
        try:
            return open_regular(own, LOCK_FILE, os.O_RDWR)
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):
                os.close(open_beneath(own, LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            return open_regular(own, LOCK_FILE, os.O_RDWR)


@contextlib.contextmanager
def own_directory(pool: Pool) -> Iterator[OwnDirectory]:
    """Open ``.virtlayer`` of a pool, made if there is none, for as long as the context lasts.

    Raises:
        PoolUnsupported: Something else has the name, or locks there are not for all hosts.
        OSError: It cannot be made or opened.
    """
    with opened(open_directory(pool.path)) as directory:
        check_locks_are_shared(pool, directory)
        with opened(_made(pool.path / OWN_DIRECTORY, directory, _MODE)) as own:
            yield OwnDirectory(pool, directory, own)


@contextlib.contextmanager
def existing_own_directory(pool: Pool) -> Iterator[OwnDirectory | None]:
    """Open ``.virtlayer`` of a pool if there is one; None if there is none.

    Raises:
        PoolUnsupported: As ``own_directory``.
        OSError: As ``own_directory``.
    """
    with opened(open_directory(pool.path)) as directory:
        check_locks_are_shared(pool, directory)
        try:
            found = _opened_own(pool.path / OWN_DIRECTORY, directory, _MODE)
        except FileNotFoundError:
            yield None
            return
        with opened(found):
            yield OwnDirectory(pool, directory, found)


def _made(path: Path, parent: int, mode: int) -> int:
    try:
        return _opened_own(path, parent, mode)
    except FileNotFoundError:
        with contextlib.suppress(FileExistsError):
            os.mkdir(path.name, _PRIVATE, dir_fd=parent)
        return _opened_own(path, parent, mode)


def _opened_own(path: Path, parent: int, mode: int) -> int:
    """Open a directory of this process's user in another one.

    Args:
        path: What it is called; only the last part is used, and the rest is for errors.
        parent: A descriptor of the other one.
        mode: The permissions that it gets if it has others.
    """
    try:
        found = open_directory_beneath(parent, path.name)
    except OSError as error:
        if error.errno in _NOT_A_DIRECTORY:
            raise PoolUnsupported(
                f"{path} is not a directory of the pool ({error.strerror}). Nothing was written. "
                "Find out what created it, and delete it."
            ) from error
        raise
    try:
        info = os.fstat(found)
        if info.st_uid != os.geteuid():
            raise PoolUnsupported(
                f"{path} belongs to uid {info.st_uid}, not to uid {os.geteuid()}, which "
                "virtlayer-keeper runs as. Use this pool with the virtlayerd of that user, or, if "
                f'its content may be trusted, run "chown -R {os.geteuid()} {path}". On NFS, the '
                "export needs no_root_squash."
            )
        if info.st_mode & 0o777 != mode:
            # New files get the group of the pool's directory where that says so.
            os.fchmod(found, mode | info.st_mode & stat.S_ISGID)
    except BaseException:
        os.close(found)
        raise
    return found
