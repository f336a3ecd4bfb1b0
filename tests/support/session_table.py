# SPDX-License-Identifier: LGPL-2.1-or-later
"""Compares processes of a session with their rows in the process table."""

import contextlib
import os
import pwd
import random
from collections.abc import AsyncIterator, Collection
from pathlib import Path

from tests.support.bus_daemon import session_bus
from tests.support.faulty_registry import Fault, FaultyRegistry
from tests.support.images import file, image, layer
from tests.support.job_watch import JOB, Watch, watching
from tests.support.leftovers import children_of
from tests.support.libvirt_host import LibvirtHost
from tests.support.process_table import Row, name_of, process_table
from tests.support.processes import Process, has_ended
from tests.support.virtlayerd import Daemon, virtlayerd
from tests.support.waiting import eventually
from virtlayer.keeper.users import QEMU_USER, WORKER_USER
from virtlayer.sizes import MIB

TABLE = process_table()
_SETTINGS = f"[storage]\nvirtual-size = {64 * MIB}\n"


def uid_of(row: Row, host: LibvirtHost) -> int:
    """Which user a process of a row has in a session of the owner of a libvirtd."""
    if host.owner != 0 or row.user in ("root", "virtlayer"):
        return host.owner
    assert row.user in (WORKER_USER, QEMU_USER)
    try:
        return pwd.getpwnam(row.user).pw_uid
    except KeyError:
        return pwd.getpwnam("nobody").pw_uid


async def compare(
    name: str, pid: int, host: LibvirtHost, *, keeper: int, working: bool = True
) -> None:
    """Compare a process with its row, when it has got as far.

    Args:
        name: The row.
        pid: The process.
        host: Its owner is the user of the session.
        keeper: The keeper.
        working: Whether the process has been passed what a request needs.
    """
    row = TABLE[name]

    def check() -> None:
        process = Process.seen(pid)
        parent = Process.seen(keeper).status.capabilities
        row.check_in_session(process.status, uid=uid_of(row, host), parent=parent)
        row.check_descriptors(process, working=working)

    await eventually(check)


@contextlib.asynccontextmanager
async def session(host: LibvirtHost, directory: Path) -> AsyncIterator[tuple[Daemon, Watch]]:
    """A running service of the owner of a libvirtd, and his client."""
    for name in ("bus", "home"):
        (directory / name).mkdir()
        host.hand_over(directory / name)
    with (
        session_bus(directory / "bus") as bus,
        virtlayerd(host, bus, directory / "home", settings=_SETTINGS) as daemon,
    ):
        connecting = watching(bus.address)
        # The service serves its own user alone.
        os.setresuid(host.owner, host.owner, 0)
        try:
            watch = await connecting.__aenter__()
        finally:
            os.setresuid(0, 0, 0)
        try:
            yield daemon, watch
        finally:
            await connecting.__aexit__(None, None, None)


async def compare_pull(
    host: LibvirtHost, directory: Path, pool: str, rows: Collection[str]
) -> None:
    """Compare the processes of a pull with their rows, and when each of them ends.

    Args:
        host: Its owner is the user of the session.
        directory: For the session.
        pool: A pool of the host.
        rows: All rows that there are processes of.
    """
    seed = random.Random(14)  # noqa: S311 -- no secret
    top = layer(file("top", seed.randbytes(2 * MIB)), compression="none")
    content = image([layer(file("base", b"base\n")), top])
    async with FaultyRegistry() as registry, session(host, directory) as (daemon, watch):
        source = registry.store(content, "table:1")
        registry.faults[content.layer_digests[-1]] = Fault.HANG_HALF_WAY
        job = await watch.pull(source, pool)

        def check_all_run() -> None:
            assert set(processes_of(daemon)) == set(rows)

        await eventually(check_all_run)
        processes = processes_of(daemon)
        for name in rows:
            await compare(name, processes[name], host, keeper=processes["virtlayer-keeper"])
        await watch.ask(job, JOB, "Cancel")
        await watch.finished(job)
        for name, pid in processes.items():
            ends_with_job = TABLE[name].lifetime in ("a job", "a source")
            assert has_ended(pid) == ends_with_job, name
        daemon.process.kill()

        def check_all_ended() -> None:
            assert all(map(has_ended, processes.values()))

        await eventually(check_all_ended)


def processes_of(daemon: Daemon) -> dict[str, int]:
    """The processes of a session by the names of their rows."""
    pids = _descendants(daemon.process.pid)
    commands = {pid: Path(f"/proc/{pid}/cmdline").read_text().split("\0") for pid in pids}
    named = {name_of(command): pid for pid, command in commands.items()}
    return {name: pid for name, pid in named.items() if name is not None}


def _descendants(pid: int) -> set[int]:
    """A process and all that it has started, directly or not."""
    return {pid}.union(*(_descendants(child) for child in children_of(pid)))
