# SPDX-License-Identifier: LGPL-2.1-or-later
"""Machines of container images are reached from their host, and reach each other.

`make soak` runs this, because each machine takes some seconds.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from dbus_next.signature import Variant

from tests.support.booted_machines import (
    PATIENCE,
    MachineUser,
    host_kernel,
    machine_user,
)
from tests.support.free_ports import free_port
from tests.support.images import Entry, directory, file, image, layer, symlink
from tests.support.libvirt_host import LibvirtHost, session_host
from tests.support.machine_host import machine_host
from virtlayer.sizes import MIB

_PROGRAMS = ("sh", "httpd", "wget", "cat", "hostname", "sleep")
_PAGE = "it answers\n"
_SERVER = ["httpd", "-f", "-p", "80", "-h", "/www"]
_NETWORK = """\
<network>
  <name>machines</name>
  <bridge name='virbr-soak'/>
  <domain name='soak.test' localOnly='yes'/>
  <ip address='192.0.2.1' netmask='255.255.255.0'>
    <dhcp><range start='192.0.2.10' end='192.0.2.99'/></dhcp>
  </ip>
</network>
"""


def _busybox() -> list[Entry]:
    return [
        *map(directory, ("bin", "etc", "www")),
        file("bin/busybox", Path("/bin/busybox").read_bytes(), mode=0o755),
        *(symlink(f"bin/{name}", "busybox") for name in _PROGRAMS),
        file("www/index.html", _PAGE.encode()),
    ]


def _small(**more: Variant) -> dict[str, Variant]:
    return {"kernel": host_kernel(), "memory": Variant("t", 256 * MIB), **more}


async def _answer(port: int) -> str:
    """What the machine behind a port of the host answers, when it does."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"GET / HTTP/1.0\r\n\r\n")
                received = await reader.read()
                writer.close()
                await writer.wait_closed()
            except OSError:
                received = b""
            if received:
                return received.decode()
            await asyncio.sleep(0.1)


async def _is_reached(user: MachineUser) -> None:
    port = free_port()
    await user.pull(image([layer(*_busybox())], config={"config": {"Cmd": _SERVER}}), "box")
    publish = Variant("a(sqqs)", [["127.0.0.1", port, 80, "tcp"]])
    await user.create("box", "web", _small(publish=publish))
    assert (await _answer(port)).endswith(_PAGE)
    assert (await user.machine("web"))["ports"] == [f"127.0.0.1:{port}->80/tcp"]
    await user.tell("stop", "web")
    assert await user.tell("wait", "web") == "143\n"
    # The port is free again.
    await user.tell("start", "web")
    assert (await _answer(port)).endswith(_PAGE)
    await user.tell("rm", "--force", "web")
    assert user.files == set()


async def test_published_port_is_reached_from_the_host(host: LibvirtHost, tmp_path: Path) -> None:
    async with machine_user(host, tmp_path) as user:
        await _is_reached(user)


async def test_published_port_of_a_user_is_reached_from_the_host() -> None:
    with session_host() as host:
        async with machine_user(host, host.directory / "service") as user:
            await _is_reached(user)


async def test_image_with_one_program_is_a_machine(host: LibvirtHost, tmp_path: Path) -> None:
    program = file("busybox", Path("/bin/busybox").read_bytes(), mode=0o755)
    content = image([layer(program)], config={"config": {"Entrypoint": ["/busybox"]}})
    async with machine_user(host, tmp_path) as user:
        await user.pull(content, "scratch")
        command = Variant("as", ["sh", "-c", "/busybox ls /; exit 9"])
        await user.create("scratch", "one", _small(command=command))
        await user.has_state("one", "stopped")
        assert await user.tell("wait", "one") == "9\n"
        assert "busybox" in (await user.tell("logs", "one")).split()


@pytest.fixture
def host_with_network() -> Iterator[LibvirtHost]:
    """A libvirtd with network devices of its own, and a network."""
    with machine_host(network=True) as host:
        description = host.directory / "network.xml"
        description.write_text(_NETWORK)
        host.virsh("net-define", str(description))
        host.virsh("net-start", "machines")
        yield host
        host.virsh("net-destroy", "machines")


async def test_machines_in_a_network_reach_each_other_by_name(
    host_with_network: LibvirtHost, tmp_path: Path
) -> None:
    async with machine_user(host_with_network, tmp_path) as user:
        await user.pull(image([layer(*_busybox())], config={"config": {"Cmd": _SERVER}}), "box")
        network = Variant("s", "network:machines")
        await user.create("box", "web", _small(network=network))
        [address] = (await user.machine("web"))["addresses"]
        assert address.startswith("192.0.2."), address
        ask = f"wget -qO- http://web.soak.test/ && wget -qO- http://web/ && wget -qO- http://{address}/"
        command = Variant("as", ["sh", "-c", ask])
        await user.create("box", "client", _small(network=network, command=command))
        await user.has_state("client", "stopped")
        assert await user.tell("wait", "client") == "0\n", await user.tell("logs", "client")
        assert await user.tell("logs", "client") == 3 * _PAGE
