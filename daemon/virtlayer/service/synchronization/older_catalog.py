# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes records once for a catalog that is older than the records of pools.

No record is written for an image with a missing volume, a layer without a file, or a directory or
disk whose file is missing or was replaced.
"""

import dataclasses
import logging
from collections.abc import Iterable, Sequence
from typing import Protocol

from virtlayer import journal
from virtlayer.errors import Internal
from virtlayer.protocol.pools import Pool
from virtlayer.protocol.records import RecordKind
from virtlayer.service.catalog.catalog import Catalog
from virtlayer.service.keeper.claims import Claim, PoolLock
from virtlayer.service.keeper.keeper import Keeper
from virtlayer.service.records.values import (
    BootRecord,
    ImageRecord,
    LayerRecord,
    Record,
    VolumeRecord,
)

_log = logging.getLogger(__name__)


class Writer(Protocol):
    """The methods of ``pool_records.PoolRecords`` that this module uses."""

    async def add(self, holder: Claim | PoolLock, record: Record) -> None:
        """Write a record, unless it exists."""


def older_volumes(older: Iterable[Record]) -> frozenset[str]:
    """Return the names of the volumes in an older catalog."""
    return frozenset(name for record in older for name in _volumes(record))


async def write_older_catalog(
    keeper: Keeper,
    writer: Writer,
    catalog: Catalog,
    holder: Claim | PoolLock,
    older: Sequence[Record],
) -> None:
    """Write records for the entries of an older catalog in a pool; existing records are kept.

    Args:
        keeper: The keeper with access to the pool.
        writer: Writes the records.
        catalog: The catalog.
        holder: A claim on these volumes, or the lock of the pool.
        older: The entries of the older catalog.

    Raises:
        VirtlayerError: The pool cannot be read or written; the next call tries again.
    """
    pool = holder.pool
    there = await _present(keeper, catalog, pool, older)
    directories = await _directories(keeper, pool, older)
    written = 0
    for record in older:
        if not there.issuperset(_volumes(record)):
            continue
        new = record
        if isinstance(record, VolumeRecord) and record.name in directories:
            # The older catalog did not distinguish them.
            new = dataclasses.replace(record, kind=RecordKind.DIRECTORY)
        try:
            await writer.add(holder, new)
        except Internal as error:
            _log.warning("%s", error, extra=journal.fields(pool=pool.name))
        else:
            written += 1
    await catalog.records.forget_unwritten(pool.name)
    _log.info(
        'Wrote records of %d images, layers and other volumes into the pool "%s".',
        written,
        pool.name,
        extra=journal.fields(pool=pool.name),
    )


async def _present(
    keeper: Keeper, catalog: Catalog, pool: Pool, older: Iterable[Record]
) -> frozenset[str]:
    """Return the names of the volumes that the pool still has."""
    inodes = await keeper.pools.inodes(pool, older_volumes(older))
    replaced = {
        volume.name
        for volume in await catalog.volumes.list(pool.name)
        if volume.inode is not None and volume.inode != inodes.get(volume.name)
    }
    return frozenset(inodes) - replaced


async def _directories(keeper: Keeper, pool: Pool, older: Iterable[Record]) -> frozenset[str]:
    names = [record.name for record in older if isinstance(record, VolumeRecord)]
    volumes = await keeper.pools.volumes(pool, names)
    return frozenset(volume.name for volume in volumes.values() if volume.format == "dir")


def _volumes(record: Record) -> tuple[str, ...]:
    match record:
        case ImageRecord():
            return record.volumes
        case LayerRecord() | VolumeRecord():
            return (record.name,)
        case BootRecord():
            raise AssertionError("no older catalog has this kind")
