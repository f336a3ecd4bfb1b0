# SPDX-License-Identifier: LGPL-2.1-or-later
"""What this host can run, by libvirt's description of it.

The format is libvirt's (https://libvirt.org/formatdomaincaps.html).
"""

import time
from dataclasses import dataclass
from xml.etree import ElementTree

from virtlayer.errors import InvalidArgument
from virtlayer.keeper.binding import libvirt
from virtlayer.keeper.connection import Connection
from virtlayer.keeper.domains.architecture import Architecture, host_architecture
from virtlayer.protocol.domains import DomainType
from virtlayer.sizes import MIB, human_size

_KNOWN_SECONDS = 10.0
"""How long a description is used: QEMU can be installed or removed."""
_MIB_AT = 1
"""Where libvirt's answer about the host has its memory, in MiB (virNodeInfo)."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a type of domain can have on this host.

    Attributes:
        processors: The most virtual processors.
    """

    processors: int


class HostCapabilities:
    """What this host can run, as libvirt has described it a moment ago.

    libvirt's description has 40 KB, and a machine is checked twice.
    """

    def __init__(self) -> None:
        self._known: dict[DomainType, tuple[float, Capabilities | None]] = {}

    def of(self, connection: Connection, kind: DomainType) -> Capabilities | None:
        """Return what a type of machine can have; None if libvirt does not offer the type."""
        now = time.monotonic()
        read_at, known = self._known.get(kind, (-_KNOWN_SECONDS, None))
        if now - read_at >= _KNOWN_SECONDS:
            known = _capabilities(connection, host_architecture(), kind)
            self._known[kind] = now, known
        return known


def _capabilities(
    connection: Connection, architecture: Architecture, kind: DomainType
) -> Capabilities | None:
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
