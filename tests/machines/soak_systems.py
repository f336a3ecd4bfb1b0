# SPDX-License-Identifier: LGPL-2.1-or-later
"""The system of docs/machines.md boots as a machine. `make soak` runs this: it takes minutes."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.booted_machines import SshKey, machine_user, ssh_key
from tests.support.free_ports import free_port
from tests.support.images import Content, image, layer
from tests.support.kernel import debian_kernel
from tests.support.libvirt_host import LibvirtHost
from tests.support.machine_host import machine_host
from tests.support.mmdebstrap import debian_archive, documented
from virtlayer.sizes import GIB

_FACTS = "hostname; systemctl is-system-running --wait; ls /etc/ssh"
_CRASH = "echo c >/proc/sysrq-trigger"


@pytest.fixture
def own_host() -> Iterator[LibvirtHost]:
    """A libvirtd that the test can restart."""
    with machine_host() as host:
        yield host


@pytest.fixture
def key(tmp_path: Path) -> SshKey:
    return ssh_key(tmp_path)


def documented_system() -> Content:
    """An image by the Containerfile in docs/machines.md."""
    told = documented("openssh-server")
    archive = debian_archive(told.suite, told.command)
    command = json.loads(told.last.removeprefix("CMD "))
    return image([layer(raw=archive, compression="none")], config={"config": {"Cmd": command}})


async def test_documented_system_is_reached_by_ssh_stops_in_order_and_crashes(
    own_host: LibvirtHost, key: SshKey, tmp_path: Path
) -> None:
    port = free_port()
    async with machine_user(own_host, tmp_path, size=2 * GIB) as user:
        await user.pull(documented_system(), "system")
        await user.tell(
            *("run", "--detach", "--name=web", "--hostname=web-1", "--memory=512M"),
            *(f"--pool={user.pool}", f"--kernel={debian_kernel().image}"),
            *(f"--ssh-key={key.private}.pub", f"--publish=127.0.0.1:{port}:22", "system"),
        )
        facts = (await key.run(port, _FACTS)).split()
        assert facts[:2] == ["web-1", "running"], facts
        assert ("ssh_host_ed25519_key" in facts, "ssh_host_rsa_key" in facts) == (True, False)

        own_host.restart()
        assert await user.state("web") == "running"
        assert await key.run(port, "hostname") == "web-1\n"
        [stopped] = json.loads(await user.tell("--json", "stop", "--time", "240", "web"))
        assert not stopped["forced"]
        assert await user.tell("wait", "web") == "0\n"

        await user.tell("start", "web")
        await key.run(port, "systemd-run --no-block systemctl poweroff")
        await user.has_state("web", "stopped")
        assert await user.tell("wait", "web") == "0\n"

        await user.tell("start", "web")
        await key.run(port, f"systemd-run --no-block sh -c '{_CRASH}'")
        await user.has_state("web", "crashed")
        assert await user.tell("wait", "web") == "125\n"
        await user.tell("rm", "web")
        assert user.files == set()
