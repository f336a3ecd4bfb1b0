# SPDX-License-Identifier: LGPL-2.1-or-later
"""Finds the IP addresses of a running machine, as far as libvirt knows them."""

import contextlib
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

from virtlayer.keeper.binding import libvirt
from virtlayer.keeper.domains.description import Found
from virtlayer.keeper.domains.devices import AGENT_PORT

type _Domain = libvirt.virDomain

_AGENT_SECONDS = 1
"""How long the guest may take to answer."""
_ADDRESSES_LIMIT = 64


def addresses_of(domain: _Domain, found: Found) -> tuple[str, ...]:
    """Return the addresses, from the first source that knows any.

    The sources are the leases of libvirt's network, the host's table of neighbours, and the guest
    agent. What the guest agent says is the guest's own claim.

    Args:
        domain: The domain.
        found: Its description.
    """
    sources = [
        libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE,
        libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP,
    ]
    if _has_agent(found):
        with contextlib.suppress(libvirt.libvirtError):
            domain.agentSetResponseTimeout(_AGENT_SECONDS)
            sources.append(libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT)
    for source in sources:
        addresses = tuple(_from(domain, source))[:_ADDRESSES_LIMIT]
        if addresses:
            return addresses
    return ()


def _from(domain: _Domain, source: int) -> Iterator[str]:
    interfaces: dict[str, Any] = {}
    # The domain does not run, or the source is not supported.
    with contextlib.suppress(libvirt.libvirtError, UnicodeDecodeError):
        interfaces = domain.interfaceAddresses(source, 0)
    for interface in interfaces.values():
        for one in interface.get("addrs") or ():
            with contextlib.suppress(ValueError):
                address = ip_address(one["addr"])
                if not address.is_loopback and not address.is_link_local:
                    yield str(address)


def _has_agent(found: Found) -> bool:
    """Whether a program in the guest has opened the agent's port."""
    return any(
        target.get("name") == AGENT_PORT and target.get("state") == "connected"
        for target in found.root.iterfind("devices/channel/target")
    )
