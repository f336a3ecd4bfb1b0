# SPDX-License-Identifier: LGPL-2.1-or-later
"""Domains, as the service asks the keeper for them. There is no XML and no path in a request.

A domain of ours has metadata that names its image, digest and pool. Requests name a domain by its
UUID; one without our metadata is not found.
"""

from dataclasses import dataclass
from enum import StrEnum

from virtlayer.protocol.checks import (
    DomainText,
    GuestMemory,
    Number,
    PortNumber,
    Processors,
    Uuid,
    VolumeName,
)


class DomainType(StrEnum):
    """How a domain runs."""

    KVM = "kvm"
    QEMU = "qemu"
    LXC = "lxc"


class NetworkKind(StrEnum):
    """The kinds of a domain's network."""

    DEFAULT = "default"  # network:default if it is active, else user
    NETWORK = "network"  # a network of libvirt
    BRIDGE = "bridge"  # a bridge of the host
    USER = "user"  # QEMU's built-in network; passt if ports are published
    NONE = "none"


class Transport(StrEnum):
    """The transport of a published port."""

    TCP = "tcp"
    UDP = "udp"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedPort:
    """A port of the host that leads to a port of the guest.

    Attributes:
        address: The address of the host; "" for all.
        host: The port of the host.
        guest: The port of the guest.
        transport: TCP or UDP.
    """

    address: DomainText
    host: PortNumber
    guest: PortNumber
    transport: Transport


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The network of a domain.

    Attributes:
        kind: Its kind.
        name: The name of the network or bridge; "" for the other kinds.
        ports: The published ports; only with the kind USER.
    """

    kind: NetworkKind
    name: DomainText = ""
    ports: tuple[PublishedPort, ...] = ()


class Boot(StrEnum):
    """How a domain boots. The keeper adds the constant kernel command line of each."""

    DISK = "disk"  # the boot loader on the disk
    IMAGE_INITRD = "image-initrd"  # a kernel, and the initrd of the image
    OWN_INITRD = "own-initrd"  # a kernel, and the initrd with our init
    CONTAINER = "container"  # our init in a container of libvirt-LXC


class Step(StrEnum):
    """What DEFINE_DOMAIN does."""

    CHECK = "check"  # only what can be checked before anything is made: no volume need exist
    PROBE_KVM = "probe-kvm"  # whether KVM runs this kernel with our initrd, or a BIOS alone
    DEFINE = "define"  # define the domain; a transient one is created paused


@dataclass(frozen=True, slots=True, kw_only=True)
class IdMap:
    """The ids of a container: id 0 is ``base`` on the host, and the next ones follow.

    Attributes:
        base: The id of the host.
        count: How many ids.
    """

    base: Number
    count: Number


@dataclass(frozen=True, slots=True, kw_only=True)
class DefineDomain:
    """A domain. The configuration and the seed, if any, come as sealed memory files, in this order.

    The keeper writes them as ``config-<uuid>.raw`` and ``seed-<uuid>.iso`` into the pool, mode
    0600, and deletes them with the domain.

    Attributes:
        step: What to do.
        claim: The number of the job's claim on the volumes; None with the step CHECK.
        name: Its name.
        uuid: Its UUID, which the service has chosen.
        pool: The pool of its volumes.
        type: How it runs; None for KVM where that runs guests, else QEMU.
        memory: In bytes.
        processors: The number of virtual processors.
        network: Its network.
        boot: How it boots.
        kernel: The kernel's volume; None if it boots its disk, or for a container.
        initrd: The initrd's volume; None without a kernel.
        disk: The volume of its root file system or disk; None with the step PROBE_KVM.
        disk_format: qcow2, raw or dir.
        has_config: Whether the configuration comes with it.
        has_seed: Whether a NoCloud seed comes with it.
        has_streams: Whether it has our init, and so the two ports of its output and input.
        id_map: The ids of a container; None for a machine.
        autostart: Whether libvirt starts it with the host.
        ephemeral: Whether it is transient: gone when it stops.
        image: The name of the image, for the metadata.
        digest: The digest of the image, for the metadata.
        os_id: The libosinfo id of the operating system; "" if unknown.
    """

    step: Step
    claim: Number | None
    name: DomainText
    uuid: Uuid
    pool: Uuid
    type: DomainType | None
    memory: GuestMemory
    processors: Processors
    network: Network
    boot: Boot
    kernel: VolumeName | None
    initrd: VolumeName | None
    disk: VolumeName | None
    disk_format: DomainText
    has_config: bool
    has_seed: bool
    has_streams: bool
    id_map: IdMap | None
    autostart: bool
    ephemeral: bool
    image: DomainText
    digest: DomainText
    os_id: DomainText


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainDefined:
    """The result of DEFINE_DOMAIN.

    Attributes:
        type: How it runs, or would run.
        kvm_known: Whether it is known, since the boot of the host, if KVM runs guests. If not, the
            service asks with the step PROBE_KVM, when it has the kernel and initrd, if any.
        notes: What the user should know, as sentences: why it is emulated, for instance.
        network: The network that it has, or would have: never DEFAULT.
    """

    type: DomainType
    kvm_known: bool
    notes: tuple[str, ...]
    network: Network


class State(StrEnum):
    """The state of a domain."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    STOPPED = "stopped"
    CRASHED = "crashed"
    CREATED = "created"  # transient, paused, never resumed


NO_GENERATION = 0
"""A number that no list of domains has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListDomains:
    """Domains with our metadata.

    Attributes:
        since: The generation of the last answer: the answer comes when something differs, or after
            a minute. None for an answer now. NO_GENERATION for an answer now about states: what
            libvirt does not report when it changes may be older.
        name: Only this one, with its addresses; None for all, without addresses.
    """

    since: Number | None
    name: DomainText | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownDomain:
    """A domain with our metadata.

    Attributes:
        name: Its name.
        uuid: Its UUID.
        state: Its state.
        pool: The UUID of the pool of its volumes, from its metadata.
        image: The name of its image, from its metadata.
        digest: The digest of its image, from its metadata.
        disk: The name of its volume; "" if its XML names none of that pool.
        type: How it runs.
        boot: How it boots.
        has_streams: Whether it has our init's two ports.
        ephemeral: Whether it is transient.
        autostart: Whether libvirt starts it with the host.
        memory: In bytes.
        processors: The number of virtual processors.
        addresses: Its IP addresses, as far as libvirt knows them; only if it was asked by name.
        ports: The published ports.
    """

    name: str
    uuid: str
    state: State
    pool: str
    image: str
    digest: str
    disk: str
    type: DomainType
    boot: Boot
    has_streams: bool
    ephemeral: bool
    autostart: bool
    memory: int
    processors: int
    addresses: tuple[str, ...]
    ports: tuple[PublishedPort, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Domains:
    """The domains with our metadata.

    Attributes:
        generation: Grows with every change.
        domains: The domains.
    """

    generation: Number
    domains: tuple[KnownDomain, ...]


class Control(StrEnum):
    """What CONTROL_DOMAIN does to a domain."""

    START = "start"  # start it, or resume a created one
    PRESS_BUTTON = "press-button"  # ACPI power button
    DESTROY = "destroy"  # end it at once
    REMOVE = "remove"  # undefine it if it is there; delete its configuration, seed and logs


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlDomain:
    """An action on a domain of ours.

    Attributes:
        uuid: The domain.
        pool: The pool of its volumes: that of its metadata, or of the record of its volume if it
            no longer exists (REMOVE).
        action: What to do.
    """

    uuid: Uuid
    pool: Uuid
    action: Control


@dataclass(frozen=True, slots=True, kw_only=True)
class Controlled:
    """The domain afterwards.

    Attributes:
        state: Its state; None if it no longer exists.
    """

    state: State | None


class Port(StrEnum):
    """What OPEN_PORT opens."""

    OUTPUT = "output"  # the file of our init's output records
    INPUT = "input"  # a socket to our init: input records
    KERNEL_LOG = "kernel-log"  # the log file of ttyS0: the kernel's, or all output of an own init
    CONSOLE = "console"  # a socket to ttyS0, through libvirt's console
    QEMU_LOG = "qemu-log"  # what QEMU wrote: for the error of a failed start


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenPort:
    """A port of a domain to be opened.

    For files, an inotify descriptor of the service comes with it, so that the kernel counts it for
    the service. It becomes readable when the file grows or is rotated. One descriptor comes back:
    the file, read-only; for INPUT and CONSOLE, a socket.

    Attributes:
        uuid: The domain, also one that has just ended.
        port: What to open.
        rotated: For files: 0 for the present one, 1 for the last rotated one, and so on.
    """

    uuid: Uuid
    port: Port
    rotated: Number


@dataclass(frozen=True, slots=True, kw_only=True)
class PortOpened:
    """The result of OPEN_PORT.

    Attributes:
        exists: Whether there is such a file; if not, no descriptor comes.
    """

    exists: bool
