# SPDX-License-Identifier: LGPL-2.1-or-later
"""Lists the domains that virtlayer has made; the functions are for ``Hypervisor.call``."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from virtlayer.errors import DomainNotFound
from virtlayer.keeper.binding import libvirt
from virtlayer.keeper.connection import Connection
from virtlayer.keeper.domains.addresses import addresses_of
from virtlayer.keeper.domains.description import Found, known_domain, parse_domain, state_of
from virtlayer.protocol.domains import KnownDomain, State

type Domain = libvirt.virDomain


@dataclass(frozen=True, slots=True)
class OwnDomain:
    """A domain of ours.

    Attributes:
        domain: libvirt's object.
        found: Its description.
        state: Its state.
        is_persistent: Whether it stays when it stops.
    """

    domain: Domain
    found: Found
    state: State
    is_persistent: bool


def read_domains(
    connection: Connection, known: Mapping[str, KnownDomain | None]
) -> dict[str, KnownDomain | None]:
    """Return all domains by UUID; None for one that is not of ours, or ends meanwhile.

    Args:
        connection: The connection to libvirt.
        known: Those that are not read again.
    """
    found: dict[str, KnownDomain | None] = {}
    for domain in connection.listAllDomains():
        uuid = domain.UUIDString()
        if uuid in known:
            found[uuid] = known[uuid]
        else:
            found[uuid] = _present(partial(_listed, domain, with_addresses=False))
    return found


def named_domain(connection: Connection, name: str) -> list[KnownDomain]:
    """Return the domain of ours that has this name, with its addresses; an empty list if none."""
    look_up = connection.lookupByName
    found = _present(lambda: _listed(look_up(name), with_addresses=True))
    return [] if found is None else [found]


def own_domain(connection: Connection, uuid: str) -> OwnDomain:
    """Look up a domain of ours.

    Raises:
        DomainNotFound: There is none with this UUID, or virtlayer has not made it.
    """
    own = _present(lambda: _own(connection.lookupByUUIDString(uuid)))
    if own is None:
        raise DomainNotFound(f"No domain with the UUID {uuid} was made by virtlayer.")
    return own


def has_domain(connection: Connection, uuid: str) -> bool:
    """Whether there is a domain with this UUID, of ours or not."""
    return _present(lambda: connection.lookupByUUIDString(uuid)) is not None


def has_name(connection: Connection, name: str) -> bool:
    """Whether there is a domain with this name, of ours or not."""
    return _present(lambda: connection.lookupByName(name)) is not None


def _listed(domain: Domain, *, with_addresses: bool) -> KnownDomain | None:
    own = _own(domain)
    return None if own is None else _known(own, with_addresses=with_addresses)


def _own(domain: Domain) -> OwnDomain | None:
    found = parse_domain(domain.XMLDesc())
    if found is None:
        return None
    is_persistent = bool(domain.isPersistent())
    number, reason = domain.state()
    state = state_of(number, reason, found.metadata, is_persistent=is_persistent)
    return OwnDomain(domain, found, state, is_persistent)


def _known(own: OwnDomain, *, with_addresses: bool) -> KnownDomain:
    return known_domain(
        own.found,
        own.state,
        is_persistent=own.is_persistent,
        autostart=own.is_persistent and bool(own.domain.autostart()),
        addresses=addresses_of(own.domain, own.found) if with_addresses else (),
    )


def _present[T](ask: Callable[[], T]) -> T | None:
    """Return what libvirt answers, or None if the domain does not exist."""
    try:
        return ask()
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise
