# SPDX-License-Identifier: LGPL-2.1-or-later
"""A machine with our init, under QEMU: its states, its ports and its logs, by raw requests."""

import os
import select
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.keeper.conftest import TestPool
from tests.keeper.domains.requests import Machines, state_after
from tests.support.guest import DRIVERS, INIT, busybox_tree, ext4_of, parse_records
from tests.support.kernel import debian_kernel, guest_initrd
from tests.support.machine_host import machine_host
from tests.support.raw_keeper import raw_keeper
from virtlayer.file_changes import new_watcher
from virtlayer.protocol.guest_config import GuestConfig
from virtlayer.protocol.streams import Record, RecordKind

_PATIENCE = 120.0
_WRITTEN = 5_000_000
"""Bytes: virtlogd rotates after 2 MiB, and keeps three rotated files."""

_SCRIPT = """
trap 'echo stopping; exit 3' TERM
echo "ready"
read line
echo "got $line"
echo "on the console" >/dev/console
read typed </dev/console
echo "typed $typed"
yes 0123456789 | head -c {written}
echo "all written"
while :; do sleep 0.1; done
"""


class Log:
    """The present log file of a machine, and what tells that it has grown or was rotated."""

    def __init__(self, machines: Machines, own: str, port: str) -> None:
        self._machines, self._own, self._port = machines, own, port
        self._watcher = new_watcher()
        self._file = -1
        self.content = b""
        """What the present file has."""
        self._open()

    def _open(self) -> None:
        """Open the present file, which may be another one by now."""
        reply = self._machines.keeper.ask(
            "open-port", [self._watcher], uuid=self._own, port=self._port, rotated=0
        )
        assert reply.done == {"exists": True}, reply
        [file] = reply.descriptors
        if self._file >= 0:
            os.close(self._file)
        self._file = file
        self.content = b""

    def wait_for(self, text: bytes) -> None:
        """Wait until the present file has this text."""
        while True:
            while data := os.read(self._file, 1 << 20):
                self.content += data
            if text in self.content:
                return
            ready, _, _ = select.select([self._watcher], [], [], _PATIENCE)
            assert ready, self.content[-2000:]
            os.read(self._watcher, 4096)
            self._open()

    def close(self) -> None:
        os.close(self._file)
        os.close(self._watcher)


def _all_output(machines: Machines, own: str) -> tuple[Record, ...]:
    """The records in all files of the output, oldest first."""
    content = b""
    for rotated in range(3, -1, -1):
        watcher = new_watcher()
        reply = machines.keeper.ask(
            "open-port", [watcher], uuid=own, port="output", rotated=rotated
        )
        os.close(watcher)
        for descriptor in reply.descriptors:
            content += os.pread(descriptor, 4 << 20, 0)
            os.close(descriptor)
    return parse_records(content)


def _line(machines: Machines, own: str, port: str) -> socket.socket:
    reply = machines.keeper.ask("open-port", uuid=own, port=port, rotated=0)
    assert reply.error == "", reply
    [line] = reply.descriptors
    return socket.socket(fileno=line)


def _received(line: socket.socket, text: bytes) -> None:
    line.settimeout(_PATIENCE)
    found = b""
    while text not in found:
        data = line.recv(4096)
        assert data, found
        found += data


@pytest.fixture
def machines() -> Iterator[Machines]:
    """Makes domains whose logs are written by virtlogd, as on most hosts."""
    with (
        machine_host(virtlogd=True) as host,
        raw_keeper(host.uri, inside=host.as_owner()) as keeper,
    ):
        keeper.connection.settimeout(_PATIENCE)
        path = host.start_pool("default")
        pool = TestPool("default", keeper.get("find-pool", name="default")["uuid"], path)
        yield Machines(host, keeper, pool)


def test_machine_is_started_followed_stopped_and_removed(
    machines: Machines, tmp_path: Path
) -> None:
    image = tmp_path / "root.qcow2"
    raw = ext4_of(busybox_tree(tmp_path), tmp_path)
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, image], check=True)
    kernel = debian_kernel()
    script = _SCRIPT.format(written=_WRITTEN)
    config = GuestConfig(arguments=("sh", "-c", script), interactive=True)
    disk = machines.volume(content=image.read_bytes())
    own = machines.made(
        config.encoded(),
        name="web",
        boot="own-initrd",
        disk=disk,
        has_config=True,
        has_streams=True,
        memory=256 << 20,
        network={"kind": "default", "name": "", "ports": []},
        **machines.boot_volumes(kernel.image.read_bytes(), guest_initrd(kernel, INIT, DRIVERS)),
    )
    since = machines.keeper.get("list-domains", since=None, name=None)["generation"]
    assert machines.state(own, "start") == "running"
    since = state_after(machines, since=since, name="web", state="running")
    assert machines.control(own, "remove").error == "InUse"

    output = Log(machines, own, "output")
    output.wait_for(b"ready")
    [known] = machines.list("web")
    assert (known["disk"], known["state"]) == (disk, "running")

    with _line(machines, own, "input") as line:
        second = machines.keeper.ask("open-port", uuid=own, port="input", rotated=0)
        assert second.error == "InUse", second
        line.sendall(Record(RecordKind.STDIN, b"a line\n").encoded()[:5])
    # It is free again as soon as the first one is closed.
    console = _line(machines, own, "console")
    again = machines.keeper.ask("open-port", uuid=own, port="console", rotated=0)
    assert again.error == "InUse", again
    while (reply := machines.keeper.ask("open-port", uuid=own, port="input", rotated=0)).error:
        assert reply.error == "InUse"
    with socket.socket(fileno=reply.descriptors[0]) as line:
        line.sendall(Record(RecordKind.STDIN, b"another line\n").encoded())
        output.wait_for(b"got another line")
        _received(console, b"on the console")
        console.sendall(b"by hand\n")
        output.wait_for(b"typed by hand")
    console.close()
    kernel_log = Log(machines, own, "kernel-log")
    kernel_log.wait_for(b"on the console")
    kernel_log.close()

    output.wait_for(b"all written")
    assert machines.state(own, "press-button") == "running"
    state_after(machines, since=since, name="web", state="stopped")
    output.wait_for(Record(RecordKind.EXIT, b"\3").encoded())
    output.close()
    records = _all_output(machines, own)
    assert records[0].kind is RecordKind.STARTED
    written = b"".join(one.content for one in records if one.kind is RecordKind.STDOUT)
    lines = (b"0123456789\n" * (_WRITTEN // 11 + 1))[:_WRITTEN]
    assert (
        written == b"ready\ngot another line\ntyped by hand\n" + lines + b"all written\nstopping\n"
    )
    assert machines.control(own, "press-button").done == {"state": "stopped"}

    assert machines.state(own, "remove") is None
    for port in ("output", "kernel-log", "qemu-log"):
        watcher = new_watcher()
        reply = machines.keeper.ask("open-port", [watcher], uuid=own, port=port, rotated=0)
        os.close(watcher)
        assert reply.done == {"exists": False}, port
    assert (machines.own_files, machines.notes) == (set(), set())
