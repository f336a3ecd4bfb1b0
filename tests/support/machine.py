# SPDX-License-Identifier: LGPL-2.1-or-later
"""Virtual machines that boot a disk under libvirt, and speak over their serial console.

QEMU emulates the processor (TCG), so it works where there is no KVM.

    with booted(host, overlay) as machine:
        machine.wait_for("login:")
        machine.send("root")
"""

import codecs
import contextlib
import os
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

from tests.support import logs
from tests.support.kernel import debian_kernel, initramfs
from tests.support.libvirt_host import LibvirtHost

_PATIENCE = 120.0
"""Seconds after which a machine that says nothing of what is expected fails the test."""

_DOMAIN = """\
<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>256</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>{directory}/kernel</kernel>
    <initrd>{directory}/initramfs</initrd>
    <cmdline>console=ttyS0 loglevel=1 panic=-1</cmdline>
  </os>
  <features><acpi/></features>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>destroy</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='{disk}'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <serial type='unix'>
      <source mode='bind' path='{directory}/console'/>
      <log file='{directory}/console.log'/>
    </serial>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
  </devices>
</domain>
"""


class Machine:
    """A running machine.

    Attributes:
        name: Of its domain.
        said: Everything that has come over its console, with LF as the end of a line.
    """

    def __init__(self, name: str, console: socket.socket) -> None:
        self.name = name
        self.said = ""
        self._console = console
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._read = 0

    def wait_for(self, text: str) -> str:
        """Wait until a text comes over the console; return what came with it, up to its end."""
        deadline = time.monotonic() + _PATIENCE
        while (found := self.said.find(text, self._read)) < 0:
            assert self._receive(deadline), f'{self.name} ended without "{text}":\n{self.said}'
        begin, self._read = self._read, found + len(text)
        return self.said[begin : self._read]

    def wait_until_off(self) -> None:
        """Wait until the machine has ended by itself."""
        deadline = time.monotonic() + _PATIENCE
        while self._receive(deadline):
            pass

    def send(self, line: str) -> None:
        """Type a line."""
        self._console.sendall(f"{line}\n".encode())

    def _receive(self, deadline: float) -> bool:
        self._console.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            chunk = self._console.recv(65536)
        except ConnectionResetError:
            return False  # QEMU ended with a line that it had not read
        except TimeoutError:
            raise AssertionError(f"{self.name} says no more than:\n{self.said}") from None
        # What arrives may end within a character.
        self.said += self._decoder.decode(chunk).replace("\r", "")
        return bool(chunk)


@contextlib.contextmanager
def booted(host: LibvirtHost, disk: Path) -> Iterator[Machine]:
    """Boot a machine; afterwards it is off, and nothing of it is left but the disk.

    Args:
        host: The libvirtd that runs it.
        disk: A writable qcow2 volume with an ext4, whose /sbin/init is started. Its path, without
            suffix, names the machine.
    """
    name = f"machine-{disk.stem}"
    with boot_files(host, name) as directory:
        description = _DOMAIN.format(
            name=name, directory=escape(str(directory)), disk=escape(str(disk))
        )
        with running(host, name, description, directory / "console") as machine:
            yield machine


@contextlib.contextmanager
def boot_files(host: LibvirtHost, name: str) -> Iterator[Path]:
    """A directory, of this name, with a ``kernel`` and an ``initramfs``, and room for a console."""
    directory = host.directory / name
    directory.mkdir(mode=0o755)
    os.chown(directory, host.owner, -1)
    logs.follow("console of the machine", directory, "console.log")
    try:
        # QEMU may run as a user who cannot read the checkout, and libvirt changes owners.
        kernel = debian_kernel()
        shutil.copy(kernel.image, directory / "kernel")
        (directory / "initramfs").write_bytes(initramfs(kernel))
        yield directory
    finally:
        logs.keep(directory)
        shutil.rmtree(directory)


@contextlib.contextmanager
def running(host: LibvirtHost, name: str, description: str, console: Path) -> Iterator[Machine]:
    """Run a machine; afterwards it is off.

    Args:
        host: The libvirtd that runs it.
        name: The domain's.
        description: Its XML.
        console: The socket that its serial line is to be on.
    """
    file = console.with_name("domain.xml")
    file.write_text(description)
    # QEMU keeps nothing for a console that is not connected yet.
    host.virsh("create", "--paused", str(file))
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(console))
            host.virsh("resume", name)
            yield Machine(name, line)
    finally:
        with contextlib.suppress(AssertionError):  # it may have ended by itself
            host.virsh("destroy", name)
        assert name not in host.virsh("list", "--all", "--name").split()
