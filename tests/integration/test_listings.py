# SPDX-License-Identifier: LGPL-2.1-or-later
"""Lists for all users: the pools of libvirt, and the contents of one of them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from dbus_next.signature import Variant

from tests.support.libvirt_host import LibvirtHost
from tests.support.shared_pool import SharedPool, rules_for, shared_pool

pytestmark = pytest.mark.root


@pytest.fixture
async def shared(host: LibvirtHost, tmp_path: Path) -> AsyncIterator[SharedPool]:
    """Games may do nothing."""
    rules = rules_for("news", "pull", "remove", "read-details")
    async with shared_pool(host, tmp_path, rules) as pool:
        yield pool


async def test_pools_are_listed_with_kind_state_and_space(shared: SharedPool) -> None:
    rows = {row[0]: row for row in await shared.games.ask("ListPools")}
    name, kind, state, capacity, available = rows[shared.pool]
    assert (name, kind, state) == (shared.pool, "dir", "running")
    assert 0 < available <= capacity
    shared.host.virsh("pool-destroy", shared.pool)
    rows = {row[0]: row for row in await shared.games.ask("ListPools")}
    assert rows[shared.pool] == [shared.pool, "dir", "inactive", 0, 0]
    shared.host.virsh("pool-start", shared.pool)


async def test_images_of_an_unknown_pool_are_an_error(shared: SharedPool) -> None:
    error, text = await shared.games.refused("ListImages", "s", "nowhere")
    assert (error, '"nowhere"' in text) == ("PoolNotFound", True)
    assert await shared.games.ask("ListImages", "s", shared.pool) == []
    assert await shared.games.ask("ListImages", "s", "") == []


async def test_images_of_an_inactive_pool_are_an_error_unless_they_are_known(
    shared: SharedPool,
) -> None:
    shared.host.virsh("pool-destroy", shared.pool)
    error, text = await shared.games.refused("ListImages", "s", shared.pool)
    assert (error, "pool-start" in text) == ("PoolInactive", True)
    shared.host.virsh("pool-start", shared.pool)
    await shared.pull(shared.news, shared.store("one:1", "one"), name=Variant("s", "one"))
    shared.host.virsh("pool-destroy", shared.pool)
    [row] = await shared.games.ask("ListImages", "s", shared.pool)
    assert row[1:3] == [shared.pool, "one"]
    shared.host.virsh("pool-start", shared.pool)
