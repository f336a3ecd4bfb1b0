# SPDX-License-Identifier: LGPL-2.1-or-later
"""Domain XML that starts an image or a volume, under QEMU or as a container of libvirt-LXC.

The format is libvirt's (https://libvirt.org/formatdomain.html "Direct kernel boot", "Container
boot", "Hard drives, floppy disks, CDROMs" and "Filesystems").
"""

import re
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from virtlayer.client.cmdline import kernel_command_line
from virtlayer.client.kernels import Kernel
from virtlayer.client.startup import Startup
from virtlayer.errors import InvalidArgument
from virtlayer.printable import printable
from virtlayer.protocol.id_ranges import IdRange
from virtlayer.protocol.names import DomainName
from virtlayer.sizes import KIB

_ARCHITECTURES = {
    "amd64": "x86_64",
    "386": "i686",
    "arm64": "aarch64",
    "arm": "armv7l",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
    "riscv64": "riscv64",
}
_NOT_IN_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""XML 1.0, "Characters"."""
_SHOWN = 80
_CONSOLES = {"aarch64": "ttyAMA0", "armv7l": "ttyAMA0", "ppc64le": "hvc0", "s390x": "ttysclp0"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """What is to be started.

    Attributes:
        name: Of the domain.
        pool: The pool of the volume.
        volume: The volume's name.
        path: Its file or directory.
        format: Such as qcow2, or dir.
        disk: Whether it is a whole disk, which boots by itself.
        writable: Whether it may be written: a layer may not, because others stand on it.
        architecture: As the OCI config names it; "" if that is not known.
        startup: What the image wants to be run.
        memory: In bytes.
        uid_map: Which users of a container are which of the host; empty if all are the same.
        gid_map: Which groups.
    """

    name: DomainName
    pool: str
    volume: str
    path: Path
    format: str
    disk: bool
    writable: bool
    architecture: str
    startup: Startup
    memory: int
    uid_map: tuple[IdRange, ...] = ()
    gid_map: tuple[IdRange, ...] = ()


def qemu_domain(guest: Guest, kernel: Kernel | None, *, kvm: bool) -> str:
    """A machine that boots the volume, with a kernel of the host's or by itself.

    Args:
        guest: What to start.
        kernel: What it boots with; None for a disk that has all that it takes.
        kvm: Whether the processor of the host runs it.

    Raises:
        InvalidArgument: What the image starts is too long for a kernel's command line.
    """
    architecture = _ARCHITECTURES.get(guest.architecture, "")
    domain = _domain("kvm" if kvm else "qemu", guest)
    system = SubElement(domain, "os")
    _add(system, "type", "hvm", **({"arch": architecture} if architecture else {}))
    if kernel is not None:
        _add_kernel(system, guest, kernel, _CONSOLES.get(architecture, "ttyS0"))
    if architecture in {"x86_64", "i686", "aarch64"}:
        SubElement(SubElement(domain, "features"), "acpi")
    devices = SubElement(domain, "devices")
    disk = SubElement(devices, "disk", type="volume", device="disk")
    SubElement(disk, "driver", name="qemu", type=guest.format)
    SubElement(disk, "source", pool=guest.pool, volume=guest.volume)
    SubElement(disk, "target", dev="vda", bus="virtio")
    if not guest.writable:
        SubElement(disk, "readonly")
    SubElement(devices, "console", type="pty")
    interface = SubElement(devices, "interface", type="user")
    SubElement(interface, "model", type="virtio")
    return _text(domain)


def _add_kernel(system: Element, guest: Guest, kernel: Kernel, console: str) -> None:
    _add(system, "kernel", str(kernel.image))
    if kernel.initrd is not None:
        _add(system, "initrd", str(kernel.initrd))
    line = kernel_command_line(guest.startup, console=console, writable=guest.writable)
    _add(system, "cmdline", line)


def lxc_domain(guest: Guest) -> str:
    """A container on the volume. libvirt mounts a qcow2 through the kernel's nbd driver.

    Raises:
        InvalidArgument: What the image starts has characters that XML cannot have.
    """
    startup = guest.startup
    domain = _domain("lxc", guest)
    if guest.uid_map and guest.gid_map:
        _add_id_map(domain, guest)
    system = SubElement(domain, "os")
    _add(system, "type", "exe")
    program, *arguments = _absolute(startup.command)
    _add(system, "init", program)
    for argument in arguments:
        _add(system, "initarg", argument)
    for name, value in startup.environment:
        _add(system, "initenv", value, name=name)
    if startup.directory != "/":
        _add(system, "initdir", startup.directory)
    if startup.user:
        _add(system, "inituser", startup.user)
        _add(system, "initgroup", startup.group or startup.user)
    devices = SubElement(domain, "devices")
    if guest.format == "dir":
        root = SubElement(devices, "filesystem", type="mount")
        SubElement(root, "source", dir=str(guest.path))
    else:
        root = SubElement(devices, "filesystem", type="file")
        SubElement(root, "driver", type="nbd", format=guest.format)
        SubElement(root, "source", file=str(guest.path))
    SubElement(root, "target", dir="/")
    if not guest.writable:
        SubElement(root, "readonly")
    SubElement(devices, "console", type="pty")
    return _text(domain)


def _add_id_map(domain: Element, guest: Guest) -> None:
    maps = SubElement(domain, "idmap")
    for tag, ranges in (("uid", guest.uid_map), ("gid", guest.gid_map)):
        for one in ranges:
            SubElement(
                maps, tag, start=str(one.start), target=str(one.target), count=str(one.count)
            )


def _domain(kind: str, guest: Guest) -> Element:
    domain = Element("domain", type=kind)
    _add(domain, "name", guest.name)
    _add(domain, "memory", str(guest.memory // KIB), unit="KiB")
    _add(domain, "vcpu", "1")
    if kind == "kvm":
        # The default processor is too old for what some distributions are built for.
        SubElement(domain, "cpu", mode="host-passthrough")
    return domain


def _absolute(command: tuple[str, ...]) -> tuple[str, ...]:
    """The command with a path for its program: libvirt searches none inside the container."""
    if command[0].startswith("/"):
        return command
    return ("/bin/sh", "-c", 'exec "$0" "$@"', *command)


def _add(parent: Element, tag: str, text: str, **attributes: str) -> None:
    # A carriage return would be read as a newline.
    if _NOT_IN_XML.search(text):
        raise InvalidArgument(
            f'"{printable(text[:_SHOWN])}" has a control character, which domain XML cannot have. '
            "Put it into a script in the image."
        )
    SubElement(parent, tag, attributes).text = text


def _text(domain: Element) -> str:
    indent(domain)
    return tostring(domain, encoding="unicode")
