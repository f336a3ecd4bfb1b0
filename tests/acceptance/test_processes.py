# SPDX-License-Identifier: LGPL-2.1-or-later
"""The service and the keeper, as their units run them: rights, users, and what ends with what."""

import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.conftest import PASSWORD, USER
from tests.acceptance.pools import left_by_jobs
from tests.acceptance.system import System, wait_until
from tests.support.images import directory, file, image, layer
from tests.support.registry import Registry

_ACCESS = ("--username", USER, "--password-stdin", "--json")
_POOL = Path("/var/lib/libvirt/images")
_SERVICE, _KEEPER = "virtlayerd.service", "virtlayer-keeper.service"
_SOCKET = "/run/virtlayer-keeper/socket"
_MIB = 1024 * 1024
_LAYERS = [layer(directory("etc"), file("etc/processes", b"1")), layer(file("b", b"b"))]

# Prints what the keeper answers to a connection: nothing, if it closes it.
_CONNECT = f"""\
import socket
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
    connection.connect("{_SOCKET}")
    try:
        connection.send(b'{{"id":1,"ask":"hello","with":{{}}}}')
        print(connection.recv(4096))
    except (BrokenPipeError, ConnectionResetError):
        print(b"")
"""

# QEMU opens the whole chain of its disk, as the user that libvirt gives it. There is no need to
# wait for what the guest does: the disk has no boot loader.
_DOMAIN = """\
<domain type='qemu'>
  <name>acceptance</name>
  <memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='{path}'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
  </devices>
</domain>
"""


@pytest.fixture(scope="module")
def source(registry: Registry) -> str:
    return registry.store(image(_LAYERS), "processes:1")


@pytest.fixture
def pids(system: System, source: str) -> dict[str, str]:
    """The main processes of both units."""
    pull(system, source)
    return {unit: system.unit(unit, "MainPID") for unit in (_SERVICE, _KEEPER)}


def pull(system: System, source: str) -> dict[str, object]:
    result = json.loads(system.run("virtlayer", "pull", source, *_ACCESS, stdin=PASSWORD))
    assert isinstance(result, dict)
    return result


def volumes_of(result: dict[str, object]) -> list[str]:
    volumes = result["volumes"]
    assert isinstance(volumes, list)
    return volumes


def status(system: System, pid: str) -> dict[str, str]:
    """The fields of proc_pid_status(5)."""
    lines = system.run("cat", f"/proc/{pid}/status").splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def test_the_service_has_no_rights(system: System, pids: dict[str, str]) -> None:
    of_service = status(system, pids[_SERVICE])
    uid = str(system.uid("virtlayer"))
    assert of_service["Uid"].split() == [uid] * 4
    assert of_service["Gid"].split() == [system.run("id", "--group", "virtlayer").strip()] * 4
    assert of_service["Groups"].split() in ([], of_service["Gid"].split()[:1])
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(of_service[name], 16) == 0, name
    assert (of_service["NoNewPrivs"], of_service["Seccomp"]) == ("1", "2")


def test_the_keeper_has_the_capabilities_of_its_unit(system: System, pids: dict[str, str]) -> None:
    of_keeper = status(system, pids[_KEEPER])
    assert of_keeper["Uid"].split() == ["0"] * 4
    # The numbers of linux/capability.h: CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID, KILL,
    # SETGID, SETUID, SYS_CHROOT, SETFCAP.
    expected = sum(1 << number for number in (0, 1, 2, 3, 4, 5, 6, 7, 18, 31))
    assert int(of_keeper["CapBnd"], 16) == int(of_keeper["CapEff"], 16) == expected
    assert (of_keeper["NoNewPrivs"], of_keeper["Seccomp"]) == ("1", "2")


def test_the_keeper_has_no_network(system: System, pids: dict[str, str]) -> None:
    def network(pid: str) -> str:
        return system.run("readlink", f"/proc/{pid}/ns/net")

    assert network(pids[_KEEPER]) != network("1") == network(pids[_SERVICE])
    lines = system.run("cat", f"/proc/{pids[_KEEPER]}/net/dev").splitlines()[2:]
    assert [line.split(":")[0].strip() for line in lines] == ["lo"]


@pytest.mark.parametrize(
    "place",
    ["/var/lib/libvirt", "/run/libvirt", "/srv", "/mnt", "/media", "/home", "/root"],
)
def test_the_service_sees_no_pools_and_no_homes(
    system: System, pids: dict[str, str], place: str
) -> None:
    system.run("touch", f"{place}/seen")
    enter = ("nsenter", f"--target={pids[_SERVICE]}", "--mount")
    try:
        # Root's rights are more than the service has.
        assert system.attempt(*enter, "ls", "--almost-all", place).stdout == ""
    finally:
        system.run("rm", f"{place}/seen")


def test_the_service_sees_no_devices(system: System, pids: dict[str, str]) -> None:
    enter = ("nsenter", f"--target={pids[_SERVICE]}", "--mount")
    found = system.run(*enter, "find", "/dev", "-type", "b", "-o", "-name", "kvm")
    assert found == ""


def test_the_directories_belong_to_the_service(system: System, pids: dict[str, str]) -> None:
    del pids
    places = ("/run/virtlayer", "/var/lib/virtlayer/service", "/var/cache/virtlayer")
    found = system.run("stat", "--format=%a %U %G", *places)
    assert found.splitlines() == ["700 virtlayer virtlayer"] * 3


def test_directories_of_a_root_daemon_are_taken_over(system: System, source: str) -> None:
    pull(system, source)
    before = system.run("virtlayer", "images", "--json")
    places = ("/var/lib/virtlayer/service", "/var/cache/virtlayer")
    system.run("systemctl", "stop", _SERVICE)
    system.run("chown", "--recursive", "root:root", *places)
    system.run("chmod", "0711", "/var/cache/virtlayer")
    assert system.run("virtlayer", "images", "--json") == before
    assert pull(system, source)["bytes_downloaded"] == 0
    found = system.run("find", *places, "-not", "-user", "virtlayer")
    assert found == ""
    assert system.run("stat", "--format=%a", "/var/cache/virtlayer").strip() == "700"


def test_only_the_service_and_root_are_answered(system: System, pids: dict[str, str]) -> None:
    del pids
    found = system.run("stat", "--format=%a %U %G", _SOCKET).split()
    assert found == ["660", "root", "virtlayer"]
    command = ("/usr/bin/python3", "-c", _CONNECT)
    denied = system.attempt_as("alice", *command)
    assert denied.status != 0
    assert "PermissionError" in denied.stderr
    # Membership in the group is not sufficient either.
    in_group = ("setpriv", f"--reuid={system.uid('alice')}", "--regid=virtlayer", "--clear-groups")
    assert system.run(*in_group, *command).strip() == "b''"
    refusal = f"Refused a connection of UID {system.uid('alice')}"
    assert refusal in system.journal(f"--unit={_KEEPER}")
    as_service = ("setpriv", "--reuid=virtlayer", "--regid=virtlayer", "--clear-groups")
    for prefix in ((), as_service):
        assert '"root":true' in system.run(*prefix, *command).replace(" ", "")


def test_a_machine_starts_on_a_volume(system: System, source: str) -> None:
    volumes = volumes_of(pull(system, source))
    name = "machine.qcow2"
    system.run("virtlayer", "create-volume", "processes:1", name)
    path = _POOL / name
    try:
        system.run("virsh", "create", "/dev/stdin", stdin=_DOMAIN.format(path=path))
        [qemu] = system.run("pgrep", "--full", "guest=acceptance").split()
        assert status(system, qemu)["Uid"].split() == [str(system.uid("libvirt-qemu"))] * 4
        opened = system.run("sh", "-c", f"readlink /proc/{qemu}/fd/*").splitlines()
        assert {str(path), *(str(_POOL / volume) for volume in volumes)} <= set(opened)
        assert system.run("virsh", "domstate", "acceptance").strip() == "running"
    finally:
        system.attempt("virsh", "destroy", "acceptance")


def test_layers_that_a_machine_used_are_built_on(
    system: System, registry: Registry, source: str
) -> None:
    # libvirt changes owners of a chain for a machine, and does not know those from before.
    volumes = [str(_POOL / name) for name in volumes_of(pull(system, source))]
    system.run("chown", "root:root", *volumes)
    more = registry.store(image([*_LAYERS, layer(file("c", b"c"))]), "processes:2")
    result = pull(system, more)
    assert (result["layers_built"], result["layers_reused"]) == (1, 2)
    assert system.run("stat", "--format=%a %U", *volumes).splitlines() == ["440 root"] * 2


@pytest.mark.parametrize("place", ["/tmp", "/home/alice"])  # noqa: S108 -- machines' disks can be there
def test_a_layer_below_a_disk_elsewhere_is_not_deleted(
    system: System, registry: Registry, place: str
) -> None:
    content = image([layer(file("elsewhere", place.encode()))])
    result = pull(system, registry.store(content, "elsewhere:1"))
    name = str(result["name"])
    [volume] = volumes_of(result)
    disk = f"{place}/disk.qcow2"
    backing = ("-b", str(_POOL / volume), "-F", "qcow2")
    system.run("qemu-img", "create", "-q", "-f", "qcow2", *backing, disk)
    system.run("virsh", "define", "/dev/stdin", stdin=_DOMAIN.format(path=disk))
    try:
        ended = system.attempt("virtlayer", "remove", name, "--json")
        assert '"error": "InUse"' in ended.stderr
        assert "acceptance" in ended.stderr
        assert volume in system.run("ls", str(_POOL))
    finally:
        system.run("virsh", "undefine", "acceptance")
        system.run("rm", disk)
    system.run("virtlayer", "remove", name)
    assert volume not in system.run("ls", str(_POOL))


@pytest.fixture
def large(registry: Registry) -> Iterator[str]:
    """An image with a layer that takes seconds."""
    small = layer(file("small", b"small"))
    content = secrets.token_bytes(96 * _MIB)
    slow = layer(file("large", content), compression="none")
    yield registry.store(image([small, slow]), "large:1")
    registry.lose(slow.digest)


def test_a_keeper_killed_during_a_pull_loses_nothing(
    system: System, pids: dict[str, str], large: str
) -> None:
    with system.started("virtlayer", "pull", large, *_ACCESS, stdin=PASSWORD) as pulling:
        wait_until("a worker runs", lambda: "worker" in programs(system))
        system.run("systemctl", "kill", "--signal=KILL", "--kill-whom=main", _KEEPER)
        ended = pulling.ended()
    assert ended.status != 0
    assert '"error": "PoolUnavailable"' in ended.stderr
    wait_until("its programs end", lambda: programs(system) == "")
    # The service continues, and the next job gets another keeper.
    assert system.unit(_SERVICE, "MainPID") == pids[_SERVICE]
    result = pull(system, large)
    assert system.unit(_KEEPER, "MainPID") not in {"0", pids[_KEEPER]}
    assert len(volumes_of(result)) == 2
    assert left_by_jobs(system, str(_POOL)) == []
    system.run("virtlayer", "remove", "large:1")


def programs(system: System) -> str:
    """The programs of workers and of QEMU that the keeper has started."""
    found = system.attempt("pgrep", "--list-full", "--euid", "virtlayer-worker,virtlayer-qemu")
    return found.stdout


def test_the_service_can_end_while_the_keeper_stays(system: System, pids: dict[str, str]) -> None:
    system.run("systemctl", "restart", _SERVICE)
    system.run("virtlayer", "prune", "--dry-run", "default")
    assert system.unit(_KEEPER, "MainPID") == pids[_KEEPER]


def test_registries_are_found_by_name(system: System, registry: Registry, source: str) -> None:
    system.run("sh", "-c", "echo 127.0.0.1 from-hosts.test >>/etc/hosts")
    system.run("tee", "/etc/resolv.conf", stdin="nameserver 127.0.0.1\n")
    for host in ("from-hosts.test", "from-name-server.test"):
        named = source.replace(registry.host, f"{host}:{registry.port}")
        options = ("--tls-verify=false", f"--name={host}")
        with system.name_server():
            output = system.run("virtlayer", "pull", named, *options, *_ACCESS, stdin=PASSWORD)
        assert json.loads(output)["name"] == host
