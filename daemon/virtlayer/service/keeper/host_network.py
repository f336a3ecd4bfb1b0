# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks that a machine's bridge exists, and that the ports that it publishes are free.

The service does it, because the keeper has no network.
"""

import contextlib
import errno
import socket
from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address
from pathlib import Path

from virtlayer.errors import InUse, InvalidArgument
from virtlayer.protocol.domains import PublishedPort, Transport

_INTERFACES = Path("/sys/class/net")
_SOCKETS = {Transport.TCP: socket.SOCK_STREAM, Transport.UDP: socket.SOCK_DGRAM}
_ALL = ("::", "0.0.0.0")  # noqa: S104 -- they are tried, and nothing is served


def check_bridge(name: str) -> None:
    """Check that this host has a bridge.

    Raises:
        InvalidArgument: It does not.
    """
    if "/" in name or not (_INTERFACES / name / "bridge").is_dir():
        raise InvalidArgument(f'This host has no bridge "{name}". See "ip link show type bridge".')


def check_ports(ports: Iterable[PublishedPort]) -> None:
    """Check that ports of this host can be listened on.

    Args:
        ports: The ports. One that the service may not listen on, because its number is below 1024,
            is not checked.

    Raises:
        InUse: Another program uses one, or it is there twice.
        InvalidArgument: The host does not have the address.
    """
    with contextlib.ExitStack() as stack:
        for port in ports:
            for address in [port.address] if port.address else _ALL:
                _bind(stack, port, address)


def _bind(stack: contextlib.ExitStack, port: PublishedPort, address: str) -> None:
    is_v6 = isinstance(ip_address(address), IPv6Address)
    kind = _SOCKETS[port.transport]
    is_tcp = kind is socket.SOCK_STREAM
    try:
        listening = stack.enter_context(
            socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET, kind)
        )
        if is_v6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if is_tcp:
            # Without it, connections that were closed in the last minute would count.
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address, port.host))
        if is_tcp:
            listening.listen(1)
    except OSError as error:
        shown = f"[{address}]:{port.host}" if is_v6 else f"{address}:{port.host}"
        match error.errno:
            case errno.EADDRINUSE:
                raise InUse(
                    f"The {port.transport} port {shown} of this host is in use. Publish another "
                    "one, or end the program that uses it."
                ) from error
            case errno.EADDRNOTAVAIL if port.address:
                raise InvalidArgument(
                    f"This host does not have the address {address}, on which the port "
                    f"{port.host} is to be published."
                ) from error
            # Privileged, or a kernel without IPv6.
            case errno.EACCES | errno.EADDRNOTAVAIL | errno.EAFNOSUPPORT:
                return
        raise
