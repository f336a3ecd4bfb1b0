# SPDX-License-Identifier: LGPL-2.1-or-later
"""Finds the IP addresses of a running machine, as far as libvirt knows them."""

import contextlib
import threading
from collections.abc import Iterator
from ipaddress import ip_address
from itertools import islice
from typing import Any

from virtlayer.keeper.binding import libvirt
from virtlayer.keeper.domains.description import Found
from virtlayer.keeper.domains.devices import AGENT_PORT

type _Domain = libvirt.virDomain

_AGENT_SECONDS = 1
"""How long the guest may take to answer."""
_ASKED_AT_A_TIME = 3
"""libvirtd takes 5 calls of one connection at a time; 2 remain for everything else."""
_ADDRESSES_LIMIT = 64
_asked: set[str] = set()
"""The UUIDs of the guests that are being asked."""
_asked_lock = threading.Lock()


def addresses_of(domain: _Domain, found: Found) -> tuple[str, ...]:
    """Return the addresses, from the first source that knows any.

    The sources are the leases of libvirt's network, the host's table of neighbours, and the guest
    agent. What the guest agent says is the guest's own claim. It is asked once at a time, and few
    guests are asked at the same time: a guest that does not answer must not hold up other calls.

    Args:
        domain: The domain.
        found: Its description.
    """
    for source in (
        libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE,
        libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP,
    ):
        if addresses := _from(domain, source):
            return addresses
    return _from_agent(domain) if _has_agent(found) else ()


def _from_agent(domain: _Domain) -> tuple[str, ...]:
    uuid = domain.UUIDString()
    with _asked_lock:
        if uuid in _asked or len(_asked) >= _ASKED_AT_A_TIME:
            return ()
        _asked.add(uuid)
    try:
        domain.agentSetResponseTimeout(_AGENT_SECONDS)
        return _from(domain, libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT)
    except libvirt.libvirtError:
        return ()
    finally:
        with _asked_lock:
            _asked.discard(uuid)


def _from(domain: _Domain, source: int) -> tuple[str, ...]:
    return tuple(islice(_every(domain, source), _ADDRESSES_LIMIT))


def _every(domain: _Domain, source: int) -> Iterator[str]:
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
