# SPDX-License-Identifier: LGPL-2.1-or-later
"""The parts that the operations use; the composition root creates them."""

import os
from dataclasses import dataclass

from virtlayer.service.blobs.cache import BlobCache
from virtlayer.service.catalog.catalog import Catalog
from virtlayer.service.chain.build import ChainBuilder
from virtlayer.service.jobs.engine import Jobs
from virtlayer.service.keeper.claims import Claims
from virtlayer.service.keeper.keeper import Keeper
from virtlayer.service.keeper.pools import Pools
from virtlayer.service.machines.names import DomainNames
from virtlayer.service.machines.streams.streams import Streams
from virtlayer.service.operations.sweeping import Sweeper
from virtlayer.service.source.workspace import Workspace
from virtlayer.service.synchronization.pool_records import PoolRecords
from virtlayer.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The parts of a running daemon.

    Attributes:
        settings: The settings of the daemon.
        libvirt_uri: The URI of the libvirt that has the pools.
        session: Whether it serves a user on a session bus.
        workspace: The directories and limits for opening images.
        keeper: The process that has access to the pools.
        sweeper: Removes leftovers from those pools.
        chains: Builds chains in those pools.
        cache: The downloaded blobs.
        catalog: The contents of the pools.
        records: The records in the pools; changed by the operations.
        jobs: The engine.
        streams: The open streams of machines.
        domain_names: Chooses the names of machines.
    """

    settings: Settings
    libvirt_uri: str
    session: bool
    workspace: Workspace
    keeper: Keeper
    sweeper: Sweeper
    chains: ChainBuilder
    cache: BlobCache
    catalog: Catalog
    records: PoolRecords
    jobs: Jobs
    streams: Streams
    domain_names: DomainNames

    @property
    def configuration_owner(self) -> int:
        """The uid of the user whose files configure images: root, or the session's user."""
        return trusted_uid(session=self.session)

    @property
    def pools(self) -> Pools:
        """The pools that the keeper has."""
        return self.keeper.pools

    @property
    def claims(self) -> Claims:
        """The claims on the volumes of these pools."""
        return self.keeper.claims


def trusted_uid(*, session: bool) -> int:
    """Return the uid of the user without restrictions and quotas.

    Args:
        session: Whether the daemon serves a user on a session bus.
    """
    return os.geteuid() if session else 0
