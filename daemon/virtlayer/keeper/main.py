# SPDX-License-Identifier: LGPL-2.1-or-later
"""``virtlayer-keeper``: answers the service about pools, and starts programs for it.

In the system, systemd passes the socket that listens. In a session, the service starts this process
and passes one end of a socket pair as standard input; then this process ends with the service.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import socket
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

from virtlayer import journal
from virtlayer.errors import VirtlayerError
from virtlayer.keeper.answers.connection import ServiceConnection
from virtlayer.keeper.connection import Hypervisor
from virtlayer.keeper.domains.domains import Domains
from virtlayer.keeper.domains.kvm import runtime_directory
from virtlayer.keeper.kinds.known import Kinds
from virtlayer.keeper.kinds.rbd.process import own_process, system_process
from virtlayer.keeper.listening import Listener, inherited_socket
from virtlayer.keeper.pools import Pools
from virtlayer.settings import Settings, configuration_directory, load_settings
from virtlayer.version import VERSION

_log = logging.getLogger(__name__)

_SWITCH_SECONDS = 0.0005
"""How long a thread runs Python while another one waits, for instance after an answer of libvirt.
The usual 5 ms are a sixth of a pull that finds nothing new."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """The command line."""

    uri: str
    config: Path | None
    """The settings to read; None for the usual ones, which need not exist."""


def main() -> None:
    """Answer the service until it, or the service manager, ends this process."""
    arguments = _parse_arguments()
    sys.setswitchinterval(_SWITCH_SECONDS)
    os.umask(0o077)
    journal.configure_logging("virtlayer-keeper")
    try:
        asyncio.run(_serve(arguments))
        code = 0
    except (VirtlayerError, OSError) as error:
        _log.critical("%s", error)
        code = 1
    logging.shutdown()
    # Not sys.exit(), which joins threads: one may be waiting for a libvirtd that hangs.
    os._exit(code)


def _parse_arguments() -> Arguments:
    parser = argparse.ArgumentParser(
        prog="virtlayer-keeper",
        description="Accesses libvirt's storage pools for virtlayerd, which has no access to them.",
    )
    parser.add_argument(
        "--connect", metavar="URI", default="qemu:///system", help="the libvirt URI"
    )
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        help="settings file, see virtlayerd.toml(5)",
    )
    parser.add_argument("--version", action="version", version=f"virtlayer-keeper {VERSION}")
    given = parser.parse_args()
    return Arguments(given.connect, given.config)


async def _serve(arguments: Arguments) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    # The first request about a pool opens it.
    hypervisor = Hypervisor(arguments.uri)
    pools = Pools(hypervisor)
    is_child = _is_socket(sys.stdin.fileno())
    kinds = Kinds(hypervisor, pools, own_process if is_child else system_process)
    domains = Domains(hypervisor, runtime_directory())
    try:
        if is_child:
            await _serve_one(
                socket.socket(fileno=os.dup(0)), hypervisor, pools, kinds, domains, stop
            )
        else:
            settings = _settings(arguments.config)
            idle_timeout = settings.service.idle_seconds(on_demand=True)
            with inherited_socket() as listening:
                await Listener(listening, hypervisor, pools, kinds, domains, idle_timeout).serve(
                    stop
                )
    finally:
        await domains.relays.close()
        await kinds.close()
        await hypervisor.close()


def _settings(config: Path | None) -> Settings:
    usual = configuration_directory(session=False) / "virtlayerd.toml"
    return load_settings(config or usual, required=config is not None)


async def _serve_one(
    connection: socket.socket,
    hypervisor: Hypervisor,
    pools: Pools,
    kinds: Kinds,
    domains: Domains,
    stop: asyncio.Event,
) -> None:
    """Answer one connection until it ends."""
    service = ServiceConnection(connection, hypervisor, pools, kinds, domains)
    ends = [asyncio.create_task(event.wait()) for event in (service.ended, stop)]
    try:
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in ends:
            task.cancel()
        await service.close()


def _is_socket(descriptor: int) -> bool:
    with contextlib.suppress(OSError):
        return stat.S_ISSOCK(os.fstat(descriptor).st_mode)
    return False
