# SPDX-License-Identifier: LGPL-2.1-or-later
"""Parses the published ports of ``virtlayer run``: ``[ADDRESS:]HOST:GUEST[/udp]``, as podman's."""

import ipaddress
import re
from argparse import ArgumentTypeError

type Port = tuple[str, int, int, str]
"""The address, the port of the host, that of the guest, and tcp or udp."""

_ALL = "0.0.0.0"  # noqa: S104 -- what podman publishes at, too
"""Not the IPv6 ones: most machines have only IPv4, and connections to ::1 would hang."""

_FORM = re.compile(
    r"(?:(?:\[(?P<six>[^]]*)\]|(?P<four>[^:]*)):)?(?P<host>[^:]*):(?P<guest>[^:/]*)"
    r"(?:/(?P<transport>.*))?"
)
_NUMBERS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", re.ASCII)
_LAST = 65535


def published_ports(text: str) -> list[Port]:
    """Return the ports of one option, which can be ranges, or several, separated by commas."""
    return [port for one in text.split(",") for port in _ports(one)]


def _ports(text: str) -> list[Port]:
    form = _FORM.fullmatch(text)
    if form is None and ":" in text:
        raise ArgumentTypeError(
            f'"{text}" is not of the form [ADDRESS:]HOST:GUEST[/udp], such as 8080:80. An IPv6 '
            "address has brackets, as in [::1]:8080:80."
        )
    if form is None or not form["host"]:
        # podman would choose one, which nobody knows before the machine runs.
        raise ArgumentTypeError(f'"{text}" has no port of the host. Example: 8080:80.')
    transport = "tcp" if form["transport"] is None else form["transport"].lower()
    if transport not in {"tcp", "udp"}:
        raise ArgumentTypeError(f'The protocol of "{text}" is not tcp or udp.')
    hosts, guests = _range(form["host"], text), _range(form["guest"], text)
    if len(hosts) != len(guests):
        raise ArgumentTypeError(f'The two ranges of "{text}" have different lengths.')
    address = _address(form["four"] if form["six"] is None else form["six"])
    return [(address, host, guest, transport) for host, guest in zip(hosts, guests, strict=True)]


def _range(text: str, whole: str) -> range:
    match = _NUMBERS.fullmatch(text)
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= first <= last <= _LAST:
        raise ArgumentTypeError(
            f'"{text}" in "{whole}" is not a port. Ports are from 1 to {_LAST}.'
        )
    return range(first, last + 1)


def _address(text: str | None) -> str:
    if not text:
        return _ALL
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ArgumentTypeError(f'"{text}" is not an IP address.') from None
