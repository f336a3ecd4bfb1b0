# SPDX-License-Identifier: LGPL-2.1-or-later
"""Composes the devices of a machine's XML."""

from pathlib import Path
from xml.etree.ElementTree import Element, SubElement

from virtlayer.keeper.domains.logs import Logs
from virtlayer.protocol.domains import Network, NetworkKind

OUTPUT_PORT = "org.virtlayer.output.0"
INPUT_PORT = "org.virtlayer.input.0"
AGENT_PORT = "org.qemu.guest_agent.0"
_FIRST_DISK = "a"


def add_disk(
    devices: Element, file: Path, image_format: str, *, serial: str, read_only: bool = False
) -> Element:
    """Add a disk; the first one is vda.

    Args:
        devices: The devices.
        file: Its file.
        image_format: qcow2 or raw.
        serial: Its serial number.
        read_only: Whether the guest can only read it.
    """
    letter = chr(ord(_FIRST_DISK) + len(devices.findall("disk")))
    # Not type="volume": libvirt's helper for AppArmor cannot resolve it (libvirt issue 546).
    disk = SubElement(devices, "disk", type="file", device="disk")
    SubElement(disk, "driver", name="qemu", type=image_format, discard="unmap")
    SubElement(disk, "source", file=str(file))
    SubElement(disk, "target", dev=f"vd{letter}", bus="virtio")
    SubElement(disk, "serial").text = serial
    if read_only:
        SubElement(disk, "readonly")
    return disk


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
