# SPDX-License-Identifier: LGPL-2.1-or-later
"""Composes the devices of a machine's XML."""

from xml.etree.ElementTree import Element, SubElement

from virtlayer.keeper.domains.logs import Logs
from virtlayer.keeper.kinds.machine_storage import FileDisk, MachineDisk, RbdDisk
from virtlayer.protocol.domains import Network, NetworkKind
from virtlayer.protocol.rbd import Monitor

OUTPUT_PORT = "org.virtlayer.output.0"
INPUT_PORT = "org.virtlayer.input.0"
AGENT_PORT = "org.qemu.guest_agent.0"
_FIRST_DISK = "a"
_MONITOR_PORTS = (3300, 6789)
"""Of Ceph's monitors, for the versions 2 and 1 of its protocol."""


def add_disk(
    devices: Element, image: MachineDisk, *, serial: str, read_only: bool = False
) -> Element:
    """Add a disk; the first one is vda.

    Args:
        devices: The devices.
        image: What is on it.
        serial: Its serial number.
        read_only: Whether the guest can only read it.
    """
    letter = chr(ord(_FIRST_DISK) + len(devices.findall("disk")))
    disk = SubElement(devices, "disk", device="disk")
    match image:
        case FileDisk():
            # Not type="volume": libvirt's helper for AppArmor cannot resolve it (issue 546).
            disk.set("type", "file")
            _add_driver(disk, image.format)
            SubElement(disk, "source", file=str(image.path))
        case RbdDisk():
            disk.set("type", "network")
            _add_driver(disk, "raw")
            _add_rbd_source(disk, image)
    SubElement(disk, "target", dev=f"vd{letter}", bus="virtio")
    SubElement(disk, "serial").text = serial
    if read_only:
        SubElement(disk, "readonly")
    return disk


def _add_driver(disk: Element, image_format: str) -> None:
    SubElement(disk, "driver", name="qemu", type=image_format, discard="unmap")


def _add_rbd_source(disk: Element, image: RbdDisk) -> None:
    """Add an RBD image: https://libvirt.org/formatdomain.html "Hard drives", type network."""
    source = SubElement(disk, "source", protocol="rbd", name=f"{image.pool}/{image.image}")
    for monitor in image.monitors:
        for port in _ports(monitor):
            SubElement(source, "host", name=monitor.host, port=str(port))
    if image.user is not None and image.secret is not None:
        auth = SubElement(source, "auth", username=image.user)
        SubElement(auth, "secret", type="ceph", uuid=image.secret)


def _ports(monitor: Monitor) -> tuple[int, ...]:
    """The ports of a monitor: libvirt passes 0 to QEMU where none is given, which finds none."""
    return _MONITOR_PORTS if monitor.port is None else (monitor.port,)


def add_interface(devices: Element, network: Network) -> None:
    """Add a network interface, unless there is to be none."""
    match network.kind:
        case NetworkKind.NONE:
            return
        case NetworkKind.NETWORK:
            interface = SubElement(devices, "interface", type="network")
            SubElement(interface, "source", network=network.name)
        case NetworkKind.BRIDGE:
            interface = SubElement(devices, "interface", type="bridge")
            SubElement(interface, "source", bridge=network.name)
        case _:
            interface = SubElement(devices, "interface", type="user")
            if network.ports:
                _add_published(interface, network)
    SubElement(interface, "model", type="virtio")


def _add_published(interface: Element, network: Network) -> None:
    SubElement(interface, "backend", type="passt")
    for port in network.ports:
        attributes = {"proto": port.transport.value}
        if port.address:
            attributes["address"] = port.address
        forward = SubElement(interface, "portForward", attributes)
        SubElement(forward, "range", start=str(port.host), to=str(port.guest))


def add_serial_line(devices: Element, logs: Logs) -> None:
    """Add the first serial line; what is written to it is kept in a log file."""
    line = SubElement(devices, "serial", type="pty")
    SubElement(line, "log", file=str(logs.console), append="on")
    SubElement(line, "target", port="0")


def add_ports(devices: Element, logs: Logs | None) -> None:
    """Add the port of the guest agent, and those of our init.

    Args:
        devices: The devices.
        logs: The log files; None if the machine does not have our init.
    """
    _add_port(devices, "unix", AGENT_PORT)
    if logs is None:
        return
    # A file never makes the guest wait, unlike a socket without a reader.
    output = _add_port(devices, "file", OUTPUT_PORT)
    output.insert(0, Element("source", path=str(logs.output), append="on"))
    _add_port(devices, "unix", INPUT_PORT)


def _add_port(devices: Element, kind: str, name: str) -> Element:
    channel = SubElement(devices, "channel", type=kind)
    SubElement(channel, "target", type="virtio", name=name)
    return channel
