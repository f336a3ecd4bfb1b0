# SPDX-License-Identifier: LGPL-2.1-or-later
"""The process table of docs/security.md, compared with the processes of a pull into an RBD pool."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ceph import CephPool
from tests.support.libvirt_host import LibvirtHost, private_host, session_host
from tests.support.session_table import compare_pull

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
    await compare_pull(libvirt, place, POOL, ROWS)
