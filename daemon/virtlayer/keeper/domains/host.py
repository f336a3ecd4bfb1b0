# SPDX-License-Identifier: LGPL-2.1-or-later
"""What this host can run, by libvirt's description of it.

The format is libvirt's (https://libvirt.org/formatdomaincaps.html).
"""

from dataclasses import dataclass
from xml.etree import ElementTree

from virtlayer.errors import InvalidArgument
from virtlayer.keeper.binding import libvirt
from virtlayer.keeper.connection import Connection
from virtlayer.keeper.domains.architecture import Architecture
from virtlayer.protocol.domains import DomainType
from virtlayer.sizes import MIB, human_size

_MIB_AT = 1
"""Where libvirt's answer about the host has its memory, in MiB (virNodeInfo)."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a type of domain can have on this host.

    Attributes:
        processors: The most virtual processors.
    """

    processors: int


def capabilities(
    connection: Connection, architecture: Architecture, kind: DomainType
) -> Capabilities | None:
    """Describe what a type of machine can have; None if libvirt does not offer the type."""
    try:
        text = connection.getDomainCapabilities(
            None, architecture.name, architecture.machine, kind.value, 0
        )
    except libvirt.libvirtError as error:
        unsupported = (
            libvirt.VIR_ERR_INVALID_ARG,
            libvirt.VIR_ERR_NO_SUPPORT,
            libvirt.VIR_ERR_CONFIG_UNSUPPORTED,
        )
        if error.get_error_code() in unsupported:
            return None
        raise
    root = ElementTree.fromstring(text)  # noqa: S314 -- libvirt wrote it
    vcpu = root.find("vcpu")
    return Capabilities(1 if vcpu is None else int(vcpu.get("max", "1")))


def check_size(
    connection: Connection, known: Capabilities, *, memory: int, processors: int
) -> None:
    """Check the size of a domain against the host.

    Args:
        connection: The connection to libvirt.
        known: What the type of domain can have.
        memory: Bytes.
        processors: The number of virtual processors.

    Raises:
        InvalidArgument: The host cannot run a domain of that size.
    """
    available = connection.getInfo()[_MIB_AT] * MIB
    if memory > available:
        raise InvalidArgument(
            f"The machine cannot have {human_size(memory)} of memory: this host has "
            f"{human_size(available)}."
        )
    if processors > known.processors:
        raise InvalidArgument(
            f"The machine cannot have {processors} virtual processors: at most "
            f"{known.processors} are supported here."
        )
