# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes and deletes records by compare and swap.

A record is written and synced under a temporary name before the pool's lock is taken, which is
needed for the comparison and the new name only. So jobs that write records at the same time do not
wait for each other's syncs.
"""

import asyncio
import contextlib
import functools
import os
from collections.abc import Callable

from virtlayer.cancellation import to_completion
from virtlayer.keeper.calls import ask_server
from virtlayer.keeper.kinds.directory.claims import DirectoryClaim
from virtlayer.keeper.kinds.directory.own_directory import OwnDirectory
from virtlayer.keeper.kinds.directory.pool_lock import DirectoryLock, under_lock
from virtlayer.keeper.kinds.directory.pool_thread import in_thread
from virtlayer.keeper.kinds.directory.records import new_record, stamp_of
from virtlayer.protocol.records import RecordPut, Stamp

_NO_CLAIM = "lock"
"""The holder's name for a record that is written with the pool's lock: no claim has it."""


async def put_record(
    holder: DirectoryClaim | DirectoryLock,
    file: str,
    expected: Stamp | None,
    content: int | None,
    *,
    durable: bool,
) -> RecordPut:
    """Write or delete a record, if it is the expected one.

    Args:
        holder: A claim or the lock of the pool.
        file: The name of the record's file.
        expected: The stamp of the record that there must be; None if there must be none.
        content: A descriptor of a sealed memory file; None to delete the record.
        durable: See ``PutRecord``.

    Raises:
        PoolLocked: Another process has the pool's lock.
        VirtlayerError: It cannot be written.
    """
    change = functools.partial(_changed, file=file, expected=expected, durable=durable)
    return await to_completion(_put(holder, content, change))


async def _put(
    holder: DirectoryClaim | DirectoryLock,
    content: int | None,
    change: Callable[[OwnDirectory, str | None], RecordPut],
) -> RecordPut:
    own = holder.own
    name = _NO_CLAIM if isinstance(holder, DirectoryLock) else holder.name
    new = None
    if content is not None:
        new = await in_thread(own.pool, lambda: new_record(own, name, content))
    try:
        if isinstance(holder, DirectoryLock):
            return await in_thread(own.pool, lambda: change(own, new))
        return await under_lock(own, lambda own: change(own, new))
    except BaseException:
        if new is not None:
            await asyncio.to_thread(_discard, own, new)
        raise


def _changed(
    own: OwnDirectory, new: str | None, *, file: str, expected: Stamp | None, durable: bool
) -> RecordPut:
    """Replace a record by a new one, or delete it; the caller has the pool's lock."""
    directory = own.descriptor
    ask_server(directory)
    found = stamp_of(directory, file)
    if found != expected:
        if new is not None:
            _discard(own, new)
        return RecordPut(changed=True, stamp=found)
    if new is not None:
        os.rename(new, file, src_dir_fd=directory, dst_dir_fd=directory)
    elif found is not None:
        os.unlink(file, dir_fd=directory)
    if durable:
        os.fsync(directory)
    return RecordPut(changed=False, stamp=None if new is None else stamp_of(directory, file))


def _discard(own: OwnDirectory, new: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(new, dir_fd=own.descriptor)
