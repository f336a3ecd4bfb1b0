# SPDX-License-Identifier: LGPL-2.1-or-later
"""Places a new volume, directory or disk in its pool, together with its record."""

import contextlib
import logging
from collections.abc import Callable, Collection
from typing import Self

from virtlayer import journal
from virtlayer.cancellation import meanwhile, to_completion
from virtlayer.errors import VirtlayerError, VolumeExists
from virtlayer.protocol.pools import Pool, Volume
from virtlayer.service.keeper.staging import Staging
from virtlayer.service.records.values import VolumeRecord
from virtlayer.service.synchronization.pool_records import PoolRecords

_log = logging.getLogger(__name__)


class RecordedPlacing:
    """Places a volume with its record: a crash leaves no volume without one.

    If its context is left with an error or a cancellation, neither the volume nor its record is
    left. If a volume cannot be removed, because the QEMU of a machine that failed was killed and
    the cluster still counts it as a user, it stays with its record, and is logged.

    Args:
        records: The records of the pools.
        pool: The pool.
        record: The record, which has the name of the volume.
    """

    def __init__(self, records: PoolRecords, pool: Pool, record: VolumeRecord) -> None:
        self._records = records
        self._pool = pool
        self._record = record
        self._content: bytes | None = None
        self._staging: Staging | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None or self._staging is None:
            return
        try:
            await to_completion(self._withdraw(self._staging))
        except VirtlayerError as error:
            # The caller gets the first error.
            _log.warning(
                'Cannot remove the unfinished volume "%s": %s',
                self._record.name,
                error,
                extra=journal.fields(pool=self._pool.name, volume=self._record.name),
            )

    async def compose(self) -> None:
        """Compose the record; ``place`` does so otherwise.

        Raises:
            Internal: The record would be invalid.
        """
        self._content = await self._records.composed(self._record)

    async def place(
        self,
        staging: Staging,
        file: str,
        *,
        backing: str | None = None,
        formats: Collection[str] | None = None,
        on_placed: Callable[[], None] = lambda: None,
    ) -> Volume:
        """Place a flushed file or directory, and let libvirt find it.

        Args:
            staging: The staging directory that it is in.
            file: Its name there.
            backing: The name of the layer that it is an overlay of; None if there is none.
            formats: The formats that libvirt may detect; None for that of chains.
            on_placed: Called when it is placed, before libvirt looks for it.

        Raises:
            VolumeExists: Another volume has the name.
            VirtlayerError: It cannot be placed, libvirt does not find it or finds something else,
                or the record cannot be written.
        """
        if self._content is None:
            await self.compose()
        self._staging = staging
        placed = await staging.place(file, self._record.name, record=self._content)
        if not placed.ours:
            raise self._taken()
        on_placed()
        copying = self._records.copy_placed(self._pool, self._record, placed)
        async with meanwhile(copying) as copied:
            volume = await staging.register_volume(placed, backing=backing, formats=formats)
            await copied
        return volume

    async def _withdraw(self, staging: Staging) -> None:
        await staging.withdraw()
        # The first error is already reported. The next job in the pool reads the records, too.
        with contextlib.suppress(VirtlayerError):
            await self._records.synchronize(self._pool)

    def _taken(self) -> VolumeExists:
        return VolumeExists(
            f'Another volume "{self._record.name}" was created in the pool "{self._pool.name}" '
            "during the job. Choose another name, or delete that volume."
        )
