# SPDX-License-Identifier: LGPL-2.1-or-later
"""Lets a private bus start virtlayerd, as the bus of a host does."""

import contextlib
import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.bus.daemon import PROGRAM, environment
from tests.support.bus_daemon import Bus, session_bus, system_bus
from tests.support.waiting import PATIENCE

SERVICE = "org.virtlayer1"


def write_activation(services: Path, command: Sequence[str | Path]) -> None:
    """Write the file by which a bus starts a command as virtlayerd."""
    services.mkdir(exist_ok=True)
    (services / f"{SERVICE}.service").write_text(
        f"[D-BUS Service]\nName={SERVICE}\nExec={shlex.join(map(str, command))}\n"
    )


def service_command(bus: Bus, directory: Path, uri: str, *, settings: str = "") -> list[str | Path]:
    """The command line that runs virtlayerd on a bus, whatever the environment is.

    Args:
        bus: The bus.
        directory: For everything that it writes.
        uri: Of libvirt.
        settings: What virtlayerd.toml says.
    """
    config = directory / "virtlayerd.toml"
    config.write_text(settings)
    variables = environment(bus, directory, PYTHONDONTWRITEBYTECODE="1")
    settings_of_env = [f"{name}={value}" for name, value in variables.items()]
    kind = ["--session"] if bus.session else []
    options = ("--exit-when-idle", "--connect", uri, "--config", config)
    return ["/usr/bin/env", *settings_of_env, sys.executable, PROGRAM, *kind, *options]


@contextlib.contextmanager
def activating_bus(
    directory: Path, uri: str, *, session: bool, settings: str = ""
) -> Iterator[Bus]:
    """Run a bus that starts virtlayerd on demand; both have ended afterwards.

    Args:
        directory: An empty one that every user may enter.
        uri: Of libvirt.
        session: Whether it is the bus of a session, or of the system.
        settings: What virtlayerd.toml says.
    """
    (directory / "bus").mkdir()
    address = f"unix:path={directory}/bus/bus"
    command = service_command(Bus(address, 0, session), directory, uri, settings=settings)
    write_activation(directory / "services", command)
    start = session_bus if session else system_bus
    with start(directory / "bus", services=directory / "services") as bus:
        try:
            yield bus
        finally:
            end_service(bus, signal.SIGTERM)


def end_service(bus: Bus, number: signal.Signals) -> None:
    """Send a signal to the virtlayerd of a bus, if there is one, and wait until it has ended."""
    if SERVICE not in bus.busctl("list", "--acquired", "--no-legend"):
        return
    ask = ("call", "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
    said = bus.busctl(*ask, "GetConnectionUnixProcessID", "s", SERVICE)
    descriptor = os.pidfd_open(int(said.split()[1]))
    try:
        signal.pidfd_send_signal(descriptor, number)
    finally:
        os.close(descriptor)
    wait_for_exit(bus)


def wait_for_exit(bus: Bus) -> None:
    """Wait until the virtlayerd of a bus has exited, as it does when it is idle."""
    deadline = time.monotonic() + PATIENCE
    while SERVICE in bus.busctl("list", "--acquired", "--no-legend"):
        assert time.monotonic() < deadline, "virtlayerd does not exit"
        time.sleep(0.05)
