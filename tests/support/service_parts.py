# SPDX-License-Identifier: LGPL-2.1-or-later
"""The parts of a service in the test's own process, and pulls by them.

For what cannot be brought about from outside: another part in the place of one, or a step that
waits for the test.
"""

import contextlib
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests.support.keeper import running_keeper
from tests.support.libvirt_host import LibvirtHost
from tests.support.machine_host import MachineHost
from tests.support.sources import PLAIN
from virtlayer.protocol.names import parse_pool_name, parse_volume_name
from virtlayer.service.blobs.cache import BlobCache
from virtlayer.service.catalog.catalog import Catalog
from virtlayer.service.chain.build import ChainBuilder
from virtlayer.service.jobs.engine import Jobs
from virtlayer.service.jobs.job import Job
from virtlayer.service.jobs.kind import Kind
from virtlayer.service.machines.names import DomainNames
from virtlayer.service.machines.streams.streams import Streams
from virtlayer.service.operations.new_volume import NewVolume
from virtlayer.service.operations.pull_chain import PullRequest, PullResult, pull
from virtlayer.service.operations.pull_disk import pull_disk
from virtlayer.service.operations.services import Services
from virtlayer.service.operations.sweeping import Sweeper
from virtlayer.service.operations.whole_image import Format, WholeImageRequest, WholeImageResult
from virtlayer.service.source.access import Access
from virtlayer.service.source.caller_source import ArchiveRoom
from virtlayer.service.source.policy import SignaturePolicy
from virtlayer.service.source.reference import parse_reference
from virtlayer.service.source.workspace import Workspace
from virtlayer.service.synchronization.pool_records import PoolRecords
from virtlayer.settings import Settings, StorageSettings
from virtlayer.sizes import GIB

_numbers = itertools.count(1)


@contextlib.asynccontextmanager
async def service_parts(
    host: LibvirtHost, directory: Path, *, session: bool = True
) -> AsyncIterator[Services]:
    """The parts of a service with volumes of 64 MiB; its files are in this directory.

    A keeper for machines has the files of their libvirtd (``machine_host``).
    """
    inside = host.as_owner() if isinstance(host, MachineHost) else None
    for name in ("run", "scratch"):
        (directory / name).mkdir(mode=0o700, exist_ok=True)
    settings = Settings(storage=StorageSettings(virtual_size=64 * 1024**2))
    async with (
        running_keeper(host.uri, inside) as keeper,
        Catalog(directory / "catalog.sqlite") as catalog,
    ):
        yield Services(
            settings=settings,
            libvirt_uri=host.uri,
            session=session,
            workspace=Workspace(
                runtime=directory / "run",
                scratch=directory / "scratch",
                room=ArchiveRoom(GIB),
                policy=SignaturePolicy(file=Path("/etc/containers/policy.json")),
            ),
            keeper=keeper,
            sweeper=Sweeper(keeper.pools),
            chains=ChainBuilder(keeper),
            cache=BlobCache(directory / "blobs", GIB),
            catalog=catalog,
            records=PoolRecords(keeper, catalog),
            jobs=Jobs(settings.jobs, queue_limit=settings.quota.queued_jobs),
            streams=Streams(keeper.domains, limit=16, exempt=frozenset()),
            domain_names=DomainNames(),
        )


def some_job(*, uid: int = 0) -> Job:
    """A job that nobody listens to."""
    return Job(
        next(_numbers),
        kind=Kind.PULL,
        source="",
        pool="",
        started_by=uid,
        owner=uid,
        listener=_Silent(),
    )


async def pulled(
    services: Services,
    source: str,
    pool: str,
    *,
    uid: int = 0,
    access: Access = PLAIN,
    **more: Any,
) -> PullResult:
    """Pull an image."""
    request = PullRequest(
        source=parse_reference(source), pool=parse_pool_name(pool), access=access, **more
    )
    return await pull(services, request, some_job(uid=uid))


async def pulled_disk(
    services: Services, source: str, pool: str, volume: str, *, uid: int = 0
) -> WholeImageResult:
    """Pull the disk in an image."""
    request = WholeImageRequest(
        source=parse_reference(source),
        pool=parse_pool_name(pool),
        format=Format.DISK,
        volume=NewVolume(name=parse_volume_name(volume)),
        access=PLAIN,
    )
    return await pull_disk(services, request, some_job(uid=uid))


class _Silent:
    def added(self, job: Job) -> None: ...

    def changed(self, job: Job, names: frozenset[str]) -> None: ...

    def progressed(self, job: Job) -> None: ...

    def finished(self, job: Job) -> None: ...

    def removed(self, job: Job) -> None: ...
