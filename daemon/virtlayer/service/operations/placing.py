# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes the record of a new volume, directory or disk into its pool."""

import contextlib
from collections.abc import Coroutine

from virtlayer.cancellation import meanwhile, settled, to_completion
from virtlayer.errors import VirtlayerError
from virtlayer.service.keeper.claims import Claim
from virtlayer.service.records.values import VolumeRecord
from virtlayer.service.synchronization.pool_records import PoolRecords


class VolumeRecording:
    """Writes the record of a volume that was just placed in the pool.

    It is not written earlier, because another host may place another volume of this name.

    Args:
        records: The records of the pools.
        claim: The claim of the job.
        record: The record.
    """

    def __init__(self, records: PoolRecords, claim: Claim, record: VolumeRecord) -> None:
        self._records = records
        self._claim = claim
        self._record = record

    async def while_registered[T](self, registering: Coroutine[object, object, T]) -> T:
        """Write the record while libvirt looks for the volume; if that fails, there is no record.

        Args:
            registering: Waits for libvirt.

        Raises:
            VirtlayerError: ``registering`` failed, or the record cannot be written.
        """
        writing = self._records.put(self._claim, self._record)
        async with meanwhile(writing) as written:
            try:
                registered = await registering
                await written
            except BaseException:
                await settled(written)
                await to_completion(self._delete())
                raise
        return registered

    async def _delete(self) -> None:
        # The first error is already reported. The next prune deletes a record without a volume.
        with contextlib.suppress(VirtlayerError):
            await self._records.delete(self._claim, self._record.kind, self._record.name)
