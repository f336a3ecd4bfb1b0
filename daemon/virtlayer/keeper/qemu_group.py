# SPDX-License-Identifier: LGPL-2.1-or-later
"""The group that QEMU's processes have, which may read layers: libvirt's capabilities name it.

The format is libvirt's (https://libvirt.org/formatcaps.html): a ``secmodel`` with the model ``dac``
and a ``baselabel`` for each type of domain, ``+UID:+GID`` or with names in their place.
"""

import grp
import os
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary
from xml.etree import ElementTree

from virtlayer.errors import Libvirt
from virtlayer.keeper.connection import Connection, Hypervisor

_known: WeakKeyDictionary[Connection, int | None] = WeakKeyDictionary()
"""The groups of libvirtds: an answer takes 1 to 7 ms, and reading its XML up to 1 ms."""
_TYPES = ("kvm", "qemu")
"""Types of domains, in the order in which their labels count."""


async def qemu_group(hypervisor: Hypervisor) -> int | None:
    """The gid of QEMU's processes; None if a new file has the right one.

    A user's QEMU runs as the user, and where libvirt has no label, QEMU is root's. libvirt answers
    within milliseconds, but a libvirtd that has never looked at the QEMU programs of its host does
    that first, for seconds.

    Args:
        hypervisor: The connection to libvirt.

    Raises:
        Libvirt: libvirt names a group that this host does not have.
    """
    if os.geteuid() != 0 or urlsplit(hypervisor.uri).path == "/session":
        return None
    return await hypervisor.call(_group)


def parse_group(capabilities: str) -> int | None:
    """The gid in the description of a host; None if QEMU's processes are root's.

    Raises:
        Libvirt: This host has no such group.
    """
    root = ElementTree.fromstring(capabilities)  # noqa: S314 -- libvirt wrote it
    labels = {
        label.get("type", ""): label.text or ""
        for model in root.iterfind("host/secmodel")
        if model.findtext("model") == "dac"
        for label in model.iterfind("baselabel")
    }
    for kind in _TYPES:
        if kind in labels:
            return _gid(labels[kind])
    return None


def _gid(label: str) -> int:
    _, _, group = label.partition(":")
    number = group.removeprefix("+")
    try:
        return int(number) if number.isascii() and number.isdigit() else grp.getgrnam(group).gr_gid
    except KeyError:
        raise Libvirt(
            f'libvirt reports that QEMU runs as "{label}", but this host has no group "{group}". '
            "Check user and group in qemu.conf."
        ) from None


def _group(connection: Connection) -> int | None:
    # Its configuration does not change while a libvirtd runs, and a new one is a new connection.
    if connection not in _known:
        _known[connection] = parse_group(str(connection.getCapabilities()))
    return _known[connection]
