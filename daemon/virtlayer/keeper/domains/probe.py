# SPDX-License-Identifier: LGPL-2.1-or-later
"""Finds out whether KVM runs guests, with a machine that powers off at once.

It has a kernel, our initrd and no disk: our init finds no configuration, and powers off. For a
machine without our initrd there may be no such kernel. Then the firmware alone is run: it finds no
disk, and reboots. That shows less: if it fails, KVM does not work; if not, a kernel may still fail.
"""

import asyncio
import contextlib
import os
import uuid
from dataclasses import replace
from pathlib import Path

from virtlayer.errors import Libvirt, PoolUnavailable
from virtlayer.keeper.beneath import NotRegular, open_directory, open_regular, opened
from virtlayer.keeper.binding import libvirt
from virtlayer.keeper.connection import Connection
from virtlayer.keeper.domains.architecture import host_architecture
from virtlayer.keeper.domains.domains import Domains
from virtlayer.keeper.domains.events import Event
from virtlayer.keeper.domains.kvm import Verdict
from virtlayer.keeper.domains.listing import has_domain
from virtlayer.keeper.domains.logs import Logs, log_directory, make_log_directory, remove_logs
from virtlayer.keeper.domains.xml import Machine, machine_xml
from virtlayer.keeper.kinds.kind import PoolKind
from virtlayer.protocol.domains import Boot, DefineDomain, DomainType, Network, NetworkKind
from virtlayer.protocol.pools import Pool
from virtlayer.sizes import MIB

_SECONDS = 20.0
_MEMORY = 256 * MIB
_LOG_READ = 4096
_LINES = 5


async def probe_kvm(domains: Domains, kind: PoolKind, pool: Pool, request: DefineDomain) -> None:
    """Start a machine with KVM and wait for its end; the verdict is kept.

    Nothing is started if the verdict is known. What the firmware shows is kept if it fails.

    Args:
        domains: The domains.
        kind: What can be done with the pool.
        pool: The pool of the kernel and the initrd, which were checked.
        request: What the service asked for: how it boots, kernel and initrd.

    Raises:
        VirtlayerError: libvirt does not answer.
    """
    by_firmware = request.boot is not Boot.OWN_INITRD
    async with domains.probing:
        known = domains.kvm.verdict() is not None or (by_firmware and domains.kvm.runs_firmware)
        if known or (by_firmware and not host_architecture().has_bios):
            return
        # The UUID of the request could be that of another machine, which would be ended.
        own = _probe(replace(request, uuid=str(uuid.uuid4())))
        boot_volumes = [name for name in (own.kernel, own.initrd) if name is not None]
        async with kind.providing(pool, boot_volumes):
            verdict = await _probed(domains, kind, pool, own)
        if by_firmware and verdict.works:
            domains.kvm.runs_firmware = True
        else:
            domains.kvm.keep(verdict)


async def _probed(domains: Domains, kind: PoolKind, pool: Pool, request: DefineDomain) -> Verdict:
    logs = Logs(log_directory(domains.hypervisor.uri, DomainType.KVM), request.uuid)
    await asyncio.to_thread(make_log_directory, logs.directory)
    name = request.name
    machine = Machine(
        request=request,
        type=DomainType.KVM,
        network=Network(kind=NetworkKind.NONE),
        architecture=host_architecture(),
        storage=await kind.machine_storage(pool, None),
        logs=logs,
    )
    call, reason, detail = domains.hypervisor.call, "", ""
    try:
        await domains.events.watch()
        with domains.events.of(request.uuid) as events:
            await call(_create, request.uuid, machine_xml(machine))
            reason = await _reason(events)
    except PoolUnavailable:
        raise
    except Libvirt as error:
        reason, detail = "QEMU does not start", error.message
    finally:
        with contextlib.suppress(Libvirt):
            await call(_destroy, request.uuid)
        log = await asyncio.to_thread(last_lines, logs.directory, f"{name}.log")
        await asyncio.to_thread(
            remove_logs, logs.directory, [f"{name}.log", logs.console.name, logs.output.name]
        )
    return Verdict(not reason, reason, (log or detail) if reason else "")


def _probe(request: DefineDomain) -> DefineDomain:
    """The machine that is started: nothing but a kernel and our initrd, or the firmware."""
    has_kernel = request.boot is Boot.OWN_INITRD
    return replace(
        request,
        kernel=request.kernel if has_kernel else None,
        initrd=request.initrd if has_kernel else None,
        name=f"virtlayer-probe-{request.uuid}",
        memory=_MEMORY,
        processors=1,
        disk=None,
        has_config=False,
        has_seed=False,
        has_streams=True,
        ephemeral=True,
        os_id="",
    )


async def _reason(events: asyncio.Queue[Event | None]) -> str:
    """Wait for the end of the machine; return why KVM does not run it, or "" if it does."""
    try:
        async with asyncio.timeout(_SECONDS):
            while True:
                event = await events.get()
                if event is None:
                    raise PoolUnavailable(
                        "libvirtd ended while a machine was tried with KVM. Try again."
                    )
                reason = _meaning(event)
                if reason is not None:
                    return reason
    except TimeoutError:
        return f"a machine that powers off at once still ran after {_SECONDS:.0f} s"


def _meaning(event: Event) -> str | None:
    """What an event says about KVM; None if it says nothing."""
    if event.type == libvirt.VIR_DOMAIN_EVENT_SUSPENDED:
        return "a machine was paused by an error of the processor's emulation"
    if event.type == libvirt.VIR_DOMAIN_EVENT_CRASHED:
        return "a machine crashed"
    if event.type == libvirt.VIR_DOMAIN_EVENT_STOPPED:
        powered_off = event.detail == libvirt.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN
        return "" if powered_off else "QEMU ended with an error"
    return None


def _create(connection: Connection, uuid: str, description: str) -> None:
    if not has_domain(connection, uuid):
        # It ends with the connection: nothing is left if this process is killed.
        connection.createXML(description, libvirt.VIR_DOMAIN_START_AUTODESTROY)


def _destroy(connection: Connection, uuid: str) -> None:
    if has_domain(connection, uuid):
        connection.lookupByUUIDString(uuid).destroy()


def last_lines(directory: Path, name: str) -> str:
    """Return QEMU's own last lines in a log of libvirt's, without its command line."""
    try:
        with opened(open_directory(directory)) as parent, opened(open_regular(parent, name)) as log:
            size = os.fstat(log).st_size
            text = os.pread(log, _LOG_READ, max(0, size - _LOG_READ)).decode(errors="replace")
    except (FileNotFoundError, NotRegular):
        return ""
    lines = text.splitlines()
    # Of the command line, all lines but the last one end like this.
    command = [number for number, line in enumerate(lines) if line.endswith("\\")]
    own = lines[command[-1] + 2 :] if command else lines
    return "\n".join(own[-_LINES:])
