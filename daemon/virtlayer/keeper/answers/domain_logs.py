# SPDX-License-Identifier: LGPL-2.1-or-later
"""Finds the log file of a domain, also of one that has ended."""

import contextlib
from pathlib import Path

from virtlayer.errors import DomainNotFound, VirtlayerError
from virtlayer.keeper.answers.answer import Turn
from virtlayer.keeper.answers.pools import pool_of
from virtlayer.keeper.domains.listing import own_domain
from virtlayer.keeper.domains.logs import Logs, log_directory
from virtlayer.keeper.drivers import driver_of
from virtlayer.keeper.kinds.domain_note import DomainNote
from virtlayer.protocol.domain_files import output_file
from virtlayer.protocol.domains import DomainType, Port
from virtlayer.protocol.host_id import host_id
from virtlayer.protocol.pools import Pool


async def log_of(turn: Turn, uuid: str, port: Port) -> Path | None:
    """Return the path of a log file, which need not exist; None if nothing is known of the domain.

    Args:
        turn: The request.
        uuid: The domain.
        port: OUTPUT, KERNEL_LOG or QEMU_LOG.
    """
    uri = turn.domains.hypervisor.uri
    logs = Logs(log_directory(uri, DomainType.QEMU), uuid)
    if port is Port.KERNEL_LOG:
        return logs.console
    pool, note = await _note(turn, uuid)
    if port is Port.OUTPUT:
        is_container = pool is not None and note is not None and note.is_container
        return pool.path / output_file(uuid) if pool and is_container else logs.output
    if note is None:
        return None
    kind = DomainType.LXC if note.is_container else DomainType.QEMU
    return log_directory(uri, kind) / f"{note.name}.log"


async def _note(turn: Turn, uuid: str) -> tuple[Pool | None, DomainNote | None]:
    """The pool of a domain, and the note about it there; None if there is none."""
    pools = dict(turn.holdings.pools)
    with contextlib.suppress(DomainNotFound, VirtlayerError):
        driver = await driver_of(turn.hypervisor, uuid)
        own = await driver.call(own_domain, uuid)
        pool = await pool_of(turn, own.found.metadata.pool)
        # First of all.
        pools = {pool.uuid: pool, **pools}
    here = host_id()
    for pool in pools.values():
        with contextlib.suppress(VirtlayerError):
            note = (await turn.kinds.of(pool).noted_domains(pool)).get(uuid)
            if note is not None and note.host == here:
                return pool, note
    return None, None
