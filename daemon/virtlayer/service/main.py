# SPDX-License-Identifier: LGPL-2.1-or-later
"""``virtlayerd``: creates the parts of the daemon and runs it."""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from virtlayer import allocation, journal
from virtlayer.cancellation import meanwhile
from virtlayer.dbus.connection import BusError, Connection
from virtlayer.dbus.structure import CALL_LIMITS
from virtlayer.errors import VirtlayerError
from virtlayer.service import hidden_memory
from virtlayer.service.blobs.cache import BlobCache
from virtlayer.service.bus.server import Server
from virtlayer.service.catalog.catalog import Catalog
from virtlayer.service.chain.build import ChainBuilder
from virtlayer.service.installation import startup_problems
from virtlayer.service.jobs.engine import Jobs
from virtlayer.service.keeper.connection import Connect
from virtlayer.service.keeper.keeper import Keeper
from virtlayer.service.keeper.reaching import own_keeper, system_keeper
from virtlayer.service.lifetime import Life
from virtlayer.service.machines.names import DomainNames
from virtlayer.service.machines.streams.streams import Streams
from virtlayer.service.machines.watching import MachineWatch
from virtlayer.service.operations.machines.sweeper import MachineSweeper
from virtlayer.service.operations.services import Services, trusted_uid
from virtlayer.service.operations.sweeping import Sweeper
from virtlayer.service.source.caller_source import ArchiveRoom
from virtlayer.service.source.policy import SignaturePolicy
from virtlayer.service.source.scratch import sweep_scratch
from virtlayer.service.source.workspace import Workspace
from virtlayer.service.synchronization.pool_records import PoolRecords
from virtlayer.service.synchronization.watching import Watching
from virtlayer.settings import (
    Settings,
    blob_directory,
    configuration_directory,
    load_settings,
    policy_file,
    runtime_directory,
    state_directory,
)
from virtlayer.sizes import KIB
from virtlayer.version import VERSION

_log = logging.getLogger(__name__)

_MAPPED_FROM = 256 * KIB
"""Bytes of a block that is returned to the system when it is freed. Otherwise the buffers of
downloads would stay allocated until the daemon exits: 15 MB after a large layer."""
_SWITCH_SECONDS = 0.0005
"""The switch interval between Python threads, for example after a reply of libvirt. The default of
5 ms is a sixth of the time of a pull that finds nothing new."""

_START_PATIENCE = 2.0
"""Seconds to wait for the contents of pools before the service accepts calls."""
_SESSION_URI = "qemu:///session"


@dataclass(frozen=True, slots=True)
class Arguments:
    """The command line."""

    session: bool
    uri: str | None
    """The libvirt URI for a keeper that this process starts; None for the system's keeper."""
    config: Path
    on_demand: bool
    """Whether the daemon may exit when idle, because the next call starts it again."""
    config_required: bool
    """Whether the file of settings must exist: it was named on the command line."""


def main() -> None:
    """Run the daemon until it is idle, gets a signal to stop, or loses its bus."""
    arguments = _parse_arguments()
    allocation.map_from(_MAPPED_FROM)
    if not arguments.session:
        # Against skopeo, which runs as the same user. In a session, all programs of the user do.
        hidden_memory.hide()
    sys.setswitchinterval(_SWITCH_SECONDS)
    journal.configure_logging("virtlayerd")
    if arguments.uri is None and (problems := startup_problems()):
        for problem in problems:
            _log.critical("%s", problem)
        sys.exit(1)
    try:
        settings = load_settings(arguments.config, required=arguments.config_required)
        code = asyncio.run(_serve(arguments, settings))
    except (VirtlayerError, ConnectionError, BusError) as error:
        _log.critical("%s", error)
        code = 1
    except EOFError:
        _log.critical("The connection to the bus was lost. virtlayerd stops.")
        code = 1
    logging.shutdown()
    # Not sys.exit(), which joins threads: one may be waiting for a libvirtd that hangs.
    os._exit(code)


def _parse_arguments() -> Arguments:
    parser = argparse.ArgumentParser(
        prog="virtlayerd",
        description="Serve org.virtlayer1: container images as qcow2 chains in libvirt pools.",
    )
    parser.add_argument(
        "--session",
        action="store_true",
        help="serve on the session bus, with qemu:///session (for root: the system's libvirtd)",
    )
    parser.add_argument(
        "--connect", metavar="URI", help="libvirt URI; starts a virtlayer-keeper for it"
    )
    parser.add_argument(
        "--config", metavar="FILE", type=Path, help="settings file, see virtlayerd.toml(5)"
    )
    parser.add_argument(
        "--exit-when-idle",
        action="store_true",
        help="exit when there were no calls and no jobs for 60 s (see service.idle-timeout); for "
        "services that the bus or systemd starts again",
    )
    parser.add_argument("--version", action="version", version=f"virtlayerd {VERSION}")
    given = parser.parse_args()
    return Arguments(
        session=given.session,
        uri=given.connect or (_SESSION_URI if given.session else None),
        config=given.config or configuration_directory(session=given.session) / "virtlayerd.toml",
        on_demand=given.exit_when_idle,
        config_required=given.config is not None,
    )


async def _serve(arguments: Arguments, settings: Settings) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    idle_timeout = settings.service.idle_seconds(on_demand=arguments.on_demand)
    connection = await Connection.opened(session=arguments.session, limits=CALL_LIMITS)
    async with (
        connection,
        _services(arguments, settings) as services,
        Watching(services.keeper, services.catalog, services.records) as watching,
    ):
        # Before the first caller asks which images there are.
        await watching.look(_START_PATIENCE)
        server = Server(connection, services)
        life = Life(connection, server, services.jobs, services.streams, idle_timeout)
        if not await server.start():
            _log.critical("Another virtlayerd already serves org.virtlayer1 on this bus. Exiting.")
            return 1
        if arguments.uri == _SESSION_URI and os.geteuid() == 0:
            _log.info("Root's %s is the libvirtd of the system, with its pools.", _SESSION_URI)
        machines = MachineWatch(services.keeper.domains)
        machines.subscribe(server)
        machines.subscribe(services.streams.states)
        async with (
            MachineSweeper(services) as sweeper,
            meanwhile(watching.run()),
            meanwhile(machines.run()),
        ):
            machines.subscribe(sweeper)
            sweeper.begin()
            return await life.last(stop)


@contextlib.asynccontextmanager
async def _services(arguments: Arguments, settings: Settings) -> AsyncIterator[Services]:
    session = arguments.session
    runtime = runtime_directory(session=session)
    state = state_directory(settings, session=session)
    blobs = blob_directory(settings, session=session)
    for directory in (runtime, state):
        await asyncio.to_thread(directory.mkdir, mode=0o700, parents=True, exist_ok=True)
    # Leftovers of a killed daemon, most importantly credentials.
    for place in (runtime, blobs / "scratch"):
        await sweep_scratch(place)
    cache = BlobCache(blobs, settings.cache.size_limit)
    await asyncio.to_thread(cache.sweep)
    async with Catalog(state / "catalog.sqlite") as catalog, contextlib.AsyncExitStack() as stack:
        await catalog.owners.keep(await asyncio.to_thread(cache.digests))
        keeper = Keeper(_connect(arguments), runtime)
        stack.push_async_callback(keeper.close)
        unlimited = frozenset({trusted_uid(session=session)})
        streams = Streams(keeper.domains, limit=settings.quota.streams, exempt=unlimited)
        stack.push_async_callback(streams.close)
        yield Services(
            settings=settings,
            libvirt_uri=arguments.uri or "qemu:///system",
            session=session,
            workspace=Workspace(
                runtime=runtime,
                scratch=blobs / "scratch",
                room=ArchiveRoom(settings.cache.archives_limit),
                policy=SignaturePolicy(
                    file=policy_file(settings, session=session),
                    required=settings.registries.signatures == "required",
                ),
            ),
            keeper=keeper,
            sweeper=Sweeper(keeper.pools),
            chains=ChainBuilder(keeper),
            cache=cache,
            catalog=catalog,
            records=PoolRecords(keeper, catalog),
            jobs=Jobs(
                settings.jobs,
                queue_limit=settings.quota.queued_jobs,
                unlimited=unlimited,
            ),
            streams=streams,
            domain_names=DomainNames(),
        )


def _connect(arguments: Arguments) -> Connect:
    """Return how the keeper is reached: the system's keeper, or one that this process starts."""
    if arguments.uri is None:
        return system_keeper()
    return own_keeper(arguments.uri, arguments.config)


if __name__ == "__main__":
    main()
