# SPDX-License-Identifier: LGPL-2.1-or-later
"""The process table of docs/security.md, compared with the processes of a pull into an RBD pool."""

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ceph import CephPool
from tests.support.faulty_registry import Fault, FaultyRegistry
from tests.support.images import file, image, layer
from tests.support.job_watch import JOB
from tests.support.libvirt_host import LibvirtHost, private_host, session_host
from tests.support.processes import has_ended
from tests.support.session_table import TABLE, compare, eventually, processes_of, session
from virtlayer.sizes import MIB

POOL = "table"
ROWS = (
    *("virtlayerd", "virtlayer-keeper", "virtlayer-rbd", "skopeo"),
    *("RBD image server", "layer worker"),
)

# Root's programs run as other users, which needs root; an ordinary user's are his own.
pytestmark = pytest.mark.root


@pytest.fixture(params=[private_host, session_host], ids=["root", "user"])
def libvirt(request: pytest.FixtureRequest, pool: CephPool) -> Iterator[LibvirtHost]:
    """A libvirtd of root's and one of an ordinary user's, with an RBD pool."""
    with request.param() as host:
        pool.define_in(host, POOL)
        yield host


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that all users can enter."""
    with tempfile.TemporaryDirectory(prefix="vl-") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


async def test_processes_of_a_pull(libvirt: LibvirtHost, place: Path) -> None:
    seed = random.Random(18)  # noqa: S311 -- no secret
    top = layer(file("top", seed.randbytes(2 * MIB)), compression="none")
    content = image([layer(file("base", b"base\n")), top])
    async with FaultyRegistry() as registry, session(libvirt, place) as (daemon, watch):
        source = registry.store(content, "table:1")
        registry.faults[content.layer_digests[-1]] = Fault.HANG_HALF_WAY
        job = await watch.pull(source, POOL)

        def check_all_run() -> None:
            assert set(processes_of(daemon)) == set(ROWS)

        await eventually(check_all_run)
        processes = processes_of(daemon)
        for name in ROWS:
            await compare(name, processes[name], libvirt, keeper=processes["virtlayer-keeper"])
        await watch.ask(job, JOB, "Cancel")
        await watch.finished(job)
        for name, pid in processes.items():
            ends_with_job = TABLE[name].lifetime in ("a job", "a source")
            assert has_ended(pid) == ends_with_job, name
        daemon.process.kill()

        def check_all_ended() -> None:
            assert all(map(has_ended, processes.values()))

        await eventually(check_all_ended)
