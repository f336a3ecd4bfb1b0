# SPDX-License-Identifier: LGPL-2.1-or-later
"""Answers about domains; the other end is ``service.keeper.domains``."""

import asyncio
import functools

from virtlayer.errors import Internal, PoolInactive, PoolNotFound
from virtlayer.keeper.answers.answer import Turn
from virtlayer.keeper.answers.domain_logs import log_of
from virtlayer.keeper.answers.pools import active_pool_of
from virtlayer.keeper.domains.checks import check_boot_volumes, check_domain
from virtlayer.keeper.domains.console import open_console
from virtlayer.keeper.domains.control import control
from virtlayer.keeper.domains.define import define_domain
from virtlayer.keeper.domains.input import connect_input
from virtlayer.keeper.domains.listing import named_domain
from virtlayer.keeper.domains.local_files import rbd_machine
from virtlayer.keeper.domains.ports import open_log
from virtlayer.keeper.domains.probe import probe_kvm
from virtlayer.keeper.domains.removal import remove_domain
from virtlayer.keeper.drivers import driver_of, drivers
from virtlayer.protocol import calls
from virtlayer.protocol.answering import answer
from virtlayer.protocol.domains import (
    Boot,
    Control,
    ControlDomain,
    Controlled,
    DefineDomain,
    DomainDefined,
    Domains,
    KnownDomain,
    ListDomains,
    OpenPort,
    Port,
    PortOpened,
    Step,
)
from virtlayer.protocol.memory_files import received_contents
from virtlayer.sizes import MIB

_CONTENT_LIMIT = 16 * MIB
"""Bytes of a configuration or a seed."""
_POLL_SECONDS = 60.0
"""How long an answer may wait for a change."""


async def _define(turn: Turn, request: DefineDomain) -> DomainDefined:
    if request.step is Step.CHECK:
        return await check_domain(turn.domains, request)
    if request.claim is None:
        raise Internal("A domain cannot be defined without a claim.")
    pool = await active_pool_of(turn, request.pool)
    claim = turn.holdings.claim(request.claim, pool)
    if request.step is Step.PROBE_KVM:
        if request.boot is Boot.CONTAINER:
            raise Internal("A container does not use KVM.")
        kind = turn.kinds.of(pool)
        await check_boot_volumes(kind, pool, request)
        await probe_kvm(turn.domains, kind, pool, request)
        return await check_domain(turn.domains, request)
    number = request.has_config + request.has_seed
    contents = received_contents(turn.descriptors, number, _CONTENT_LIMIT)
    return await define_domain(turn.domains, turn.kinds.of(pool), claim, request, contents)


async def _list(turn: Turn, request: ListDomains) -> Domains:
    events = turn.domains.events
    await events.watch()
    if request.since is not None:
        await events.changed(request.since, _POLL_SECONDS)
        # The connection may have been lost meanwhile.
        await events.watch()
    # Taken first: a change during the listing gives another number.
    generation = events.generation
    # Without a change that libvirt reports, there is time to find others.
    anew = request.since in (None, generation)
    found: list[KnownDomain] = []
    for driver in await drivers(turn.hypervisor):
        if request.name is None:
            found += await turn.domains.known.list(driver, anew=anew)
        else:
            found += await driver.call(named_domain, request.name)
    return Domains(generation=generation, domains=tuple(found))


async def _control(turn: Turn, request: ControlDomain) -> Controlled:
    if request.action is Control.REMOVE:
        pool = await active_pool_of(turn, request.pool)
        await remove_domain(turn.domains, turn.kinds.of(pool), pool, request.uuid)
        return Controlled(state=None)
    if request.action is Control.START:
        await _prepare_start(turn, request.uuid)
    try:
        return Controlled(state=await control(turn.domains, request.uuid, request.action))
    finally:
        # The event may come after this answer.
        turn.domains.known.changed(request.uuid)


async def _prepare_start(turn: Turn, uuid: str) -> None:
    """If a machine is on an RBD pool, see that its volume and its local files are there.

    QEMU waits for a cluster that does not answer, and libvirt for QEMU.

    Raises:
        PoolUnavailable: The cluster does not answer.
        VirtlayerError: The machine cannot be started.
    """
    machine = await rbd_machine(turn.hypervisor, turn.kinds.local_files, uuid)
    if machine is None:
        return
    try:
        pool = await active_pool_of(turn, machine.pool)
    except (PoolNotFound, PoolInactive):
        if machine.missing:
            raise
        # QEMU does not need libvirt's pool.
        return
    kind = turn.kinds.of(pool)
    await kind.check_made(pool, machine.volume, is_directory=False)
    async with kind.providing(pool, machine.missing):
        # It is a domain that names them: they stay.
        pass


async def _open_port(turn: Turn, request: OpenPort) -> PortOpened:
    opened = await _opened(turn, request)
    if opened is not None:
        turn.reply_descriptors.append(opened)
    return PortOpened(exists=opened is not None)


async def _opened(turn: Turn, request: OpenPort) -> int | None:
    domains, uuid = turn.domains, request.uuid
    match request.port:
        case Port.INPUT:
            connect = functools.partial(connect_input, domains.hypervisor, uuid)
            return await domains.relays.open(uuid, "input", connect)
        case Port.CONSOLE:
            driver = await driver_of(turn.hypervisor, uuid)
            console = functools.partial(open_console, driver, uuid)
            return await domains.relays.open(uuid, "console", console)
    log = await log_of(turn, uuid, request.port)
    if log is None:
        return None
    return await asyncio.to_thread(open_log, log, request.rotated, turn.descriptors)


ANSWERS = (
    answer(calls.DEFINE_DOMAIN, _define, takes_descriptors=True),
    answer(calls.LIST_DOMAINS, _list),
    answer(calls.CONTROL_DOMAIN, _control),
    answer(calls.OPEN_PORT, _open_port, takes_descriptors=True),
)
