# SPDX-License-Identifier: LGPL-2.1-or-later
"""``virtlayerd``: puts the parts together, and lives as long as it is needed."""

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
"""Bytes of a block that goes back to the system when it is freed. The buffers of downloads would
otherwise stay for the life of the daemon: 15 MB after a large layer."""
_SWITCH_SECONDS = 0.0005
"""How long a thread runs Python before another may that waits for it: after an answer of libvirt's,
say. The usual 5 ms are a sixth of a pull that finds nothing new."""

_START_PATIENCE = 2.0
"""Seconds that pools may take to say what they hold, before the service is there for callers."""
_SESSION_URI = "qemu:///session"


@dataclass(frozen=True, slots=True)
class Arguments:
    """The command line."""

    session: bool
    uri: str | None
    """Of libvirt, for a keeper that this process starts; None for the keeper of the system."""
    config: Path
    on_demand: bool
    """Whether the next call starts the daemon again, so that it need not stay."""
    config_required: bool
    """Whether the file of settings must exist: it was named on the command line."""


def main() -> None:
    """Run the daemon until it has nothing to do, is told to end, or loses its bus."""
    arguments = _parse_arguments()
    allocation.map_from(_MAPPED_FROM)
    if not arguments.session:
        # From skopeo, which runs as the same user. In a session, everything of the user's does.
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
        life = Life(connection, server, services.jobs, idle_timeout)
        if not await server.start():
            _log.critical("Another virtlayerd already serves org.virtlayer1 on this bus. Exiting.")
            return 1
        if arguments.uri == _SESSION_URI and os.geteuid() == 0:
            _log.info("Root's %s is the libvirtd of the system, with its pools.", _SESSION_URI)
        async with meanwhile(watching.run()):
            return await life.last(stop)


@contextlib.asynccontextmanager
async def _services(arguments: Arguments, settings: Settings) -> AsyncIterator[Services]:
    session = arguments.session
    runtime = runtime_directory(session=session)
    state = state_directory(settings, session=session)
    blobs = blob_directory(settings, session=session)
    for directory in (runtime, state):
        await asyncio.to_thread(directory.mkdir, mode=0o700, parents=True, exist_ok=True)
    # What a killed daemon left: credentials first of all.
    for place in (runtime, blobs / "scratch"):
        await sweep_scratch(place)
    cache = BlobCache(blobs, settings.cache.size_limit)
    await asyncio.to_thread(cache.sweep)
    async with Catalog(state / "catalog.sqlite") as catalog, contextlib.AsyncExitStack() as stack:
        await catalog.owners.keep(await asyncio.to_thread(cache.digests))
        keeper = Keeper(_connect(arguments), runtime)
        stack.push_async_callback(keeper.close)
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
                unlimited=frozenset({trusted_uid(session=session)}),
            ),
        )


def _connect(arguments: Arguments) -> Connect:
    """How the keeper is reached: that of the system, or one of this process's own."""
    if arguments.uri is None:
        return system_keeper()
    return own_keeper(arguments.uri, arguments.config)


if __name__ == "__main__":
    main()
