# SPDX-License-Identifier: LGPL-2.1-or-later
"""``virtlayer logs`` and ``virtlayer console``, with libvirt, virtlogd and QEMU."""

import asyncio
from pathlib import Path

import pytest

from tests.support.boot_sector import boot_sector_machine, expected_lines
from tests.support.bus_daemon import session_bus
from tests.support.command import started, virtlayer, virtlayer_on_terminal
from tests.support.machine_host import MachineHost, machine_host
from tests.support.sshd import sshd
from tests.support.virtlayerd import Daemon, virtlayerd
from tests.support.waiting import PATIENCE, until

LINES = 20_000
"""240 KB: four rotations."""


@pytest.mark.root
async def test_rotated_output_of_a_machine_is_followed_and_read_later(tmp_path: Path) -> None:
    bus_directory = tmp_path / "bus"
    bus_directory.mkdir()
    with machine_host(virtlogd=True) as host, session_bus(bus_directory) as bus:
        assert isinstance(host, MachineHost)
        host.logs.mkdir(parents=True, exist_ok=True)
        limits = host.directory / "config" / "libvirt" / "virtlogd.conf"
        limits.write_text("max_size = 65536\nmax_backups = 3\n", encoding="ascii")
        host.restart()
        with (
            virtlayerd(host, bus, tmp_path) as daemon,
            boot_sector_machine(host, "web", tmp_path, lines=LINES),
        ):
            env = daemon.environment
            assert (await virtlayer("--user", "logs", "web", env=env)).stdout == ""
            before = descriptors_of(daemon)
            async with started("--user", "logs", "--follow", "web", env=env) as following:
                host.virsh("start", "web")
                async with asyncio.timeout(PATIENCE):
                    printed, errors = await following.communicate()
            lines = printed.decode().splitlines()
            # The firmware writes there before.
            assert [line for line in lines if line.startswith("line ")] == expected_lines(LINES)
            assert (following.returncode, errors.decode()) == (0, "")
            assert len(list(host.logs.glob("virtlayer-*.console*"))) == 4

            last = await virtlayer("--user", "logs", "--tail=3", "web", env=env)
            assert last.stdout.splitlines() == expected_lines(LINES)[-3:]
            everything = await virtlayer("--user", "logs", "--all", "web", env=env)
            assert everything.stdout == printed.decode()[-len(everything.stdout) :]
            assert len(everything.stdout) > 3 * 60_000

            # Nobody takes the descriptors that these calls return.
            call = ("call", "org.virtlayer1", "/org/virtlayer1", "org.virtlayer1.Manager")
            for more in (["OpenStreams", "sa{sv}", "web", "0"], ["OpenConsole", "s", "web"]):
                bus.busctl("--expect-reply=no", *call, *more)

            found = await virtlayer("--user", "logs", "other", env=env)
            assert (found.status, found.stdout) == (3, "")
            piped = await virtlayer("--user", "console", "web", env=env)
            assert (piped.status, piped.stdout) == (2, "")
            assert "not a terminal" in piped.stderr
            # The machine has stopped, so the console ends at once.
            shown = await virtlayer_on_terminal("--user", "console", "web", env=env)
            assert "Press Ctrl-] to leave" in shown.stdout
            assert shown.status == 0
            (tmp_path / "sshd").mkdir()
            with sshd(tmp_path / "sshd", {"DBUS_SESSION_BUS_ADDRESS": bus.address}) as there:
                far = ("--user", "--host=there")
                same = await virtlayer(*far, "logs", "--all", "web", env=there.environment)
                assert same == everything
                shown = await virtlayer_on_terminal(*far, "console", "web", env=there.environment)
                assert (shown.status, "The machine has stopped." in shown.stdout) == (0, True)
            # Fewer, if those of the first command were not closed yet.
            await until(lambda: descriptors_of(daemon) <= before)


def descriptors_of(daemon: Daemon) -> int:
    return len(list(Path(f"/proc/{daemon.process.pid}/fd").iterdir()))
