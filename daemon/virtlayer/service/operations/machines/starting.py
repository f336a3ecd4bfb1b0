# SPDX-License-Identifier: LGPL-2.1-or-later
"""Starts a machine, and waits until it has reached its init."""

import asyncio
from dataclasses import dataclass

from virtlayer.cancellation import stopped
from virtlayer.errors import DomainFailed
from virtlayer.protocol.domains import Control, Port, State
from virtlayer.service.jobs.job import Job
from virtlayer.service.jobs.progress import Stage
from virtlayer.service.machines.log_files import NewOutput, last_lines, new_output
from virtlayer.service.operations.machines.domain_lookup import states_of
from virtlayer.service.operations.services import Services

_INIT_SECONDS = 120.0
_RUNS = (State.RUNNING, State.STOPPING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Startable:
    """A machine that can be started.

    Attributes:
        name: The name of its domain.
        uuid: The UUID of its domain.
        pool: The UUID of the pool of its volume.
        has_streams: Whether it has our init, which reports that it runs.
    """

    name: str
    uuid: str
    pool: str
    has_streams: bool


async def start_machine(services: Services, machine: Startable, job: Job) -> None:
    """Start a machine; one with our init has started what the image starts then.

    Raises:
        DomainFailed: It did not start, or did not reach its init.
        VirtlayerError: libvirt cannot start it.
    """
    job.report.set_stage(Stage.STARTING)
    domains = services.keeper.domains
    if not machine.has_streams:
        state = await domains.control(machine.uuid, machine.pool, Control.START)
        if state not in _RUNS:
            raise await _failure(services, machine, _words(state))
        return
    async with new_output(domains, machine.uuid) as output:
        await domains.control(machine.uuid, machine.pool, Control.START)
        await _reach_init(services, machine, output)


async def _reach_init(services: Services, machine: Startable, output: NewOutput) -> None:
    reaching = asyncio.create_task(output.init())
    ending = asyncio.create_task(_end(services, machine.uuid))
    both = (reaching, ending)
    try:
        await asyncio.wait(both, timeout=_INIT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await stopped(*both)
    if not reaching.cancelled():
        reaching.result()
    elif ending.cancelled():
        raise await _failure(services, machine, f"did not reach its init in {_INIT_SECONDS:.0f} s")
    # What ends soon may have written that it runs just before.
    elif not await output.has_init():
        raise await _failure(services, machine, f"{_words(ending.result())} before its init ran")


async def _end(services: Services, uuid: str) -> State | None:
    """Wait until a machine no longer runs; its state then."""
    async for state in states_of(services, uuid):
        if state not in _RUNS:
            return state
    raise AssertionError("the states have no end")


async def _failure(services: Services, machine: Startable, what: str) -> DomainFailed:
    domains = services.keeper.domains
    text = f'The machine "{machine.name}" {what}.'
    for port, whose in ((Port.KERNEL_LOG, "kernel"), (Port.QEMU_LOG, "QEMU")):
        if lines := await last_lines(domains, machine.uuid, port):
            text += f" The last lines of its {whose}: {lines}"
    return DomainFailed(text)


def _words(state: State | None) -> str:
    match state:
        case State.PAUSED | State.CREATED:
            return "was paused by libvirt"
        case State.CRASHED:
            return "crashed"
        case _:
            return "stopped"
