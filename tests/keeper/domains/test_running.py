# SPDX-License-Identifier: LGPL-2.1-or-later
"""A machine with our init, under QEMU: its states, its ports and its logs, by raw requests."""

import os
import select
import socket
import subprocess
from pathlib import Path

from tests.keeper.domains.requests import Machines, state_after
from tests.support.guest import DRIVERS, INIT, busybox_tree, ext4_of, parse_records
from tests.support.kernel import debian_kernel, guest_initrd
from virtlayer.file_changes import new_watcher
from virtlayer.protocol.guest_config import GuestConfig
from virtlayer.protocol.streams import Record, RecordKind

_PATIENCE = 120.0

_SCRIPT = """
trap 'echo stopping; exit 3' TERM
echo "ready"
read line
echo "got $line"
echo "on the console" >/dev/console
while :; do sleep 0.1; done
"""


class Log:
    """An open log file of a machine, and what tells that it has grown."""

    def __init__(self, machines: Machines, own: str, port: str) -> None:
        self._watcher = new_watcher()
        reply = machines.keeper.ask("open-port", [self._watcher], uuid=own, port=port, rotated=0)
        assert reply.done == {"exists": True}, reply
        [self._file] = reply.descriptors
        self.content = b""

    def wait_for(self, text: bytes) -> None:
        """Wait until the file has this text."""
        while True:
            self.content += os.read(self._file, 1 << 20)
            if text in self.content:
                return
            ready, _, _ = select.select([self._watcher], [], [], _PATIENCE)
            assert ready, self.content[-2000:]
            os.read(self._watcher, 4096)

    def close(self) -> None:
        os.close(self._file)
        os.close(self._watcher)


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


def test_machine_is_started_followed_stopped_and_removed(
    machines: Machines, tmp_path: Path
) -> None:
    image = tmp_path / "root.qcow2"
    raw = ext4_of(busybox_tree(tmp_path), tmp_path)
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, image], check=True)
    kernel = debian_kernel()
    config = GuestConfig(arguments=("sh", "-c", _SCRIPT), interactive=True)
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
    console.close()
    kernel_log = Log(machines, own, "kernel-log")
    kernel_log.wait_for(b"on the console")
    kernel_log.close()

    assert machines.state(own, "press-button") == "running"
    state_after(machines, since=since, name="web", state="stopped")
    output.wait_for(Record(RecordKind.EXIT, b"\3").encoded())
    output.close()
    records = parse_records(output.content)
    assert records[0].kind is RecordKind.STARTED
    assert Record(RecordKind.STDOUT, b"stopping\n") in records
    assert machines.control(own, "press-button").done == {"state": "stopped"}

    assert machines.state(own, "remove") is None
    for port in ("output", "kernel-log", "qemu-log"):
        watcher = new_watcher()
        reply = machines.keeper.ask("open-port", [watcher], uuid=own, port=port, rotated=0)
        os.close(watcher)
        assert reply.done == {"exists": False}, port
    assert (machines.own_files, machines.notes) == (set(), set())
