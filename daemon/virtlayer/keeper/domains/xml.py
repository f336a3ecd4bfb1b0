# SPDX-License-Identifier: LGPL-2.1-or-later
"""Composes the XML of a machine, from values that were checked.

The format is libvirt's (https://libvirt.org/formatdomain.html). A machine has virtio devices, a
serial line and no graphics; other programs that use libvirt can add what they need.
"""

from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from virtlayer.keeper.domains.architecture import Architecture
from virtlayer.keeper.domains.devices import (
    add_disk,
    add_interface,
    add_ports,
    add_serial_line,
)
from virtlayer.keeper.domains.logs import Logs
from virtlayer.keeper.domains.metadata import Metadata, operating_system
from virtlayer.keeper.kinds.machine_storage import FileDisk, MachineStorage
from virtlayer.protocol.domain_files import config_file, seed_file
from virtlayer.protocol.domains import Boot, DefineDomain, DomainType, Network

_KERNEL_OPTIONS = {
    # A kernel that panics reboots at once, which ends the domain (on_reboot).
    Boot.OWN_INITRD: "console={console} panic=-1 quiet",
    Boot.IMAGE_INITRD: "root=/dev/vda rw console={console}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine to be described.

    Attributes:
        request: What the service asked for.
        type: How it runs: KVM or QEMU.
        network: Its network, not DEFAULT.
        architecture: Of this host.
        storage: Its disk and its other files.
        logs: Its log files.
    """

    request: DefineDomain
    type: DomainType
    network: Network
    architecture: Architecture
    storage: MachineStorage
    logs: Logs


def metadata_of(request: DefineDomain) -> Metadata:
    """The metadata of a domain."""
    return Metadata(
        image=request.image,
        digest=request.digest,
        pool=request.pool,
        volume=request.disk or "",
        boot=request.boot,
        has_streams=request.has_streams,
        is_ephemeral=request.ephemeral,
    )


def machine_xml(machine: Machine) -> str:
    """Return the description of a machine."""
    request = machine.request
    domain = Element("domain", type=machine.type)
    add_general(domain, request)
    if machine.type is DomainType.KVM:
        SubElement(domain, "cpu", mode="host-passthrough")
    else:
        # The default lacks instructions that many distributions are built for (x86-64-v2).
        SubElement(domain, "cpu", mode="maximum")
    _add_boot(domain, machine)
    if machine.architecture.name in {"x86_64", "aarch64"}:
        SubElement(SubElement(domain, "features"), "acpi")
    _add_clock(domain, machine)
    _add_ends(domain, reboots=not request.has_streams)
    _add_devices(SubElement(domain, "devices"), machine)
    return as_text(domain)


def _add_clock(domain: Element, machine: Machine) -> None:
    """Add the clock, with the timers that virt-install chooses."""
    clock = SubElement(domain, "clock", offset="utc")
    if machine.architecture.name == "x86_64":
        SubElement(clock, "timer", name="rtc", tickpolicy="catchup")
        SubElement(clock, "timer", name="pit", tickpolicy="delay")
        # Emulated machines with several processors lost its interrupts on a busy host, and stalled.
        SubElement(clock, "timer", name="hpet", present="no")


def add_general(domain: Element, request: DefineDomain) -> None:
    """Add what machines and containers have."""
    _add(domain, "name", request.name)
    _add(domain, "uuid", request.uuid)
    metadata = SubElement(domain, "metadata")
    metadata.append(metadata_of(request).element())
    if request.os_id:
        metadata.append(operating_system(request.os_id))
    _add(domain, "memory", str(request.memory), unit="bytes")
    _add(domain, "vcpu", str(request.processors))


def as_text(domain: Element) -> str:
    """Return a description as text."""
    indent(domain)
    return tostring(domain, encoding="unicode")


def _add_boot(domain: Element, machine: Machine) -> None:
    request, architecture = machine.request, machine.architecture
    system = SubElement(domain, "os")
    if request.boot is Boot.DISK and architecture.needs_firmware:
        system.set("firmware", "efi")
    _add(system, "type", "hvm", arch=architecture.name, machine=architecture.machine)
    if request.kernel and request.initrd:
        _add(system, "kernel", str(machine.storage.files / request.kernel))
        _add(system, "initrd", str(machine.storage.files / request.initrd))
        options = _KERNEL_OPTIONS[request.boot].format(console=architecture.console)
        if architecture.name == "x86_64":
            # Its check of the timer counts ticks, and panics where the host gives QEMU few of them.
            options += " no_timer_check"
        _add(system, "cmdline", options)
    elif request.disk is None and architecture.has_bios:
        # Without a disk, it ends at once.
        SubElement(system, "bios", rebootTimeout="0")


def _add_ends(domain: Element, *, reboots: bool) -> None:
    _add(domain, "on_poweroff", "destroy")
    # With our init, the end of the kernel is that of the domain.
    _add(domain, "on_reboot", "restart" if reboots else "destroy")
    _add(domain, "on_crash", "destroy")


def _add_devices(devices: Element, machine: Machine) -> None:
    request, storage = machine.request, machine.storage
    if storage.disk is not None:
        disk = add_disk(devices, storage.disk, serial="virtlayer-root")
        if request.boot is Boot.DISK:
            SubElement(disk, "boot", order="1")
    if request.has_config:
        config = FileDisk(storage.files / config_file(request.uuid), "raw")
        add_disk(devices, config, serial="virtlayer-config", read_only=True)
    if request.has_seed:
        seed = FileDisk(storage.files / seed_file(request.uuid), "raw")
        add_disk(devices, seed, serial="virtlayer-seed", read_only=True)
    add_interface(devices, machine.network)
    add_serial_line(devices, machine.logs)
    add_ports(devices, machine.logs if request.has_streams else None)
    SubElement(devices, "controller", type="usb", model="none")
    SubElement(devices, "memballoon", model="virtio")
    generator = SubElement(devices, "rng", model="virtio")
    _add(generator, "backend", "/dev/urandom", model="random")
    if not request.has_streams and machine.architecture.has_panic_device:
        SubElement(devices, "panic", model="isa")


def _add(parent: Element, tag: str, text: str, **attributes: str) -> None:
    SubElement(parent, tag, attributes).text = text
