# SPDX-License-Identifier: LGPL-2.1-or-later
"""Log files are opened safely, also rotated ones; published ports lead to the machine."""

import contextlib
import os
import socket
from pathlib import Path

import pytest

from tests.keeper.domains.requests import Machines, any_uuid
from tests.support.free_ports import free_port
from tests.support.libvirt_host import LibvirtHost
from tests.support.raw_keeper import Reply, raw_keeper
from virtlayer.errors import InUse, InvalidArgument
from virtlayer.file_changes import new_watcher
from virtlayer.protocol.domains import PublishedPort, Transport
from virtlayer.service.keeper.host_network import check_bridge, check_ports
from virtlayer.sizes import MIB


@pytest.fixture
def logs(host: LibvirtHost) -> Path:
    """The directory of the log files."""
    if host.session:
        return Path.home() / ".cache/libvirt/qemu/log"
    return Path(f"/proc/{host.pid}/root/var/log/libvirt/qemu")


def _open(machines: Machines, own: str, port: str = "output", rotated: int = 0) -> Reply:
    watcher = new_watcher()
    try:
        return machines.keeper.ask("open-port", [watcher], uuid=own, port=port, rotated=rotated)
    finally:
        os.close(watcher)


@pytest.mark.root
def test_rotated_logs_are_opened_and_deleted_with_the_machine(
    machines: Machines, logs: Path
) -> None:
    own = machines.made(name="chatty")
    logs.mkdir(parents=True, exist_ok=True)
    names = [f"virtlayer-{own}.output", f"virtlayer-{own}.console", "chatty.log"]
    for name in names:
        for suffix in ("", ".0", ".1", ".2"):
            (logs / f"{name}{suffix}").write_text(f"{name}{suffix}")
    kept = logs / "chatty-too.log"
    kept.write_text("of another domain")
    for rotated, suffix in enumerate(("", ".0", ".1", ".2")):
        for port, name in zip(("output", "kernel-log", "qemu-log"), names, strict=True):
            [file] = _open(machines, own, port, rotated).descriptors
            assert os.read(file, 100).decode() == f"{name}{suffix}"
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.write(file, b"x")
            os.close(file)
    for rotated in (4, 11, 2**40):
        assert _open(machines, own, "output", rotated).done == {"exists": False}
    assert machines.state(own, "remove") is None
    assert [path.name for path in logs.iterdir() if own in path.name] == []
    assert not list(logs.glob("chatty.log*"))
    kept.unlink()


@pytest.mark.root
def test_watcher_reports_growth_and_rotation(machines: Machines, logs: Path) -> None:
    own = machines.made()
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / f"virtlayer-{own}.output"
    log.write_text("a")
    watcher = new_watcher()
    reply = machines.keeper.ask("open-port", [watcher], uuid=own, port="output", rotated=0)
    [file] = reply.descriptors
    with pytest.raises(BlockingIOError):
        os.read(watcher, 4096)
    with log.open("a") as growing:
        growing.write("b")
    assert os.read(watcher, 4096)
    log.rename(f"{log}.0")
    assert os.read(watcher, 4096)
    os.close(file)
    os.close(watcher)
    machines.state(own, "remove")


@pytest.mark.root
@pytest.mark.parametrize("kind", ["link", "hard link", "fifo", "directory"])
def test_only_regular_log_files_are_opened(machines: Machines, logs: Path, kind: str) -> None:
    own, other = any_uuid(), logs / "secret"
    logs.mkdir(parents=True, exist_ok=True)
    other.write_text("a secret")
    log = logs / f"virtlayer-{own}.output"
    match kind:
        case "link":
            log.symlink_to(other)
        case "hard link":
            log.hardlink_to(other)
        case "fifo":
            os.mkfifo(log)
        case "directory":
            log.mkdir()
    reply = _open(machines, own)
    assert (reply.error, reply.descriptors) == ("Internal", ())
    log.rmdir() if kind == "directory" else log.unlink()
    other.unlink()


@pytest.mark.parametrize("port", ["output", "kernel-log", "qemu-log"])
def test_log_of_no_domain_does_not_exist(machines: Machines, port: str) -> None:
    assert _open(machines, any_uuid(), port).done == {"exists": False}


def test_only_an_inotify_descriptor_is_taken(machines: Machines) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        for descriptors in ([], [other.fileno()], [other.fileno()] * 2):
            reply = machines.keeper.ask(
                "open-port", descriptors, uuid=any_uuid(), port="output", rotated=0
            )
            assert (reply.error, "inotify" in reply.text) == ("Internal", True)


def test_lines_of_a_machine_that_does_not_run_are_refused(machines: Machines) -> None:
    own = machines.made()
    for port in ("input", "console"):
        reply = machines.keeper.ask("open-port", uuid=own, port=port, rotated=0)
        assert reply.error == "DomainFailed", reply
        reply = machines.keeper.ask("open-port", uuid=any_uuid(), port=port, rotated=0)
        assert reply.error == "DomainNotFound", reply
    running = machines.made(name="other-init", ephemeral=True)
    reply = machines.keeper.ask("open-port", uuid=running, port="input", rotated=0)
    assert (reply.error, "init of its own" in reply.text) == ("DomainFailed", True)


def test_open_console_ends_with_the_keeper(host: LibvirtHost, machines: Machines) -> None:
    own = machines.made(name="watched", ephemeral=True)
    with raw_keeper(host.uri, inside=host.as_owner()) as other:
        reply = other.ask("open-port", uuid=own, port="console", rotated=0)
        with socket.socket(fileno=reply.descriptors[0]) as line:
            other.connection.close()
            assert other.ended() == (0, "")
            assert line.recv(1) == b""
    # libvirt has closed its session, too.
    reply = machines.keeper.ask("open-port", uuid=own, port="console", rotated=0)
    assert reply.error == ""
    os.close(reply.descriptors[0])


def test_port_of_the_host_leads_to_a_machine(machines: Machines) -> None:
    host = free_port()
    published = {"address": "127.0.0.1", "host": host, "guest": 80, "transport": "tcp"}
    network = {"kind": "default", "name": "", "ports": [published]}
    own = machines.made(name="server", network=network, ephemeral=True)
    [known] = machines.list()
    assert known["ports"] == [published]
    assert machines.state(own, "start") == "running"
    # passt listens there as long as the machine runs.
    with pytest.raises(InUse, match=str(host)):
        check_ports([_port(host)])
    socket.create_connection(("127.0.0.1", host)).close()
    assert machines.state(own, "destroy") is None
    check_ports([_port(host)])


def _port(
    host: int, address: str = "127.0.0.1", transport: Transport = Transport.TCP
) -> PublishedPort:
    return PublishedPort(address=address, host=host, guest=80, transport=transport)


def test_used_ports_are_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
        for address in ("127.0.0.1", ""):
            with pytest.raises(InUse, match=f":{number} of this host is in use"):
                check_ports([_port(number, address)])
        check_ports([_port(number, "127.0.0.2")])
    check_ports([_port(number)])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        number = server.getsockname()[1]
        with pytest.raises(InUse):
            check_ports([_port(number, transport=Transport.UDP)])


def test_address_and_bridge_of_another_host_are_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"192\.0\.2\.1"):
        check_ports([_port(8080, "192.0.2.1")])
    for name in ("lo", "missing", "../lo", ""):
        with pytest.raises(InvalidArgument, match="bridge"):
            check_bridge(name)


def test_machine_that_reads_no_console_holds_up_no_other_request(machines: Machines) -> None:
    own = machines.made(name="deaf", ephemeral=True)
    reply = machines.keeper.ask("open-port", uuid=own, port="console", rotated=0)
    with socket.socket(fileno=reply.descriptors[0]) as line:
        # Long enough for a machine that reads.
        line.settimeout(1)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 64 * MIB:
                sent += line.send(b"x" * 65536)
        assert 0 < sent < 64 * MIB
        assert [one["name"] for one in machines.list()] == ["deaf"]
    assert machines.state(own, "destroy") is None
