# SPDX-License-Identifier: LGPL-2.1-or-later
"""Terminals and logs of machines that boot; `make soak` runs it, because each takes seconds."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from dbus_next.signature import Variant

from tests.machines.command_user import command_user, made_box
from tests.support.command import started, virtlayer_on_terminal
from tests.support.job_watch import watching
from tests.support.leftovers import children_of, is_keeper
from tests.support.libvirt_host import LibvirtHost
from tests.support.pool_user import PoolUser
from tests.support.registry import Registry
from tests.support.virtlayerd import Daemon
from tests.support.waiting import PATIENCE, until


@pytest.fixture
def user(host: LibvirtHost, tmp_path: Path) -> Iterator[PoolUser]:
    with (
        Registry(tmp_path / "registry") as registry,
        command_user(host, registry, tmp_path) as running,
    ):
        yield running
        with contextlib.suppress(AssertionError):
            host.virsh("destroy", "box")
        host.virsh("undefine", "box")


async def make_and_start(user: PoolUser, **options: Variant) -> None:
    async with watching(user.daemon.bus.address) as watch:
        await made_box(user, watch, **options)
    assert await user.tell("start", "box") == "box\n"


async def test_shell_on_a_terminal(user: PoolUser) -> None:
    env = user.daemon.environment
    await make_and_start(
        user, command=Variant("as", ["-i"]), tty=Variant("b", True), interactive=Variant("b", True)
    )
    left = await virtlayer_on_terminal(
        "--user",
        "console",
        "box",
        env=env,
        answers=[
            ("to leave", "echo fir''st; stty size || busybox stty size"),
            ("first", ""),
            ("30 100", "\x1d"),
        ],
    )
    assert left.status == 0
    assert "The machine continues" in left.stdout
    ended = await virtlayer_on_terminal(
        "--user", "console", "box", env=env, answers=[("to leave", "exit 3")]
    )
    assert (ended.status, ended.stdout.splitlines()[-1]) == (0, "The machine has stopped.")
    assert "30 100" in await user.tell("logs", "box")
    assert await user.tell("wait", "box") == "3\n"


async def test_killed_keeper_ends_no_stream_of_output(user: PoolUser) -> None:
    env = user.daemon.environment
    await make_and_start(
        user, command=Variant("as", ["-i"]), tty=Variant("b", True), interactive=Variant("b", True)
    )
    [keeper] = [pid for pid in children_of(user.daemon.process.pid) if is_keeper(pid)]
    async with started("--user", "logs", "-f", "box", env=env) as following:
        await _is_read(user.daemon)
        os.kill(keeper, signal.SIGKILL)
        # The log is open, and the next call starts another keeper.
        shown = await virtlayer_on_terminal(
            "--user", "console", "box", env=env, answers=[("to leave", "echo again; exit 4")]
        )
        assert shown.status == 0
        printed, errors = await following.communicate()
    assert (following.returncode, errors) == (0, b"")
    assert b"again" in printed


async def test_killed_service_is_reported(user: PoolUser) -> None:
    await make_and_start(user, command=Variant("as", ["-c", "echo ready; sleep 999"]))
    async with started("--user", "logs", "-f", "box", env=user.daemon.environment) as following:
        assert following.stdout is not None
        async with asyncio.timeout(PATIENCE):
            assert await following.stdout.readline() == b"ready\n"
        user.daemon.process.kill()
        _, errors = await following.communicate()
    assert following.returncode == 5
    assert b"virtlayerd has stopped" in errors


async def _is_read(daemon: Daemon) -> None:
    """Wait until a log is open in the service."""
    await until(lambda: any("virtlayer-" in target for target in _targets(daemon.process.pid)))


def _targets(pid: int) -> list[str]:
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(str(entry.readlink()))
    return found
