# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks and chooses the network of a domain."""

import shutil

from virtlayer.errors import Internal, InvalidArgument, Unsupported
from virtlayer.keeper.binding import libvirt
from virtlayer.keeper.connection import Connection
from virtlayer.protocol.domains import Network, NetworkKind
from virtlayer.protocol.virsh import virsh

_DEFAULT = "default"
_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"


def chosen_network(connection: Connection, uri: str, network: Network) -> Network:
    """Return the network that a domain gets; for ``Hypervisor.call``.

    Args:
        connection: The connection to libvirt.
        uri: Its URI, for messages.
        network: The network that the service asked for.

    Raises:
        InvalidArgument: libvirt does not have the network.
        Unsupported: The network is not active, or passt is missing.
        Internal: There are ports with another kind of network than USER.
    """
    match network.kind:
        case NetworkKind.DEFAULT if not network.ports:
            if _is_active(connection, _DEFAULT):
                return Network(kind=NetworkKind.NETWORK, name=_DEFAULT)
            return Network(kind=NetworkKind.USER)
        case NetworkKind.DEFAULT | NetworkKind.USER:
            if network.ports:
                _check_passt()
            return Network(kind=NetworkKind.USER, ports=network.ports)
    if network.ports:
        raise Internal("Ports can be published with a user network only.")
    if network.kind is NetworkKind.NETWORK:
        _check_network(connection, uri, network.name)
    return network


def container_network(connection: Connection, uri: str, network: Network) -> Network:
    """Return the network that a container gets; for ``Hypervisor.call``.

    Args:
        connection: The connection to libvirt-LXC.
        uri: Its URI, for messages.
        network: The network that the service asked for.

    Raises:
        InvalidArgument: libvirt does not have the network, or containers cannot have it.
        Unsupported: The network is not active.
    """
    if network.ports or network.kind is NetworkKind.USER:
        raise InvalidArgument(
            "A container cannot have the network user or published ports. Use a network of libvirt "
            "or a bridge."
        )
    if network.kind is NetworkKind.DEFAULT and not _is_active(connection, _DEFAULT):
        return Network(kind=NetworkKind.NONE)
    return chosen_network(connection, uri, network)


def _check_network(connection: Connection, uri: str, name: str) -> None:
    active = _is_active(connection, name)
    if active is None:
        raise InvalidArgument(
            f'libvirt has no network "{name}". See "{virsh(uri, "net-list", "--all")}".'
        )
    if not active:
        raise Unsupported(
            f'The network "{name}" is not active. Start it: {virsh(uri, "net-start", name)}'
        )


def _is_active(connection: Connection, name: str) -> bool | None:
    """Whether a network is active; None if there is none of that name."""
    try:
        return bool(connection.networkLookupByName(name).isActive())
    except libvirt.libvirtError as error:
        # A libvirt can be without its driver of networks, as one of test:///.
        if error.get_error_code() in (libvirt.VIR_ERR_NO_NETWORK, libvirt.VIR_ERR_NO_SUPPORT):
            return None
        raise


def _check_passt() -> None:
    if shutil.which("passt", path=_PATH) is None:
        raise Unsupported(
            "Publishing ports requires passt, which is not installed. Install the package passt."
        )
