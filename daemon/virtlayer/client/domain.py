# SPDX-License-Identifier: LGPL-2.1-or-later
"""Makes domain XML that starts a volume, under QEMU or as a container of libvirt-LXC.

The format is libvirt's (https://libvirt.org/formatdomain.html "Direct kernel boot", "Container
boot", "Hard drives, floppy disks, CDROMs" and "Filesystems").
"""

import re
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from virtlayer.client.architectures import libvirt_architecture
from virtlayer.client.cmdline import kernel_command_line
from virtlayer.client.kernels import Kernel
from virtlayer.client.startup import Startup
from virtlayer.errors import InvalidArgument
from virtlayer.printable import printable
from virtlayer.protocol.id_ranges import IdRange
from virtlayer.protocol.names import DomainName
from virtlayer.sizes import KIB

_NOT_IN_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""XML 1.0, "Characters"."""
_SHOWN = 80
_MONITOR_PORTS = (3300, 6789)
"""Of Ceph's monitors, for the versions 2 and 1 of its protocol."""
_CONSOLES = {"aarch64": "ttyAMA0", "armv7l": "ttyAMA0", "ppc64le": "hvc0", "s390x": "ttysclp0"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """A machine or container, without its disk.

    Attributes:
        name: The name of the domain.
        volume: The name of its volume, for messages.
        is_directory: Whether the volume is a directory.
        is_whole_disk: Whether the volume is a whole disk, which boots by itself.
        architecture: The architecture as named in the OCI config; "" if unknown.
        startup: The command that the image starts.
        memory: The memory in bytes.
        uid_map: The host users of a container's users; empty if all are the same.
        gid_map: The host groups of a container's groups; empty if all are the same.
    """

    name: DomainName
    volume: str
    is_directory: bool = False
    is_whole_disk: bool = False
    architecture: str
    startup: Startup
    memory: int
    uid_map: tuple[IdRange, ...] = ()
    gid_map: tuple[IdRange, ...] = ()


@dataclass(frozen=True, slots=True)
class Disk:
    """A volume that the domain may write to: never a layer.

    Attributes:
        path: Of its file or directory, as libvirt lists it. A path without the pool's symbolic
            links would be another to ``virsh undefine --remove-all-storage``, which then keeps
            the volume.
        format: Its format, such as qcow2 or dir.
    """

    path: Path
    format: str


@dataclass(frozen=True, slots=True)
class RbdDisk:
    """An RBD image that the domain may write to.

    Attributes:
        name: Pool and image, with a slash between them.
        monitors: The monitors, as HOST or HOST:PORT.
        user: The cephx user; "" for none.
        secret: The UUID of libvirt's secret with the key; "" if it is named by its usage.
        usage: The usage of that secret.
    """

    name: str
    monitors: tuple[str, ...]
    user: str
    secret: str
    usage: str


class Domain:
    """A domain that is complete except for its disk."""

    def __init__(self, kind: str, guest: Guest) -> None:
        self.root = Element("domain", type=kind)
        _add(self.root, "name", guest.name)
        _add(self.root, "memory", str(guest.memory // KIB), unit="KiB")
        _add(self.root, "vcpu", "1")
        self._is_container = kind == "lxc"

    def with_disk(self, disk: Disk | RbdDisk) -> str:
        """Return the XML of the domain, with this disk as its root file system.

        Raises:
            InvalidArgument: A container cannot have it.
        """
        domain = deepcopy(self.root)
        devices = domain.find("devices")
        assert devices is not None
        devices.insert(0, self._root(disk))
        indent(domain)
        return tostring(domain, encoding="unicode")

    def _root(self, disk: Disk | RbdDisk) -> Element:
        match disk, self._is_container:
            case RbdDisk(), False:
                return _rbd_disk(disk)
            case Disk(), False:
                return _disk(disk)
            case Disk(), True:
                return _root_file_system(disk)
        raise InvalidArgument("A container cannot run on an RBD image. Use --type qemu.")


def qemu_domain(guest: Guest, kernel: Kernel | None, *, kvm: bool) -> Domain:
    """A machine that boots its disk, with a kernel of the host or with its own.

    Args:
        guest: The machine.
        kernel: The kernel that it boots; None for a disk with its own kernel.
        kvm: Whether the processor of the host runs it.

    Raises:
        InvalidArgument: The command of the image is too long for a kernel's command line.
    """
    architecture = libvirt_architecture(guest.architecture)
    domain = Domain("kvm" if kvm else "qemu", guest)
    if kvm:
        # The default processor is too old for what some distributions are built for.
        SubElement(domain.root, "cpu", mode="host-passthrough")
    system = SubElement(domain.root, "os")
    _add(system, "type", "hvm", **({"arch": architecture} if architecture else {}))
    if kernel is not None:
        _add_kernel(system, guest, kernel, _CONSOLES.get(architecture, "ttyS0"))
    if architecture in {"x86_64", "i686", "aarch64"}:
        SubElement(SubElement(domain.root, "features"), "acpi")
    devices = SubElement(domain.root, "devices")
    SubElement(devices, "console", type="pty")
    interface = SubElement(devices, "interface", type="user")
    SubElement(interface, "model", type="virtio")
    return domain


def lxc_domain(guest: Guest) -> Domain:
    """Return a container on its disk. libvirt mounts a qcow2 through the kernel's nbd driver.

    Raises:
        InvalidArgument: The command of the image has characters that XML cannot have.
    """
    startup = guest.startup
    domain = Domain("lxc", guest)
    if guest.uid_map and guest.gid_map:
        _add_id_map(domain.root, guest)
    system = SubElement(domain.root, "os")
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
    SubElement(SubElement(domain.root, "devices"), "console", type="pty")
    return domain


def _disk(disk: Disk) -> Element:
    # Not type="volume": libvirt's helper for AppArmor cannot resolve it (libvirt issue 546).
    element = Element("disk", type="file", device="disk")
    SubElement(element, "driver", name="qemu", type=disk.format)
    SubElement(element, "source", file=str(disk.path))
    SubElement(element, "target", dev="vda", bus="virtio")
    return element


def _rbd_disk(disk: RbdDisk) -> Element:
    element = Element("disk", type="network", device="disk")
    SubElement(element, "driver", name="qemu", type="raw", discard="unmap")
    source = SubElement(element, "source", protocol="rbd", name=disk.name)
    for monitor in disk.monitors:
        found = urlsplit(f"//{monitor}")
        # QEMU needs a port.
        for port in _MONITOR_PORTS if found.port is None else (found.port,):
            SubElement(source, "host", name=found.hostname or "", port=str(port))
    if disk.user:
        auth = SubElement(source, "auth", username=disk.user)
        secret = {"uuid": disk.secret} if disk.secret else {"usage": disk.usage}
        SubElement(auth, "secret", {"type": "ceph", **secret})
    SubElement(element, "target", dev="vda", bus="virtio")
    return element


def _root_file_system(disk: Disk) -> Element:
    if disk.format == "dir":
        element = Element("filesystem", type="mount")
        SubElement(element, "source", dir=str(disk.path))
    else:
        element = Element("filesystem", type="file")
        SubElement(element, "driver", type="nbd", format=disk.format)
        SubElement(element, "source", file=str(disk.path))
    SubElement(element, "target", dir="/")
    return element


def _add_kernel(system: Element, guest: Guest, kernel: Kernel, console: str) -> None:
    _add(system, "kernel", str(kernel.image))
    if kernel.initrd is not None:
        _add(system, "initrd", str(kernel.initrd))
    _add(system, "cmdline", kernel_command_line(guest.startup, console=console))


def _add_id_map(domain: Element, guest: Guest) -> None:
    maps = SubElement(domain, "idmap")
    for tag, ranges in (("uid", guest.uid_map), ("gid", guest.gid_map)):
        for one in ranges:
            SubElement(
                maps, tag, start=str(one.start), target=str(one.target), count=str(one.count)
            )


def _absolute(command: tuple[str, ...]) -> tuple[str, ...]:
    """Return the command with the path of its program: libvirt does not search PATH."""
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
