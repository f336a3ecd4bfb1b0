# SPDX-License-Identifier: LGPL-2.1-or-later
"""The locks that leases are made of: RADOS objects lock for a process, for a time (cls_lock).

The OSD's clock decides when a lock expires. Each process has a lock of its own; several share an
object, but not all, because locks are written often, and each time all locks of the object.
"""

import errno
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from virtlayer.errors import PoolUnavailable
from virtlayer.rbd import keys
from virtlayer.rbd.binding import rados
from virtlayer.rbd.failures import refused_by_cluster
from virtlayer.rbd.table import PoolTable

_OBJECTS = tuple(f"leases-{digit}" for digit in "0123456789abcdef")
_ATTRIBUTE = "lock."
"""How the names of the attributes begin in which cls_lock keeps locks."""
_MUST_RENEW = 2
"""A flag: fail if the lock has expired."""


class LeaseLocks:
    """The locks of all processes that use a pool. All methods block.

    All raise VirtlayerError if the cluster does not answer, or refuses it.

    Args:
        table: The table of the pool.
    """

    def __init__(self, table: PoolTable) -> None:
        self._table = table
        self._ioctx = table.ioctx

    def create(self) -> None:
        """Make all objects: when the pool is full, none can be made."""
        _for_all(self._create)

    def try_lock(self, process: str, seconds: int, *, by: str) -> bool:
        """Take the lock of a process, without waiting.

        Args:
            process: The id of the process.
            seconds: For how long. It may be up to 4.3 s longer, because the binding leaves the
                microseconds uninitialized.
            by: The id of the process that takes it.

        Returns:
            Whether it was taken; False if it has not expired.
        """
        try:
            self._ioctx.lock_exclusive(_object(process), process, by, "", seconds)
        except (rados.ObjectBusy, rados.ObjectExists):
            return False
        except rados.Error as error:
            raise refused_by_cluster(error, self._table.pool) from error
        return True

    def renew(self, process: str, seconds: int) -> None:
        """Renew the lock of this process.

        Raises:
            PoolUnavailable: It has expired.
        """
        try:
            self._ioctx.lock_exclusive(_object(process), process, process, "", seconds, _MUST_RENEW)
        except rados.Error as error:
            if error.errno in (errno.ENOENT, errno.EBUSY):
                raise PoolUnavailable(
                    f'The lease of this host in the pool "{self._table.pool}" has expired.'
                ) from error
            raise refused_by_cluster(error, self._table.pool) from error

    def remove(self, process: str) -> None:
        """Remove the lock of a process that has ended."""
        try:
            # Unlocking would leave an empty lock.
            self._ioctx.rm_xattr(_object(process), _ATTRIBUTE + process)
        except rados.ObjectNotFound:
            pass
        except rados.Error as error:
            raise refused_by_cluster(error, self._table.pool) from error

    def processes(self) -> set[str]:
        """The ids of all processes that have a lock, expired or not."""
        found = set(itertools.chain.from_iterable(_for_all(self._processes_in)))
        return {process for process in found if keys.is_id(process)}

    def _create(self, name: str) -> None:
        try:
            with rados.WriteOpCtx() as writing:
                writing.new(0)
                self._ioctx.operate_write_op(writing, name)
        except rados.Error as error:
            raise refused_by_cluster(error, self._table.pool) from error

    def _processes_in(self, name: str) -> list[str]:
        try:
            attributes = [attribute for attribute, _ in self._ioctx.get_xattrs(name)]
        except rados.ObjectNotFound:
            return []
        except rados.Error as error:
            raise refused_by_cluster(error, self._table.pool) from error
        return [attribute.removeprefix(_ATTRIBUTE) for attribute in attributes]


def _for_all[T](ask: Callable[[str], T]) -> list[T]:
    """Ask about all objects at the same time: a distant cluster takes as long as for one."""
    with ThreadPoolExecutor(len(_OBJECTS), "leases") as threads:
        return list(threads.map(ask, _OBJECTS))


def _object(process: str) -> str:
    return f"leases-{process[0]}"
