# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reads the records of the pools into the catalog when they change, and writes records.

A record is changed by compare and swap: it is written only if its file is still the one that the
catalog knows. Otherwise another host has changed it: the new record is read, and the change is
repeated.
"""

import asyncio
import dataclasses
import logging
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from virtlayer import journal
from virtlayer.errors import Internal, InUse
from virtlayer.protocol.calls import Placed
from virtlayer.protocol.pools import Pool
from virtlayer.protocol.records import VOLUME_KINDS, RecordKind, Stamp, record_file
from virtlayer.service.catalog.catalog import Catalog
from virtlayer.service.catalog.recorded import Bad, Gone, Seen
from virtlayer.service.keeper.claims import Claim, PoolLock
from virtlayer.service.keeper.keeper import Keeper
from virtlayer.service.keeper.records import RecordChanged, RecordFile
from virtlayer.service.records.json_files import BadRecord, compose, parse
from virtlayer.service.records.values import (
    BootRecord,
    ImageRecord,
    LayerRecord,
    Record,
    VolumeRecord,
)
from virtlayer.service.synchronization.older_catalog import older_volumes, write_older_catalog
from virtlayer.service.synchronization.record_places import record_place, record_repair

_log = logging.getLogger(__name__)

_FILES_AT_ONCE = 256
"""The maximum of records in memory at the same time."""
_ATTEMPTS = 100
"""The limit of retries after changes by other hosts; more retries indicate another cause."""


class Listener(Protocol):
    """A listener to changes in the contents of pools."""

    def records_changed(self, pool: str) -> None:
        """Schedule the reaction to a change; the catalog is already updated."""


@dataclass(frozen=True, slots=True)
class _Read:
    """A read of the records of a pool.

    Attributes:
        began: When it began, by the loop's clock.
        stamp: The stamp of the list; None if the next list has to be a whole one.
    """

    began: float
    stamp: Stamp | None


class PoolRecords:
    """The records of the pools.

    Args:
        keeper: Reads and writes the records.
        catalog: Holds a copy of the records.
    """

    def __init__(self, keeper: Keeper, catalog: Catalog) -> None:
        self._keeper = keeper
        self._catalog = catalog
        self._locks: dict[str, asyncio.Lock] = {}
        self._reads: dict[tuple[str, str], _Read] = {}
        """The last complete read of each pool."""
        self._listeners: list[Listener] = []
        self._written: set[str] = set()
        """The pools without unwritten data of an older catalog."""

    def subscribe(self, listener: Listener) -> None:
        """Report changes in the contents of pools to a listener from now on."""
        self._listeners.append(listener)

    async def synchronize(self, pool: Pool, *, since: float = math.inf) -> None:
        """Update the catalog from the records of a pool.

        A record that was edited in place, instead of being replaced, may not be detected.

        Args:
            pool: The pool.
            since: A read that began at this time of the loop's clock, or later, is sufficient. What
                other hosts have changed after it is then detected when a record is written.

        Raises:
            VirtlayerError: The pool cannot be read.
        """
        async with self._lock(pool):
            last = self._reads.get(_key(pool))
            if last is None or last.began < since:
                await self._read_changes(pool, thoroughly=False)
        if older := await self._older(pool):
            async with self._keeper.claims.claimed(pool, older_volumes(older)) as claim:
                await write_older_catalog(self._keeper, self, self._catalog, claim, older)

    async def synchronize_layers(self, claim: Claim, names: Iterable[str]) -> None:
        """Update the catalog from the records of layers that were claimed since ``synchronize``.

        Another host may have deleted these layers, with their records, until they were claimed.
        Other records are not listed again: a pool can have thousands.

        Args:
            claim: The claim.
            names: The names of the layers.

        Raises:
            VirtlayerError: The pool cannot be read.
        """
        pool = claim.pool
        files = [record_file(RecordKind.LAYER, name) for name in names]
        async with self._lock(pool):
            read = await self._keeper.records.read(pool, files)
            known = await self._catalog.records.stamps_of(pool.name, files)
            found = {file: one.stamp for file, one in read.items()}
            changed = [file for file in files if known.get(file) != found.get(file)]
            if changed:
                await self._take_over(pool, changed, read)
                self._tell(pool.name)

    async def synchronize_locked(self, lock: PoolLock) -> None:
        """Keep the catalog equal to the records of a locked pool, as long as it is locked.

        Raises:
            VirtlayerError: The pool cannot be read.
        """
        async with self._lock(lock.pool):
            await self._read_changes(lock.pool, thoroughly=True)
        if older := await self._older(lock.pool):
            await write_older_catalog(self._keeper, self, self._catalog, lock, older)

    async def change_image(
        self,
        holder: Claim | PoolLock,
        name: str,
        change: Callable[[ImageRecord | None], ImageRecord | None],
    ) -> None:
        """Change, write or delete the record of an image; see ``put``.

        Args:
            holder: A claim, or the lock of the pool.
            name: The name of the image.
            change: Returns the new record for the present one; None means no record. It is called
                again if another host changes the record meanwhile. Its errors are raised here.
        """
        await self._change(holder, RecordKind.IMAGE, name, _of_kind(ImageRecord, change))

    async def change_layer(
        self,
        holder: Claim | PoolLock,
        name: str,
        change: Callable[[LayerRecord | None], LayerRecord | None],
    ) -> None:
        """Change, write or delete the record of a layer; see ``change_image``."""
        await self._change(holder, RecordKind.LAYER, name, _of_kind(LayerRecord, change))

    async def change_volume(
        self,
        holder: Claim | PoolLock,
        kind: RecordKind,
        name: str,
        change: Callable[[VolumeRecord | None], VolumeRecord | None],
    ) -> None:
        """Change, write or delete the record of a volume, directory or disk; see ``change_image``.

        Args:
            holder: A claim, or the lock of the pool.
            kind: Which of them it is.
            name: The name of the volume.
            change: See ``change_image``.
        """
        await self._change(holder, kind, name, _of_kind(VolumeRecord, change))

    async def change_boot(
        self,
        holder: Claim | PoolLock,
        name: str,
        change: Callable[[BootRecord | None], BootRecord | None],
    ) -> None:
        """Change, write or delete the record of what boots machines; see ``change_image``."""
        await self._change(holder, RecordKind.BOOT, name, _of_kind(BootRecord, change))

    async def put(self, holder: Claim | PoolLock, record: Record) -> None:
        """Write or replace a record, and copy it into the catalog.

        Args:
            holder: A claim, or the lock of the pool.
            record: The record.

        Raises:
            InUse: A file with its name is not a record, or another process has the lock.
            NoSpace: The pool is full.
            VirtlayerError: The pool cannot be used.
        """
        await self._change(holder, record.kind, record.name, lambda _: record)

    async def add(self, holder: Claim | PoolLock, record: Record) -> None:
        """Write a record, unless there is one of the same kind and name; see ``put``."""
        await self._change(holder, record.kind, record.name, lambda before: before or record)

    async def composed(self, record: Record) -> bytes:
        """Return the content of the file of a new record.

        Raises:
            Internal: The record would be invalid.
        """
        return await asyncio.to_thread(_composed, record)

    async def copy_placed(self, pool: Pool, record: VolumeRecord, placed: Placed) -> None:
        """Copy a record that was placed together with its volume into the catalog.

        Args:
            pool: The pool.
            record: The record.
            placed: The volume, and the stamp of the record's file.
        """
        inode = placed.inode
        await self._copy(pool, record.kind, record.name, record, None, placed.record, inode)

    async def delete(self, holder: Claim | PoolLock, kind: RecordKind, name: str) -> None:
        """Delete a record, if there is one; see ``put``."""
        await self._change(holder, kind, name, lambda _: None)

    async def _change(
        self,
        holder: Claim | PoolLock,
        kind: RecordKind,
        name: str,
        change: Callable[[Record | None], Record | None],
    ) -> None:
        pool = holder.pool
        for _ in range(_ATTEMPTS):
            before, stamp = await self._catalog.records.get(pool.name, kind, name)
            after = change(before)
            if after == before and (before is None or stamp is not None):
                return
            try:
                content = None if after is None else await self.composed(after)
                new = await self._keeper.records.put(
                    *(pool, kind, name, content),
                    expected=stamp,
                    holder=holder,
                    durable=not _is_confirmed(before, after),
                )
            except RecordChanged:
                async with self._lock(pool):
                    await self._read_changes(pool, thoroughly=True)
                await self._refuse_bad(pool, [record_file(kind, name)])
            else:
                await self._copy(pool, kind, name, after, stamp, new)
                return
        raise InUse(
            f'The record of the {kind} "{name}" in the pool "{pool.name}" changes all the time. '
            "Try again."
        )

    async def refuse_bad(self, pool: Pool) -> None:
        """Check that all records of a pool are valid: an invalid one may need any layer.

        Raises:
            InUse: A record is invalid; the message names its file.
        """
        await self._refuse_bad(pool)

    async def forget_layers(self, pool: Pool, names: Iterable[str]) -> None:
        """Forget the copies of the records of layers, which were deleted with their volumes."""
        gone = [Gone(record_file(RecordKind.LAYER, name)) for name in names]
        async with self._lock(pool):
            await self._catalog.records.put(pool.name, gone)

    async def forget(self, pool: str) -> None:
        """Forget the copies of the records of a pool that libvirt does not have."""
        await self._catalog.records.forget_pool(pool)
        # libvirt may have the same pool again later, with the same records.
        self._reads = {key: read for key, read in self._reads.items() if key[1] != pool}
        self._tell(pool)

    async def _older(self, pool: Pool) -> tuple[Record, ...]:
        """Return the entries of an older catalog for a pool that have no record yet."""
        if pool.name in self._written:
            return ()
        older = await self._catalog.records.unwritten(pool.name)
        if not older:
            self._written.add(pool.name)
        return older

    def _lock(self, pool: Pool) -> asyncio.Lock:
        """Return the lock for a comparison of the catalog with a pool and for changes to it.

        It is not held while the keeper waits for the lock of the pool, because a deletion that has
        the pool's lock needs to read the records.
        """
        return self._locks.setdefault(pool.uuid, asyncio.Lock())

    async def _copy(
        self,
        pool: Pool,
        kind: RecordKind,
        name: str,
        record: Record | None,
        before: Stamp | None,
        after: Stamp | None,
        inode: int | None = None,
    ) -> None:
        """Copy a written record into the catalog; the inode is that of its volume, if known."""
        file = record_file(kind, name)
        async with self._lock(pool):
            seen = None if record is None or after is None else Seen(record, after)
            change = seen or Gone(file)
            known = await self._catalog.records.replace(pool.name, before, change, inode)
            if known not in (before, after):
                # Another change, possibly a later one, has been read meanwhile.
                await self._read_changes(pool, thoroughly=True)
        if inode is None and kind in VOLUME_KINDS:
            await self._note_inodes(pool, [name])

    async def _refuse_bad(self, pool: Pool, files: Iterable[str] | None = None) -> None:
        for bad in await self._catalog.records.bad(pool.name):
            if files is None or bad.file in files:
                raise InUse(
                    f"{record_place(pool, bad.file)} cannot be used as a record: {bad.reason}. "
                    f"{record_repair(pool, bad.file)} Until then, nothing is deleted from the pool "
                    f'"{pool.name}".'
                )

    async def _read_changes(self, pool: Pool, *, thoroughly: bool) -> None:
        key, began = _key(pool), asyncio.get_running_loop().time()
        last = None if thoroughly else self._reads.get(key)
        since = None if last is None else last.stamp
        known_list = await self._catalog.records.digest(pool.name)
        listed = await self._keeper.records.list(pool, since, known_list)
        if listed.unchanged:
            self._reads[key] = _Read(began, listed.stamp)
            return
        known = await self._catalog.records.stamps(pool.name)
        found = {one.file: one.stamp for one in listed.records}
        changed = [file for file, stamp in found.items() if known.get(file) != stamp]
        gone = [Gone(file) for file in known if file not in found]
        for start in range(0, len(changed), _FILES_AT_ONCE):
            files = changed[start : start + _FILES_AT_ONCE]
            read = await self._keeper.records.read(pool, files)
            await self._take_over(pool, files, read)
        if gone:
            await self._catalog.records.put(pool.name, gone)
        self._reads[key] = _Read(began, listed.stamp)
        if changed or gone:
            self._tell(pool.name)

    async def _take_over(
        self, pool: Pool, files: Iterable[str], read: Mapping[str, RecordFile]
    ) -> None:
        changes = await asyncio.to_thread(_parsed, files, read)
        await self._catalog.records.put(pool.name, changes)
        volumes = []
        for change in changes:
            match change:
                case Bad():
                    _log.warning(
                        "%s was ignored: %s. Until it is repaired or removed, nothing is deleted "
                        'from the pool "%s".',
                        record_place(pool, change.file),
                        change.reason,
                        pool.name,
                        extra=journal.fields(pool=pool.name),
                    )
                case Seen(record) if record.kind in VOLUME_KINDS:
                    volumes.append(record.name)
                case _:
                    pass
        await self._note_inodes(pool, volumes)

    async def _note_inodes(self, pool: Pool, names: list[str]) -> None:
        if names:
            inodes = await self._keeper.pools.inodes(pool, names)
            await self._catalog.volumes.note_inodes(pool.name, inodes)

    def _tell(self, pool: str) -> None:
        for listener in self._listeners:
            listener.records_changed(pool)


def _key(pool: Pool) -> tuple[str, str]:
    return pool.uuid, pool.name


def _of_kind[R: Record](
    kind: type[R], change: Callable[[R | None], R | None]
) -> Callable[[Record | None], Record | None]:
    def changed(before: Record | None) -> Record | None:
        assert before is None or isinstance(before, kind), "the catalog gave another record"
        return change(before)

    return changed


def _is_confirmed(before: Record | None, after: Record | None) -> bool:
    """Return whether a pull has found nothing new, and changes nothing but its own time.

    A power failure may take away that time: the image and all that is said about it are the same.
    """
    if not isinstance(before, ImageRecord) or not isinstance(after, ImageRecord):
        return False
    return dataclasses.replace(before, pulled_at=after.pulled_at) == after


def _composed(record: Record) -> bytes:
    try:
        return compose(record)
    except BadRecord as error:
        raise Internal(f'The {record.kind} "{record.name}" cannot be recorded: {error}.') from error


def _parsed(files: Iterable[str], read: Mapping[str, RecordFile]) -> list[Seen | Bad | Gone]:
    return [_parsed_one(file, read.get(file)) for file in files]


def _parsed_one(file: str, found: RecordFile | None) -> Seen | Bad | Gone:
    if found is None:
        return Gone(file)
    if found.content is None:
        return Bad(file, found.stamp, found.problem)
    try:
        return Seen(parse(file, found.content), found.stamp)
    except BadRecord as error:
        return Bad(file, found.stamp, str(error))
