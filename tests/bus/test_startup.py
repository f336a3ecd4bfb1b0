# SPDX-License-Identifier: LGPL-2.1-or-later
"""Messages of virtlayerd if it cannot start, and daemons that exit when they are idle."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bus.daemon import PROGRAM, ROOT, SERVICE, environment, libvirt_with_pools, until_owned
from tests.bus.polkit import open_directory
from tests.support.bus_daemon import Bus, session_bus, system_bus
from tests.support.ordinary_user import CHECKOUT, as_user
from tests.support.privileges import as_root
from tests.support.waiting import PATIENCE
from virtlayer.dbus.connection import Connection
from virtlayer.settings import ServiceSettings

NOBODY = 65534
_NOT_INSTALLED = """
for place in /usr/share /usr/local/share /etc; do
  for directory in dbus-1/system.d polkit-1/actions; do
    if [ -d "$place/$directory" ]; then mount -t tmpfs tmpfs "$place/$directory"; fi
  done
done
exec "$@"
"""
"""Simulate a host without the packages."""


def ended(*command: str | Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


@pytest.fixture
def empty_bus() -> Iterator[Bus]:
    """A system bus that every user can reach."""
    with open_directory() as directory, system_bus(directory) as running:
        yield running


@pytest.mark.parametrize("uid", [0, NOBODY])
def test_clone_reports_missing_parts_of_system_service(
    empty_bus: Bus, tmp_path: Path, uid: int
) -> None:
    env = environment(empty_bus, tmp_path / "home")
    daemon = as_user(uid, PROGRAM) if uid else [PROGRAM]
    settings = [f"{name}={value}" for name, value in env.items()]
    hidden = ("unshare", "--mount", "--", "sh", "-euc", _NOT_INSTALLED, "sh")

    run = ended(*as_root(*hidden, "env", *settings, *daemon), env=env)

    assert run.returncode == 1
    missing, remedy = run.stderr.splitlines()
    assert missing.startswith("CRITICAL: The system service is not installed. Missing: ")
    assert "bus policy (/usr/share/dbus-1/system.d/org.virtlayer1.conf)" in missing
    assert "polkit actions (/usr/share/polkit-1/actions/org.virtlayer1.policy)" in missing
    assert "make deb" in remedy
    assert "virtlayerd --session" in remedy
    assert not (tmp_path / "home").exists()


@pytest.mark.root
def test_a_name_that_the_bus_refuses_is_reported(empty_bus: Bus) -> None:
    """The policy of the bus allows the name to root and to user virtlayer."""
    with open_directory() as home:
        libvirt = libvirt_with_pools(home)
        for path in (home, home / "pool"):
            os.chown(path, NOBODY, -1)
        command = as_user(NOBODY, PROGRAM, "--connect", libvirt)
        run = ended(*command, env=environment(empty_bus, home))

    assert (run.returncode, len(run.stderr.splitlines())) == (1, 1)
    assert "not allowed to own the service" in run.stderr


def test_only_a_daemon_on_demand_is_idle_by_default() -> None:
    default, given = ServiceSettings(), ServiceSettings(idle_timeout=7)
    assert default.idle_seconds(on_demand=True) == 60
    assert default.idle_seconds(on_demand=False) == 0
    assert {given.idle_seconds(on_demand=demand) for demand in (False, True)} == {7}


@pytest.mark.parametrize(
    "name",
    [
        "dbus/services/org.virtlayer1.service",
        "systemd/virtlayerd.service",
        "systemd/user/virtlayerd.service",
    ],
)
def test_activated_service_exits_when_idle(name: str) -> None:
    [command] = [
        line
        for line in (CHECKOUT / name).read_text().splitlines()
        if line.startswith(("Exec=", "ExecStart="))
    ]
    assert "--exit-when-idle" in command.split()


async def test_a_session_bus_starts_the_daemon_of_a_clone(tmp_path: Path) -> None:
    """By the activation file that ``make dev`` writes, in a user's own directory of services."""
    name = f"{SERVICE}.service"
    services = tmp_path / "share" / "dbus-1" / "services"
    services.mkdir(parents=True)
    (tmp_path / "bus").mkdir()
    (tmp_path / "config" / "virtlayer").mkdir(parents=True)
    settings = tmp_path / "config" / "virtlayer" / "virtlayerd.toml"
    settings.write_text("[service]\nidle-timeout = 1\n")
    env = environment(Bus("", 0, session=True), tmp_path, XDG_DATA_HOME=str(tmp_path / "share"))
    del env["DBUS_SESSION_BUS_ADDRESS"]
    with session_bus(tmp_path / "bus", environment=env) as bus:
        async with await Connection.opened(session=True, address=bus.address) as client:
            # The bus runs already, as a user's does.
            made = CHECKOUT / ".venv" / "share" / "dbus-1" / "services" / name
            await asyncio.to_thread((services / name).write_bytes, made.read_bytes())
            manager = (SERVICE, ROOT, f"{SERVICE}.Manager")
            assert await client.ask(*manager, "ListJobs") == [[]]
            await until_owned(client, owned=False)
