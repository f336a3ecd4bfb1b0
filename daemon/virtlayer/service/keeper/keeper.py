# SPDX-License-Identifier: LGPL-2.1-or-later
"""The keeper for the operations: pools, staging directories and programs."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path

from virtlayer.protocol.calls import Purpose
from virtlayer.service.keeper.claims import Claim, Claims
from virtlayer.service.keeper.connection import Connect, KeeperLink
from virtlayer.service.keeper.domains import Domains
from virtlayer.service.keeper.pools import Pools
from virtlayer.service.keeper.programs import KeeperPrograms
from virtlayer.service.keeper.records import Records
from virtlayer.service.keeper.staging import Staging, staging_directory


class Keeper:
    """The process that has access to the pools.

    Args:
        connect: Connects to it, when it is first needed.
        runtime: A directory for the sockets of programs of the keeper.

    Attributes:
        pools: Its pools.
        claims: The claims on their volumes, and their locks.
        records: The records of the pools.
        programs: Runs programs that need no staging directory.
        domains: The domains that virtlayer makes.
    """

    def __init__(self, connect: Connect, runtime: Path) -> None:
        self._link = KeeperLink(connect)
        self._runtime = runtime
        self.pools = Pools(self._link)
        self.claims = Claims(self._link)
        self.records = Records(self._link)
        self.programs = KeeperPrograms(self._link)
        self.domains = Domains(self._link)

    def staging(self, claim: Claim, purpose: Purpose) -> AbstractAsyncContextManager[Staging]:
        """A staging directory for as long as the context lasts (``staging_directory``)."""
        return staging_directory(claim, purpose, self._runtime)

    async def close(self) -> None:
        """Close the connection."""
        await self._link.close()
