# SPDX-License-Identifier: LGPL-2.1-or-later
"""The table of a pool: keys and values that all hosts change with conditions.

It is the omap of one RADOS object, ``pool``, in the namespace ``virtlayer``. The object's OSD
applies a change completely or not at all, and all changes one after the other. So records, claims
and the lock of a pool need no further protocol than "change this if that is still so".

Other hosts write the values as well: whoever reads one checks it.
"""

import errno
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from virtlayer.errors import PoolUnsupported
from virtlayer.rbd import keys
from virtlayer.rbd.binding import rados
from virtlayer.rbd.failures import refused_by_cluster

NAMESPACE = "virtlayer"
"""The RADOS namespace of our objects; RBD images are in the default one."""
_OBJECT = "pool"
_FORMAT = b"1"
_KEYS_AT_A_TIME = 1024
"""What an OSD returns at most (``osd_max_omap_entries_per_request``)."""

type Values = Mapping[str, bytes]
type Conditions = Mapping[str, bytes | None]
"""The values that there must be; None if there must be none. No value is empty."""


class PoolTable:
    """The table of a pool. All methods block, and may be called in any thread.

    Args:
        ioctx: Ceph's I/O context of the pool, for the namespace ``virtlayer`` only.
        pool: The name of the pool in the cluster, for error messages.
    """

    def __init__(self, ioctx: Any, pool: str) -> None:
        self.ioctx = ioctx
        self.pool = pool
        ioctx.set_namespace(NAMESPACE)
        # Otherwise, changes wait for as long as the pool is full, and nothing could be deleted.
        ioctx.set_osdmap_full_try()

    def get(self, keys: Collection[str]) -> Values:
        """Return the values of keys; those that do not exist are left out.

        Raises:
            VirtlayerError: The cluster does not answer, or refuses it.
        """
        found: dict[str, bytes] = {}
        rest = tuple(keys)
        while rest:
            batch, rest = rest[:_KEYS_AT_A_TIME], rest[_KEYS_AT_A_TIME:]
            with rados.ReadOpCtx() as reading:
                pairs, _ = self.ioctx.get_omap_vals_by_keys(reading, batch, omap_key_type=bytes)
                if self._read(reading):
                    found.update(_checked(pairs))
        return found

    def scan(self, prefix: str) -> Iterator[tuple[str, bytes]]:
        """Yield the keys that begin so, sorted, with their values.

        They are read in parts: the table may change meanwhile.

        Raises:
            VirtlayerError: The cluster does not answer, or refuses it.
        """
        after = b""
        while True:
            with rados.ReadOpCtx() as reading:
                pairs, _ = self.ioctx.get_omap_vals(
                    reading, after, prefix, _KEYS_AT_A_TIME, omap_key_type=bytes
                )
                if not self._read(reading):
                    return
                read = list(pairs)
            yield from _checked(read)
            if not read:
                return
            after = read[-1][0]

    def is_used(self) -> bool:
        """Whether a host has ever written to it.

        Raises:
            PoolUnsupported: A newer version of virtlayer has.
            VirtlayerError: The cluster does not answer, or refuses it.
        """
        return self.has_format(self.get([keys.FORMAT]))

    def has_format(self, values: Values) -> bool:
        """Whether values, which were read with that of ``format``, are from a used table.

        Raises:
            PoolUnsupported: A newer version of virtlayer has written them.
        """
        if keys.FORMAT not in values:
            return False
        if values[keys.FORMAT] != _FORMAT:
            raise PoolUnsupported(
                f'A newer version of virtlayer uses the pool "{self.pool}". Update virtlayer on '
                "this host."
            )
        return True

    def begin(self) -> None:
        """Note the format of the table, unless another host has done so.

        Raises:
            VirtlayerError: The cluster does not answer, or refuses it.
        """
        self.change({keys.FORMAT: None}, {keys.FORMAT: _FORMAT})

    def change(self, expected: Conditions, new: Conditions) -> bool:
        """Set and delete values, all of them or none.

        Args:
            expected: The values that there must be.
            new: The new values; None to delete one.

        Returns:
            Whether it was done; False if a value is not the expected one.

        Raises:
            NoAnswer: The cluster does not answer. The change may still be made later.
            VirtlayerError: It refuses it.
        """
        changed = {key: value for key, value in new.items() if value is not None}
        deleted = tuple(key for key, value in new.items() if value is None)
        with rados.WriteOpCtx() as writing:
            writing.new(0)  # creates the object, unless it exists
            for key, value in expected.items():
                writing.omap_cmp(key, b"" if value is None else value)
            if changed:
                self.ioctx.set_omap(writing, tuple(changed), tuple(changed.values()))
            if deleted:
                self.ioctx.remove_omap_keys(writing, deleted)
            try:
                self.ioctx.operate_write_op(writing, _OBJECT)
            except rados.Error as error:
                if error.errno == errno.ECANCELED:
                    return False
                raise refused_by_cluster(error, self.pool) from error
        return True

    def _read(self, reading: Any) -> bool:
        """Read; False if the table does not exist yet."""
        try:
            self.ioctx.operate_read_op(reading, _OBJECT)
        except rados.ObjectNotFound:
            return False
        except rados.Error as error:
            raise refused_by_cluster(error, self.pool) from error
        return True


def _checked(pairs: Any) -> Iterator[tuple[str, bytes]]:
    for key, value in pairs:
        # Keys of ours are ASCII and no value is empty: anything else is not ours.
        if value and key.isascii():
            yield key.decode(), value
