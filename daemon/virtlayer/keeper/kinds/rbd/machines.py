# SPDX-License-Identifier: LGPL-2.1-or-later
"""Machines whose disks are RBD images."""

from collections.abc import Collection, Iterable, Mapping
from contextlib import AbstractAsyncContextManager

from virtlayer.errors import PoolUnsupported
from virtlayer.keeper.kinds.domain_note import DomainNote
from virtlayer.keeper.kinds.machine_storage import MachineStorage
from virtlayer.protocol.pools import Pool


class RbdMachines:
    """The part of ``RbdKind`` that is about machines, which cannot be made yet."""

    disk_format = "raw"

    def providing(
        self, pool: Pool, boot_volumes: Collection[str]
    ) -> AbstractAsyncContextManager[None]:
        """Refuse a machine."""
        del boot_volumes
        raise _unsupported(pool)

    async def machine_storage(self, pool: Pool, disk: str | None) -> MachineStorage:
        """Refuse a machine."""
        del disk
        raise _unsupported(pool)

    async def write_domain_files(
        self,
        pool: Pool,
        uuid: str,
        note: DomainNote,
        files: Mapping[str, int],
        owner: int | None,
    ) -> None:
        """Refuse a machine."""
        del uuid, note, files, owner
        raise _unsupported(pool)

    async def remove_domain_files(self, pool: Pool, names: Iterable[str]) -> None:
        """There are none."""

    async def forget_domain(self, pool: Pool, uuid: str) -> None:
        """There is none."""

    async def noted_domains(self, pool: Pool) -> Mapping[str, DomainNote]:
        """There are none."""
        del pool
        return {}


def _unsupported(pool: Pool) -> PoolUnsupported:
    return PoolUnsupported(f'Machines in the pool "{pool.name}" are not supported yet.')
