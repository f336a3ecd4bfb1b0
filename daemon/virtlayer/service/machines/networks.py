# SPDX-License-Identifier: LGPL-2.1-or-later
"""Parses the network and the published ports of a machine, as callers give them."""

import ipaddress
from collections.abc import Iterable

from virtlayer.errors import InvalidArgument
from virtlayer.printable import printable
from virtlayer.protocol.domains import Network, NetworkKind, PublishedPort, Transport

_NAMED = (NetworkKind.NETWORK, NetworkKind.BRIDGE)
_PLAIN = (NetworkKind.USER, NetworkKind.NONE)
_NAME_LIMIT = 255
_LAST_PORT = 65535
_SHOWN = 80


def parse_network(text: str | None, ports: tuple[PublishedPort, ...]) -> Network:
    """Return the network of a machine.

    Args:
        text: ``network:NAME``, ``bridge:NAME``, ``user`` or ``none``; None for the default.
        ports: The published ports, which only the network ``user`` can have.

    Raises:
        InvalidArgument: It has another form, or ports are published in another network.
    """
    if text is None:
        return Network(kind=NetworkKind.USER if ports else NetworkKind.DEFAULT, ports=ports)
    network = _parsed(text)
    if ports and network.kind is not NetworkKind.USER:
        raise InvalidArgument(
            f'The option "publish" requires the option "network" to be "user", not "{text}": only '
            "there does the host forward ports. A machine in another network has an address of its "
            "own."
        )
    return Network(kind=network.kind, name=network.name, ports=ports)


def network_text(network: Network) -> str:
    """Return a network in the form that ``parse_network`` parses."""
    return f"{network.kind}:{network.name}" if network.name else str(network.kind)


def parse_ports(published: Iterable[tuple[str, int, int, str]]) -> tuple[PublishedPort, ...]:
    """Return the published ports of a machine.

    Args:
        published: Of each, the address ("" for all), the port of the host, the port of the guest,
            and "tcp" or "udp".

    Raises:
        InvalidArgument: One of them is invalid, or two use the same port of the host.
    """
    ports = tuple(_port(*one) for one in published)
    seen: set[tuple[str, int, Transport]] = set()
    for port in ports:
        place = (port.address, port.host, port.transport)
        if place in seen:
            raise InvalidArgument(
                f'Invalid option "publish": the port {port.host}/{port.transport} of the host is '
                "given twice."
            )
        seen.add(place)
    return ports


def _parsed(text: str) -> Network:
    kind, separator, name = text.partition(":")
    if not separator and text in _PLAIN:
        return Network(kind=NetworkKind(text))
    is_name = name.isprintable() and 0 < len(name.encode("utf-8", "replace")) <= _NAME_LIMIT
    if kind in _NAMED and is_name:
        return Network(kind=NetworkKind(kind), name=name)
    raise InvalidArgument(
        f'Invalid option "network": "{printable(text[:_SHOWN])}". Valid are network:NAME (a '
        "network of libvirt), bridge:NAME (a bridge of the host), user and none."
    )


def _port(address: str, host: int, guest: int, transport: str) -> PublishedPort:
    if transport not in tuple(Transport):
        raise InvalidArgument(
            f'Invalid option "publish": the transport "{printable(transport[:_SHOWN])}" is neither '
            "tcp nor udp."
        )
    for number in (host, guest):
        if not 1 <= number <= _LAST_PORT:
            raise InvalidArgument(
                f'Invalid option "publish": {number} is not a port. Ports are from 1 to '
                f"{_LAST_PORT}."
            )
    return PublishedPort(
        address=_address(address), host=host, guest=guest, transport=Transport(transport)
    )


def _address(text: str) -> str:
    """Return an address in its usual form; "" for all."""
    if not text:
        return ""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise InvalidArgument(
            f'Invalid option "publish": "{printable(text[:_SHOWN])}" is not an IP address.'
        ) from None
