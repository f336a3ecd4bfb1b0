# SPDX-License-Identifier: LGPL-2.1-or-later
"""How long a call of librbd may take."""

import time
from collections.abc import Iterator

import pytest

from tests.support.ceph import CephPool
from virtlayer.protocol.rbd import Monitor, Open
from virtlayer.rbd import cluster
from virtlayer.rbd.cluster import Cluster
from virtlayer.rbd.failures import NoAnswer
from virtlayer.rbd.removal import PROGRESS


@pytest.fixture
def opened(pool: CephPool, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    monkeypatch.setattr(cluster, "_STALLED_SECONDS", 1.0)
    request = Open(pool=pool.name, user=pool.user, monitors=(Monitor("127.0.0.1", pool.port),))
    opened = Cluster.opened(request, pool.key)
    yield opened
    opened.images.close()
    opened.connection.shutdown()


def _work(seconds: float, parts: int) -> str:
    for _ in range(parts):
        time.sleep(seconds / parts)
        PROGRESS.made()
    return "done"


async def test_call_may_take_long_while_it_makes_progress(opened: Cluster) -> None:
    assert await opened.run(_work, 2.5, 50) == "done"
    with pytest.raises(NoAnswer):
        await opened.run(_work, 2.5, 1)
