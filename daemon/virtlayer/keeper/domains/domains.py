# SPDX-License-Identifier: LGPL-2.1-or-later
"""What this process knows about the domains of its connection to libvirt."""

import asyncio
from pathlib import Path

from virtlayer.keeper.connection import Hypervisor
from virtlayer.keeper.domains.events import DomainEvents
from virtlayer.keeper.domains.host import HostCapabilities
from virtlayer.keeper.domains.known_domains import KnownDomains
from virtlayer.keeper.domains.kvm import Kvm
from virtlayer.keeper.domains.relay import Relays


class Domains:
    """The domains of one libvirt connection, for all connections of the service.

    Args:
        hypervisor: The connection to libvirt.
        runtime: A directory below /run of this process's own; None if there is none.

    Attributes:
        hypervisor: The connection to libvirt.
        known: Those of ours, as they were read last.
        events: The changes of its domains.
        capabilities: What this host can run.
        kvm: Whether KVM runs guests.
        relays: The open ports of domains.
        defining: Held while a domain is defined: nothing is defined between its checks and it.
        probing: Held while it is found out if KVM runs guests.
    """

    def __init__(self, hypervisor: Hypervisor, runtime: Path | None) -> None:
        self.hypervisor = hypervisor
        self.known = KnownDomains()
        self.events = DomainEvents(hypervisor, self.known.changed)
        self.capabilities = HostCapabilities()
        self.kvm = Kvm(runtime)
        self.relays = Relays()
        self.defining = asyncio.Lock()
        self.probing = asyncio.Lock()
