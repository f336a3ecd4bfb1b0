# SPDX-License-Identifier: LGPL-2.1-or-later
"""The processes of RBD pools: started, shared, ended; and what becomes of the key."""

import asyncio
import base64
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.ceph import CephPool, OneNodeCeph
from tests.support.leftovers import children_of
from tests.support.libvirt_host import LibvirtHost
from tests.support.raw_keeper import raw_keeper
from tests.support.rbd_process import sealed
from tests.support.waiting import PATIENCE, stop, until
from virtlayer.errors import Internal, PoolUnavailable, PoolUnsupported
from virtlayer.keeper.connection import Hypervisor
from virtlayer.keeper.kinds.rbd import process as process_module
from virtlayer.keeper.kinds.rbd import processes as processes_module
from virtlayer.keeper.kinds.rbd import watching
from virtlayer.keeper.kinds.rbd.process import own_process, system_process
from virtlayer.keeper.kinds.rbd.processes import RbdProcess, RbdProcesses
from virtlayer.keeper.kinds.rbd.received import received_pidfd, received_pipe, received_records
from virtlayer.keeper.pools import Pools
from virtlayer.protocol import rbd
from virtlayer.protocol.calls import Nothing
from virtlayer.protocol.pools import Pool


@dataclass(frozen=True, slots=True)
class Keeping:
    """The part of a keeper that has the processes."""

    hypervisor: Hypervisor
    pools: Pools
    processes: RbdProcesses

    async def process(self, pool: Pool) -> RbdProcess:
        """The process of a pool."""
        return await self.processes.of(pool)


@pytest.fixture
async def keeping(host: LibvirtHost) -> AsyncIterator[Keeping]:
    async with Hypervisor(host.uri) as hypervisor:
        processes = RbdProcesses(hypervisor, own_process)
        yield Keeping(hypervisor, Pools(hypervisor), processes)
        await processes.close()


@pytest.fixture
async def images(host: LibvirtHost, pool: CephPool, keeping: Keeping) -> Pool:
    """The pool of the test, as libvirt has it."""
    pool.define_in(host, pool.name)
    return await keeping.pools.get(pool.name)


def process_ids() -> set[int]:
    """The processes of pools that are children of this one."""
    return {
        pid
        for pid in children_of(os.getpid())
        if b"virtlayer.rbd" in Path(f"/proc/{pid}/cmdline").read_bytes()
    }


def arguments_and_environments() -> Iterator[bytes]:
    """What all processes of this machine show."""
    for process in Path("/proc").glob("[0-9]*"):
        for part in ("cmdline", "environ"):
            with contextlib.suppress(OSError):
                yield (process / part).read_bytes()


async def test_pool_has_one_process_which_knows_its_cluster(
    ceph: OneNodeCeph, images: Pool, keeping: Keeping
) -> None:
    found = await asyncio.gather(*(keeping.process(images) for _ in range(5)))
    assert len(set(found)) == 1
    assert found[0].opened.cluster == ceph.fsid
    assert len(process_ids()) == 1


async def test_unused_process_ends_and_the_next_request_starts_another(
    images: Pool, keeping: Keeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes_module, "IDLE_SECONDS", 0.1)
    process = await keeping.process(images)
    process.hold()
    await process.ask(rbd.SPACE, Nothing())
    await asyncio.sleep(0.3)
    assert not process.ended
    process.let_go()
    await until(lambda: not process_ids())
    assert await keeping.process(images) is not process


async def test_killed_process_is_reported_and_started_again(
    ceph: OneNodeCeph, images: Pool, keeping: Keeping
) -> None:
    process = await keeping.process(images)
    with ceph.stalled():
        asking = asyncio.create_task(process.ask(rbd.FIND_IMAGES, rbd.FindImages(None)))
        await asyncio.sleep(0)
        for pid in process_ids():
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(PoolUnavailable, match=f'process of the pool "{images.name}"'):
            await asking
    with pytest.raises(PoolUnavailable):
        await process.ask(rbd.SPACE, Nothing())
    again = await keeping.process(images)
    assert (await again.ask(rbd.FIND_IMAGES, rbd.FindImages(None))).images == ()


async def test_stopped_process_is_given_up(
    images: Pool, keeping: Keeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "INTERVAL", 0.1)
    monkeypatch.setattr(watching, "ANSWER_SECONDS", 3.0)
    monkeypatch.setattr(process_module, "_END_SECONDS", 0.1)
    process = await keeping.process(images)
    [stopped] = process_ids()
    stop(stopped)
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(PoolUnavailable, match="stopped"):
            await process.ask(rbd.SPACE, Nothing())
        # The next process can take longer to start.
        monkeypatch.undo()
        again = await keeping.process(images)
        assert (await again.ask(rbd.FIND_IMAGES, rbd.FindImages(None))).images == ()
    assert stopped not in process_ids()


async def test_request_without_an_answer_fails(
    ceph: OneNodeCeph, images: Pool, keeping: Keeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = await keeping.process(images)
    monkeypatch.setattr(processes_module, "REQUEST_SECONDS", 0.2)
    with ceph.stalled(), pytest.raises(PoolUnavailable, match="stopped"):
        await process.ask(rbd.FIND_IMAGES, rbd.FindImages(None))
    assert process.ended


async def test_descriptors_of_another_kind_are_refused(tmp_path: Path) -> None:
    """A compromised process can send any; closing a socket can block."""
    reading, writing = os.pipe()
    here, there = socket.socketpair()
    file = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    process = os.pidfd_open(os.getpid())
    assert received_pipe([writing]) == writing
    assert received_pidfd([process]) == process
    with sealed(b"{}") as records:
        assert received_records([records]) == records
    for received in (received_pipe, received_pidfd, received_records):
        for descriptors in ([], [here.fileno()], [file], [reading, writing]):
            with pytest.raises(Internal):
                received([os.dup(one) for one in descriptors])
    for descriptor in (reading, writing, file, process):
        os.close(descriptor)
    here.close()
    there.close()


async def test_request_whose_caller_is_cancelled_is_undone(images: Pool, keeping: Keeping) -> None:
    process = await keeping.process(images)
    made, undone = asyncio.Event(), asyncio.Event()

    async def make() -> str:
        await made.wait()
        return "it"

    async def undo(what: str) -> None:
        assert what == "it"
        undone.set()

    making = asyncio.create_task(process.made(make(), undo))
    await asyncio.sleep(0)
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    assert not undone.is_set()
    made.set()
    await asyncio.wait_for(undone.wait(), PATIENCE)


async def test_key_is_in_no_argument_environment_log_or_error(
    host: LibvirtHost, ceph: OneNodeCeph, pool: CephPool
) -> None:
    secret = pool.define_in(host, "secretive")
    with raw_keeper(host.uri) as keeper:
        found = keeper.get("find-pool", name="secretive")
        assert (found["kind"], found["path"]) == ("rbd", pool.name)
        assert keeper.get("space", pool=found["uuid"]) == {"bytes": None}
        texts = list(arguments_and_environments())
        # The keeper, its own process, and those of this test are among them.
        assert any(b"virtlayer.rbd" in text for text in texts)
        keeper.connection.close()
        log = keeper.ended()[1]
    host.virsh("secret-set-value", secret, "--base64", ceph.another_key())
    with raw_keeper(host.uri) as keeper:
        refused = keeper.ask("space", pool=found["uuid"])
        keeper.connection.close()
        log += keeper.ended()[1]
    assert refused.error == "PoolUnavailable"
    for key in (pool.key.encode(), base64.b64decode(pool.key), pool.key[8:24].encode()):
        assert not any(key in text for text in (*texts, log.encode(), refused.text.encode()))


async def test_private_secret_is_refused(
    host: LibvirtHost, pool: CephPool, keeping: Keeping
) -> None:
    pool.define_in(host, "private", private=True)
    private = await keeping.pools.get("private")
    with pytest.raises(PoolUnsupported, match="is private"):
        await keeping.process(private)
    assert not process_ids()


async def test_process_is_not_reached_without_its_socket(
    host: LibvirtHost, images: Pool, tmp_path: Path
) -> None:
    async with Hypervisor(host.uri) as hypervisor:
        processes = RbdProcesses(hypervisor, lambda: system_process(tmp_path / "socket"))
        with pytest.raises(PoolUnsupported, match="the package virtlayer-rbd"):
            await processes.of(images)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as closed:
            closed.bind(str(tmp_path / "socket"))
        with pytest.raises(PoolUnavailable, match=r"systemctl start virtlayer-rbd\.socket"):
            await processes.of(images)
