# SPDX-License-Identifier: LGPL-2.1-or-later
"""The real virtlayerd on a bus and a libvirtd of the test's own.

::

    with virtlayerd(host, bus, directory) as daemon:
        ... run clients with env=daemon.environment ...
"""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support import logs
from tests.support.bus_daemon import Bus
from tests.support.leftovers import programs_of
from tests.support.libvirt_host import LibvirtHost
from tests.support.waiting import PATIENCE

PROGRAM = Path(sys.executable).parent / "virtlayerd"


@dataclass(frozen=True, slots=True)
class Daemon:
    """A running virtlayerd.

    Attributes:
        process: The process.
        bus: Its bus.
        environment: Of the daemon, and for its clients.
        directory: Its state, cache, settings and log.
    """

    process: subprocess.Popen[bytes]
    bus: Bus
    environment: dict[str, str]
    directory: Path

    @property
    def programs(self) -> set[int]:
        """Unreaped children of the daemon and its keeper."""
        return programs_of(self.process.pid)

    @property
    def log(self) -> str:
        """Its log."""
        return (self.directory / "log").read_text(errors="replace")


@contextlib.contextmanager
def virtlayerd(
    host: LibvirtHost, bus: Bus, directory: Path, *, settings: str = ""
) -> Iterator[Daemon]:
    """Run ``virtlayerd --session`` as the user of its libvirtd; it has ended afterwards.

    Args:
        host: The libvirtd that it uses.
        bus: The bus that it serves.
        directory: One of its own: empty, or with what another one has left.
        settings: What its virtlayerd.toml says.
    """
    daemon = start_virtlayerd(host, bus, directory, settings=settings)
    with daemon.process:
        try:
            yield daemon
        finally:
            daemon.process.terminate()


def start_virtlayerd(host: LibvirtHost, bus: Bus, directory: Path, *, settings: str = "") -> Daemon:
    """Start ``virtlayerd --session``, and wait until it is on the bus; see ``virtlayerd``."""
    for name in ("run", "state", "data", "cache", "config"):
        (directory / name).mkdir(mode=0o700, exist_ok=True)
        os.chown(directory / name, host.owner, -1)
    environment = {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "HOME": str(directory),
        "XDG_RUNTIME_DIR": str(directory / "run"),
        "XDG_STATE_HOME": str(directory / "state"),
        "XDG_DATA_HOME": str(directory / "data"),
        "XDG_CACHE_HOME": str(directory / "cache"),
        "XDG_CONFIG_HOME": str(directory / "config"),
        "DBUS_SESSION_BUS_ADDRESS": bus.address,
    }
    config = directory / "virtlayerd.toml"
    config.write_text(settings)
    arguments = ("--session", "--connect", host.uri, "--config", str(config))
    command = host.as_owner(str(PROGRAM), *arguments)
    logs.follow("virtlayerd", directory)
    with (directory / "log").open("ab") as log:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    daemon = Daemon(process, bus, environment, directory)
    try:
        _wait_until_on_the_bus(daemon)
    except BaseException:
        process.terminate()
        process.wait()
        raise
    return daemon


def _wait_until_on_the_bus(daemon: Daemon) -> None:
    deadline = time.monotonic() + PATIENCE
    while "org.virtlayer1" not in daemon.bus.busctl("list", "--acquired", "--no-legend"):
        if daemon.process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"virtlayerd does not start:\n{daemon.log}")
        time.sleep(0.02)
