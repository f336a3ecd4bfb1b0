# SPDX-License-Identifier: LGPL-2.1-or-later
"""The commands with more machines that boot; `make soak` runs it, because each takes seconds."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from dbus_next.signature import Variant

from tests.machines.command_user import command_user, made_box
from tests.support.command import started
from tests.support.job_watch import watching
from tests.support.libvirt_host import LibvirtHost
from tests.support.pool_user import PoolUser
from tests.support.registry import Registry


@pytest.fixture
def user(host: LibvirtHost, tmp_path: Path) -> Iterator[PoolUser]:
    with (
        Registry(tmp_path / "registry") as registry,
        command_user(host, registry, tmp_path) as running,
    ):
        yield running


async def test_wait_prints_the_status_of_a_machine_that_is_deleted_when_it_stops(
    user: PoolUser,
) -> None:
    async with watching(user.daemon.bus.address) as watch:
        await made_box(user, watch, ephemeral=Variant("b", True))
    assert await user.tell("ps", "-aq") == "box\n"
    assert await user.tell("start", "box") == "box\n"
    async with started("--user", "wait", "box", env=user.daemon.environment) as waiting:
        assert await user.tell("stop", "box") == "box\n"
        assert await waiting.communicate() == (b"7\n", b"")
    assert await user.tell("ps", "-a") == "No machines.\n"
