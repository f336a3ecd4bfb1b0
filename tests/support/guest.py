# SPDX-License-Identifier: LGPL-2.1-or-later
"""Machines that boot the init of daemon/virtlayer/guest, under QEMU alone, without libvirt.

with boot(tmp_path, ext4_of(tree, tmp_path), GuestConfig(arguments=("/bin/true",))) as guest:
    assert guest.wait_until_off().status == 0
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import virtlayer
from tests.support import logs
from tests.support.kernel import Kernel, debian_kernel, guest_initrd
from virtlayer.protocol.guest_config import GuestConfig
from virtlayer.protocol.streams import CONTENT_LIMIT, HEADER, MARK, Record, RecordKind

INIT = Path(virtlayer.__file__).parent / "guest" / "init"
DRIVERS = ("virtio_pci", "virtio_blk", "virtio_net", "virtio_console", "ext4", "button", "evdev")

_PATIENCE = 90.0
"""Seconds after which a machine that does nothing of what is expected fails the test."""


PASSWD = """\
root:x:0:0:root:/root:/bin/sh
app:x:1000:1001:App:/home/app:/bin/sh
"""
GROUP = """\
root:x:0:
app:x:1001:
wheel:x:10:app
other:x:44:nobody
extra:x:5:root,app
"""


def busybox_tree(directory: Path) -> Path:
    """A directory with the content of an image: busybox with its names, users and groups."""
    tree = directory / "tree"
    for name in ("bin", "etc", "tmp", "root", "home/app"):
        (tree / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", tree / "bin")
    names = subprocess.run(["/bin/busybox", "--list"], check=True, capture_output=True, text=True)
    for name in names.stdout.split():
        if name != "busybox":
            (tree / "bin" / name).symlink_to("busybox")
    (tree / "etc/passwd").write_text(PASSWD)
    (tree / "etc/group").write_text(GROUP)
    return tree


def ext4_of(tree: Path, directory: Path, megabytes: int = 64) -> Path:
    """An ext4 file system with the content of a directory."""
    image = directory / "root.img"
    with image.open("xb") as file:
        file.truncate(megabytes << 20)
    command = ("mke2fs", "-q", "-t", "ext4", "-d", tree, image)
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return image


@dataclass(frozen=True, slots=True)
class Output:
    """What the entrypoint has written, by the records of the output port."""

    records: tuple[Record, ...]

    def of(self, kind: RecordKind) -> bytes:
        """The content of all records of a kind, joined."""
        return b"".join(record.content for record in self.records if record.kind is kind)

    @property
    def stdout(self) -> str:
        return self.of(RecordKind.STDOUT).decode()

    @property
    def failure(self) -> str:
        return self.of(RecordKind.FAILED).decode()

    @property
    def status(self) -> int:
        [content] = {record.content for record in self.records if record.kind is RecordKind.EXIT}
        return content[0]


def parse_records(data: bytes) -> tuple[Record, ...]:
    """All whole records; what is before one and is not a record fails the test."""
    records = []
    while len(data) >= HEADER.size:
        mark, kind, length = HEADER.unpack_from(data)
        assert mark == MARK, data[:80]
        assert length <= CONTENT_LIMIT
        if len(data) < HEADER.size + length:
            break
        records.append(Record(RecordKind(kind), data[HEADER.size : HEADER.size + length]))
        data = data[HEADER.size + length :]
    return tuple(records)


class Guest:
    """A machine.

    Attributes:
        process: QEMU.
    """

    def __init__(self, directory: Path, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._directory = directory
        self._input: socket.socket | None = None

    @property
    def output(self) -> Output:
        """The records until now."""
        return Output(parse_records((self._directory / "output").read_bytes()))

    @property
    def console(self) -> str:
        return (self._directory / "console").read_text(errors="replace")

    def wait_for(self, kind: RecordKind, content: bytes = b"") -> None:
        """Wait until records of a kind have had this content."""
        deadline = time.monotonic() + _PATIENCE
        while not any(
            record.kind is kind for record in self.output.records
        ) or content not in self.output.of(kind):
            assert self.process.poll() is None, self._report()
            assert time.monotonic() < deadline, self._report()
            time.sleep(0.02)

    def connect(self) -> None:
        """Connect to the input port."""
        self._input = socket.socket(socket.AF_UNIX)
        self._input.connect(str(self._directory / "input"))

    def disconnect(self) -> None:
        assert self._input
        self._input.close()
        self._input = None

    def send(self, kind: RecordKind, content: bytes = b"") -> None:
        """Send a record to the input port."""
        self.send_bytes(Record(kind, content).encoded())

    def send_bytes(self, data: bytes) -> None:
        assert self._input
        self._input.sendall(data)

    def press_power_button(self) -> None:
        self._command("system_powerdown")

    def wait_until_off(self) -> Output:
        """Wait until the machine has ended by itself; all that it wrote."""
        try:
            status = self.process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(self._report()) from None
        assert status == 0, self._report()
        return self.output

    def _command(self, line: str) -> None:
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.connect(str(self._directory / "monitor"))
            monitor.sendall(f"{line}\n".encode())
            monitor.shutdown(socket.SHUT_WR)
            while monitor.recv(4096):
                pass

    def _report(self) -> str:
        return f"{self.console[-4000:]}\n{self.output.records[-20:]}"


@contextlib.contextmanager
def boot(
    directory: Path,
    root: Path | None,
    config: GuestConfig | bytes | None,
    *,
    network: str | None = "user",
    output: str | None = None,
    arguments: Sequence[str] = (),
    memory: int = 256,
) -> Iterator[Guest]:
    """Boot a machine; afterwards it is off.

    Args:
        directory: For its files: the two ports, the console.
        root: The ext4 of the image; None for no such disk.
        config: The configuration; None for no such disk.
        network: Its network, as QEMU's option -netdev has it; None for no interface.
        output: What the output port is connected to, as QEMU's option -chardev has it; None for
            the file that the records are read from.
        arguments: For QEMU, in addition.
        memory: In MiB.
    """
    kernel = debian_kernel()
    initrd = directory / "initrd"
    initrd.write_bytes(_initrd(kernel))
    command = [
        *("qemu-system-x86_64", "-machine", "q35", "-accel", "tcg", "-m", str(memory)),
        *("-nodefaults", "-display", "none", "-no-reboot", "-kernel", str(kernel.image)),
        *("-initrd", str(initrd), "-append", "console=ttyS0 panic=-1 quiet no_timer_check"),
        *("-chardev", f"file,id=console,path={directory}/console", "-serial", "chardev:console"),
        *("-device", "virtio-serial-pci"),
        *("-chardev", f"{output or f'file,path={directory}/output,append=on'},id=output"),
        *("-device", "virtserialport,chardev=output,name=org.virtlayer.output.0"),
        *("-chardev", f"socket,id=input,path={directory}/input,server=on,wait=off"),
        *("-device", "virtserialport,chardev=input,name=org.virtlayer.input.0"),
        *("-monitor", f"unix:{directory}/monitor,server=on,wait=off"),
    ]
    if root:
        command += _disk(root, "virtlayer-root", "off")
    if config is not None:
        content = config if isinstance(config, bytes) else config.encoded()
        (directory / "config").write_bytes(content)
        command += _disk(directory / "config", "virtlayer-config", "on")
    if network:
        command += ["-netdev", f"{network},id=net", "-device", "virtio-net-pci,netdev=net"]
    (directory / "output").touch()
    (directory / "console").touch()
    logs.follow("console of the machine", directory, "console")
    logs.follow("output of the machine", directory, "output")
    process = subprocess.Popen([*command, *arguments], stdin=subprocess.DEVNULL)
    guest = Guest(directory, process)
    try:
        while not (directory / "monitor").exists():
            assert process.poll() is None
            time.sleep(0.01)
        yield guest
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.wait()
        if guest._input:
            guest.disconnect()


def _initrd(kernel: Kernel) -> bytes:
    return guest_initrd(kernel, INIT, DRIVERS)


def _disk(path: Path, serial: str, read_only: str) -> list[str]:
    name = serial.removeprefix("virtlayer-")
    return [
        *("-drive", f"if=none,id={name},file={path},format=raw,read-only={read_only}"),
        *("-device", f"virtio-blk-pci,drive={name},serial={serial}"),
    ]
