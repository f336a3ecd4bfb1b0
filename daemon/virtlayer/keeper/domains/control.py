# SPDX-License-Identifier: LGPL-2.1-or-later
"""Starts, stops and removes domains of ours."""

from collections.abc import Callable
from dataclasses import replace

from virtlayer.errors import DomainFailed, DomainNotFound, Libvirt
from virtlayer.keeper.binding import libvirt
from virtlayer.keeper.connection import Connection
from virtlayer.keeper.domains.domains import Domains
from virtlayer.keeper.domains.listing import OwnDomain, own_domain
from virtlayer.keeper.domains.metadata import NAMESPACE, PREFIX
from virtlayer.keeper.drivers import driver_of
from virtlayer.protocol.domains import Control, State

_ACTIVE = (State.RUNNING, State.PAUSED, State.STOPPING, State.CREATED)


async def control(domains: Domains, uuid: str, action: Control) -> State | None:
    """Start a domain of ours, press its power button, or end it.

    Args:
        domains: The domains.
        uuid: The domain.
        action: Not REMOVE: see ``removal``.

    Returns:
        Its state; None if it no longer exists.

    Raises:
        DomainNotFound: There is no such domain of ours.
        DomainFailed: It does not start.
        VirtlayerError: libvirt cannot do it.
    """
    do = {
        Control.START: _start,
        Control.PRESS_BUTTON: _press_button,
        Control.DESTROY: _destroy,
    }[action]
    driver = await driver_of(domains.hypervisor, uuid)
    try:
        await driver.call(do, uuid)
    except Libvirt as error:
        if action is Control.START:
            raise DomainFailed(f"The machine did not start. {error.message}") from error
        raise
    return await driver.call(_state, uuid)


def _state(connection: Connection, uuid: str) -> State | None:
    try:
        return own_domain(connection, uuid).state
    except DomainNotFound:
        return None


def _start(connection: Connection, uuid: str) -> None:
    own = own_domain(connection, uuid)
    if own.state is State.CREATED and not own.domain.isActive():
        own.domain.create()
        # From now on it disappears when it stops.
        own.domain.undefine()
        return
    if own.state is State.CREATED:
        # Noted first: one that was resumed has the state "running" or "paused" from then on.
        resumed = replace(own.found.metadata, was_resumed=True).text()
        kind, live = libvirt.VIR_DOMAIN_METADATA_ELEMENT, libvirt.VIR_DOMAIN_AFFECT_LIVE
        own.domain.setMetadata(kind, resumed, PREFIX, NAMESPACE, live)
    if own.state in (State.CREATED, State.PAUSED):
        own.domain.resume()
    elif own.state not in _ACTIVE:
        own.domain.create()


def _press_button(connection: Connection, uuid: str) -> None:
    own = own_domain(connection, uuid)
    if own.state in (State.RUNNING, State.STOPPING):
        _unless_ended(lambda: own.domain.shutdownFlags(_button(own)))


def _button(own: OwnDomain) -> int:
    is_container = own.found.root.get("type") == "lxc"
    if is_container:
        return int(libvirt.VIR_DOMAIN_SHUTDOWN_SIGNAL)
    return int(libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN)


def _destroy(connection: Connection, uuid: str) -> None:
    own = own_domain(connection, uuid)
    if own.state is State.CREATED and not own.domain.isActive():
        own.domain.undefine()
    elif own.state in _ACTIVE:
        _unless_ended(own.domain.destroy)


def _unless_ended(act: Callable[[], object]) -> None:
    """Do something to a running domain; nothing happens if it has just ended."""
    try:
        act()
    except libvirt.libvirtError as error:
        ended = (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_INVALID)
        if error.get_error_code() not in ended:
            raise
