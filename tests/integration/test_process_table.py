# SPDX-License-Identifier: LGPL-2.1-or-later
"""The process table of docs/security.md, compared with the processes of a session row by row.

The session is root's, whose programs have the users of the system, and an ordinary user's. Rows of
the system that need its units are compared in tests/acceptance/test_process_table.py, and those of
RBD pools in tests/rbd/test_process_table.py.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.leftovers import children_of
from tests.support.libvirt_host import LibvirtHost, private_host, session_host
from tests.support.pool_user import DOMAIN
from tests.support.session_table import (
    compare,
    compare_pull,
)
from tests.support.stalled_files import stalled_files
from tests.support.waiting import PATIENCE, eventually, stop
from virtlayer.cancellation import meanwhile
from virtlayer.protocol.calls import Purpose
from virtlayer.protocol.customization import Customization
from virtlayer.protocol.pools import Pool
from virtlayer.protocol.programs import STAGED_OVERLAY, Kind, StartProgram
from virtlayer.service.keeper.connection import Connect
from virtlayer.service.keeper.keeper import Keeper
from virtlayer.service.keeper.staging import Staging
from virtlayer.sizes import MIB

POOL = "table"
ROWS_OF_A_PULL = (
    *("virtlayerd", "virtlayer-keeper", "skopeo", "qemu-storage-daemon"),
    "layer worker",
)

# Root's programs run as other users, which needs root; an ordinary user's are his own.
pytestmark = pytest.mark.root


@pytest.fixture(params=[private_host, session_host], ids=["root", "user"])
def libvirt(request: pytest.FixtureRequest) -> Iterator[LibvirtHost]:
    """A libvirtd of root's and one of an ordinary user's, with a pool."""
    with request.param() as host:
        host.start_pool(POOL)
        yield host


# ---- a pull ----


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that all users can enter."""
    with tempfile.TemporaryDirectory(prefix="vl-") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


async def test_processes_of_a_pull(libvirt: LibvirtHost, place: Path) -> None:
    await compare_pull(libvirt, place, POOL, ROWS_OF_A_PULL)


# ---- programs that a keeper starts ----


@dataclass(frozen=True, slots=True)
class Kept:
    """A keeper whose programs are compared with their rows.

    Attributes:
        keeper: The keeper.
        pid: Its process.
        host: Its libvirtd.
        pool: A pool.
    """

    keeper: Keeper
    pid: int
    host: LibvirtHost
    pool: Pool

    @contextlib.asynccontextmanager
    async def staging(self, purpose: Purpose) -> AsyncIterator[Staging]:
        """A staging directory in the pool."""
        async with (
            self.keeper.claims.claimed(self.pool, []) as claim,
            self.keeper.staging(claim, purpose) as staging,
        ):
            yield staging

    async def compare(self, name: str, pid: int, *, working: bool = False) -> None:
        """Compare a program with its row."""
        await compare(name, pid, self.host, keeper=self.pid, working=working)


@pytest.fixture
async def kept(libvirt: LibvirtHost) -> AsyncIterator[Kept]:
    """A keeper of root's, and one of an ordinary user's."""
    started: list[int] = []
    with tempfile.TemporaryDirectory(prefix="run") as runtime:
        keeper = Keeper(keeper_of(libvirt, started), Path(runtime))
        try:
            pool = await keeper.pools.get(POOL)
            yield Kept(keeper, started[0], libvirt, pool)
        finally:
            await keeper.close()


def worker(kind: Kind) -> StartProgram:
    """A request to start a worker."""
    return StartProgram(kind=kind, memory=1024 * MIB, cpu_seconds=600)


@pytest.mark.parametrize("kind", [Kind.CUSTOMIZER, Kind.IDENTITY_CUSTOMIZER])
async def test_customizer(kept: Kept, kind: Kind) -> None:
    with sockets(socket.SOCK_SEQPACKET) as (control, passed):
        async with kept.keeper.programs.running(worker(kind), [passed]) as program:
            await kept.compare("customizer", program.pid)
            with sockets(socket.SOCK_STREAM) as (_, device):
                ask(control, {"customization": Customization().message()}, [device])
                # It waits for the greeting of an NBD server.
                await kept.compare("customizer", program.pid, working=True)


async def test_unpacker(kept: Kept, tmp_path: Path) -> None:
    blob = tmp_path / "blob"
    blob.write_bytes(bytes(MIB))
    with sockets(socket.SOCK_SEQPACKET) as (control, passed), pipe() as output:
        async with kept.keeper.programs.running(worker(Kind.UNPACKER), [passed]) as program:
            await kept.compare("unpacker", program.pid)
            with blob.open("rb") as opened:
                ask(control, {}, [opened.fileno(), output])
            # It waits until somebody reads from the pipe.
            await kept.compare("unpacker", program.pid, working=True)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("directory worker", Kind.DIRECTORY_WORKER),
        ("directory customizer", Kind.DIRECTORY_CUSTOMIZER),
    ],
)
async def test_workers_that_write_a_directory(kept: Kept, name: str, kind: Kind) -> None:
    async with kept.staging(Purpose.CONTAINED_DIRECTORY) as staging:
        with sockets(socket.SOCK_SEQPACKET) as (_, passed):
            async with staging.running(worker(kind), [passed]) as program:
                await kept.compare(name, program.pid)


async def test_programs_for_a_disk(kept: Kept) -> None:
    async with kept.staging(Purpose.DISK) as staging:
        with sockets(socket.SOCK_SEQPACKET) as (_, passed):
            async with staging.running(worker(Kind.DISK_WORKER), [passed]) as program:
                await kept.compare("disk worker", program.pid)
        with pipe(full=True) as output:
            inspector = StartProgram(kind=Kind.DISK_INSPECTOR)
            async with staging.running(inspector, [output]) as program:
                # It waits until somebody reads from the pipe.
                await is_running("/usr/bin/qemu-img", program.pid)
                await kept.compare("qemu-img info", program.pid)


async def test_workers_for_boot_files(kept: Kept, tmp_path: Path) -> None:
    async with kept.staging(Purpose.BOOT) as staging:
        with sockets(socket.SOCK_SEQPACKET) as (control, passed):
            async with staging.running(worker(Kind.KERNEL_WORKER), [passed]) as program:
                await kept.compare("kernel worker", program.pid)
                with sockets(socket.SOCK_STREAM) as (_, device):
                    ask(control, {"ask": "survey"}, [device])
                    # It waits for the greeting of an NBD server.
                    await kept.compare("kernel worker", program.pid, working=True)
        with sockets(socket.SOCK_SEQPACKET) as (_, passed), (tmp_path / "kernel").open("xb"):
            kernel = os.open(tmp_path / "kernel", os.O_RDONLY)
            modules = os.open(tmp_path, os.O_RDONLY)
            files = [passed, kernel, modules]
            async with staging.running(worker(Kind.HOST_KERNEL_WORKER), files) as program:
                await kept.compare("host kernel worker", program.pid)
            os.close(kernel)
            os.close(modules)


async def test_program_that_makes_an_overlay(kept: Kept) -> None:
    compared = False
    while not compared:
        async with (
            kept.staging(Purpose.VOLUME) as staging,
            meanwhile(
                staging.create_overlay(STAGED_OVERLAY, MIB, f"layer-{'0' * 64}.qcow2")
            ) as creating,
        ):
            # It runs for milliseconds. An attempt that stops it too late is repeated.
            while not creating.done() and not compared:
                await asyncio.sleep(0)
                for program in filter(is_qemu_img, children_of(kept.pid)):
                    if is_stopped_as("qemu-img", program):
                        await kept.compare("qemu-img create", program)
                        compared = True


async def test_reader_of_image_headers(kept: Kept, place: Path) -> None:
    with stalled_files(place) as stalled:
        description = kept.host.directory / "domain.xml"
        description.write_text(DOMAIN.format(name="stalled", disk=stalled.file))
        kept.host.virsh("define", str(description))
        using = asyncio.create_task(kept.keeper.pools.usage(kept.pool, []))
        # It waits for the content of the domain's disk.
        assert await asyncio.to_thread(stalled.asked.wait, PATIENCE)
        [reader] = children_of(kept.pid)
        await kept.compare("header reader", reader, working=True)
        using.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await using


def keeper_of(host: LibvirtHost, started: list[int]) -> Connect:
    """A keeper that runs as the owner of a libvirtd, as the service of a session starts it."""

    @contextlib.asynccontextmanager
    async def connect() -> AsyncIterator[socket.socket]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        arguments = ("-I", "-m", "virtlayer.keeper", "--connect", host.uri)
        command = host.as_owner(sys.executable, *arguments)
        with ours, theirs, subprocess.Popen(command, stdin=theirs.fileno()) as process:
            started.append(process.pid)
            theirs.close()
            yield ours
            ours.close()

    return connect


@contextlib.contextmanager
def sockets(kind: int) -> Iterator[tuple[socket.socket, int]]:
    """A pair of sockets: one, and the descriptor of the other."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
    with ours, theirs:
        yield ours, theirs.fileno()


@contextlib.contextmanager
def pipe(*, full: bool = False) -> Iterator[int]:
    """The writing end of a pipe that nobody reads; full if asked for."""
    reading, writing = os.pipe()
    try:
        if full:
            os.write(writing, bytes(fcntl.fcntl(writing, fcntl.F_GETPIPE_SZ)))
        yield writing
    finally:
        os.close(reading)
        os.close(writing)


def ask(control: socket.socket, request: object, descriptors: Sequence[int]) -> None:
    """Send a request to a worker."""
    socket.send_fds(control, [json.dumps(request).encode()], descriptors)


async def is_running(program: str, pid: int) -> None:
    """Wait until a process has become a program."""

    def check() -> None:
        assert Path(f"/proc/{pid}/exe").readlink() == Path(program)

    await eventually(check)


def is_qemu_img(pid: int) -> bool:
    """Whether a process is a qemu-img by now."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/exe").readlink().name == "qemu-img"
    return False


def is_stopped_as(program: str, pid: int) -> bool:
    """Stop a process; tell whether it is that program and has not ended."""
    try:
        stop(pid)
        return Path(f"/proc/{pid}/exe").readlink().name == program
    except OSError:
        return False
