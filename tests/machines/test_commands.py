# SPDX-License-Identifier: LGPL-2.1-or-later
"""The commands that list and control machines, with machines that are paused or off."""

import asyncio
import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from dbus_next.message import Message

from tests.machines.command_user import command_user, made_box
from tests.support.bus_daemon import Bus, session_bus
from tests.support.command import started
from tests.support.defined_machines import METADATA, defined_machine
from tests.support.job_watch import ROOT, watching
from tests.support.libvirt_host import LibvirtHost
from tests.support.pool_user import PoolUser, some_image
from tests.support.registry import Registry
from tests.support.soak import in_soak
from tests.support.virtlayerd import PROGRAM
from tests.support.waiting import PATIENCE
from virtlayer.client.keys import KEYS
from virtlayer.dbus.connection import Connection


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with Registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def user(host: LibvirtHost, registry: Registry, tmp_path: Path) -> Iterator[PoolUser]:
    with command_user(host, registry, tmp_path) as running:
        yield running


@pytest.fixture
async def names(user: PoolUser) -> list[str]:
    """Two volumes for machines that are called web and old."""
    await user.pull(some_image("base"), "demo")
    for name in ("web", "old"):
        await user.run("create-volume", "demo", f"{name}.qcow2", user.pool)
    return ["web", "old"]


@pytest.fixture
def machines(user: PoolUser, names: list[str]) -> Iterator[list[str]]:
    """The machines: web is paused, old is off."""
    pool = user.host.virsh("pool-uuid", user.pool).strip()
    web, old = (
        defined_machine(
            user.host,
            name,
            user.path / f"{name}.qcow2",
            metadata=METADATA.format(
                image="demo", digest="sha256:" + "d" * 64, pool=pool, volume=f"{name}.qcow2"
            ),
        )
        for name in names
    )
    with web, old:
        user.host.virsh("start", "web", "--paused")
        yield names


@pytest.mark.usefixtures("machines")
async def test_ps_lists_running_machines_or_all(user: PoolUser) -> None:
    assert await user.tell("ps", "-q") == "web\n"
    assert await user.tell("ps", "-aq") == "old\nweb\n"
    [header, line] = (await user.tell("ps")).splitlines()
    assert header.split() == ["NAME", "IMAGE", "STATE", "EXIT", "ADDRESSES", "PORTS", "POOL"]
    assert line.split() == ["web", "demo", "paused", "-", "-", "-", user.pool]
    told = await user.tell("ps", "-a", "--format", "{{.name}} {{.state}} {{.type}}")
    assert told == "old stopped qemu\nweb paused qemu\n"
    rows = await user.run("ps", "--all", "--filter", "name=old")
    assert [set(row) <= set(KEYS) for row in rows] == [True]
    assert rows[0]["exit_status"] is None
    assert rows[0]["memory"] == 64 * 2**20


async def test_ps_without_machines(user: PoolUser) -> None:
    assert await user.tell("ps") == "No machines.\n"
    assert await user.run("ps", "-a") == []


@pytest.mark.usefixtures("machines")
async def test_stop_prints_names_as_podman_does(user: PoolUser) -> None:
    assert await user.tell("stop", "--time", "0", "web", "old") == "web\nold\n"
    assert await user.tell("ps", "-q") == ""
    stopped = await user.run("stop", "web")
    assert stopped == [{"name": "web", "forced": False}]


@pytest.mark.usefixtures("machines")
async def test_rm_refuses_a_machine_that_runs(user: PoolUser) -> None:
    ended = await user.fail("rm", "web", "old")
    assert (ended.status, ended.stdout) == (7, "old\n")
    assert ended.stderr == (
        'virtlayer: The machine "web" is paused. Stop it first, or remove it with --force.\n'
    )
    assert await user.tell("ps", "-aq") == "web\n"
    removed = await user.run("rm", "-f", "web")
    assert [one["name"] for one in removed] == ["web"]
    assert await user.tell("ps", "-a") == "No machines.\n"


@pytest.mark.usefixtures("machines")
async def test_wait_ends_when_the_machine_has_stopped(user: PoolUser) -> None:
    async with started("--user", "wait", "web", "old", env=user.daemon.environment) as waiting:
        async with started("--user", "--json", "wait", "old", env=user.daemon.environment) as other:
            output, _errors = await other.communicate()
            assert json.loads(output) == [{"name": "old", "exit_status": 0}]
        user.host.virsh("destroy", "web")
        output, errors = await waiting.communicate()
        assert (waiting.returncode, output, errors) == (0, b"0\n0\n", b"")


async def test_wait_reports_a_machine_whose_program_was_killed(
    user: PoolUser, names: list[str]
) -> None:
    pool = user.host.virsh("pool-uuid", user.pool).strip()
    metadata = METADATA.format(image="demo", digest="", pool=pool, volume="web.qcow2")
    metadata = metadata.replace('streams="no"', 'streams="yes"')
    disk = user.path / "web.qcow2"
    with defined_machine(user.host, names[0], disk, metadata=metadata):
        user.host.virsh("start", names[0], "--paused")
        user.host.virsh("destroy", names[0])
        assert await user.tell("wait", names[0]) == "125\n"


async def test_wait_outlives_a_service_that_exits_when_idle(
    user: PoolUser, machines: list[str], tmp_path: Path
) -> None:
    directory = tmp_path / "activated"
    directory.mkdir()
    services = directory / "services"
    services.mkdir()
    config = directory / "virtlayerd.toml"
    config.write_text("[service]\nidle-timeout = 1\n[jobs]\nkeep-seconds = 0\n")
    environment = user.daemon.environment | {"XDG_STATE_HOME": str(directory)}
    variables = [f"{name}={value}" for name, value in environment.items()]
    command = user.host.as_owner(
        *("env", *variables[:-1], str(PROGRAM), "--session", "--connect", user.host.uri),
        *("--config", str(config), "--exit-when-idle"),
    )
    (services / "org.virtlayer1.service").write_text(
        f"[D-BUS Service]\nName=org.virtlayer1\nExec=/usr/bin/env {shlex.join(command)}\n"
    )
    with session_bus(directory, services=services) as bus:
        environment["DBUS_SESSION_BUS_ADDRESS"] = bus.address
        async with started("--user", "wait", machines[0], env=environment) as waiting:
            await exits_of_the_service(bus, 2)
            user.host.virsh("destroy", machines[0])
            output, errors = await waiting.communicate()
            assert (waiting.returncode, output, errors) == (0, b"0\n", b"")
        await exits_of_the_service(bus, 1)


async def exits_of_the_service(bus: Bus, number: int) -> None:
    """Wait until the service has exited so many times."""
    exits = asyncio.Semaphore(0)

    def note(message: Message) -> None:
        if message.member == "NameOwnerChanged" and not message.body[2]:
            exits.release()

    async with await Connection.opened(session=True, address=bus.address) as connection:
        connection.on_signal = note
        rule = "type='signal',member='NameOwnerChanged',arg0='org.virtlayer1'"
        name = "org.freedesktop.DBus"
        await connection.ask(name, "/org/freedesktop/DBus", name, "AddMatch", "s", [rule])
        async with asyncio.timeout(PATIENCE):
            for _ in range(number):
                await exits.acquire()


@pytest.mark.usefixtures("machines")
async def test_each_missing_machine_is_reported(user: PoolUser) -> None:
    for command in (["start"], ["stop"], ["rm"], ["wait"]):
        ended = await user.fail(*command, "none", "nothing")
        assert ended.status == 3
        assert [
            name in line
            for name, line in zip(("none", "nothing"), ended.stderr.splitlines(), strict=True)
        ] == [True, True]
    ended = await user.fail("--json", "start", "none")
    assert json.loads(ended.stdout) == []
    assert json.loads(ended.stderr.splitlines()[-1])["error"] == "DomainNotFound"


@in_soak
async def test_machine_of_an_image_boots_and_ends_with_the_status_of_its_program(
    user: PoolUser,
) -> None:
    async with watching(user.daemon.bus.address) as watch:
        result = await made_box(user, watch)
        assert (result["name"], result["image"], result["type"]) == ("box", "box:1", "qemu")
        assert not result["started"]
        assert await user.tell("ps", "-q") == ""
        assert await user.tell("start", "box") == "box\n"
        [row] = await user.run("ps")
        assert (row["state"], row["exit_status"], row["boot"]) == ("running", None, "own-initrd")
        async with started("--user", "wait", "box", env=user.daemon.environment) as waiting:
            assert await user.run("stop", "box") == [{"name": "box", "forced": False}]
            assert await waiting.communicate() == (b"7\n", b"")
        [row] = await user.run("ps", "-a")
        assert (row["state"], row["exit_status"]) == ("stopped", 7)
        states = [told.body[1] for told in watch.of(ROOT, "DomainChanged")]
        assert (states[0], "running" in states, states[-1]) == ("stopped", True, "stopped")
    [removed] = await user.run("rm", "box")
    assert removed["deleted_volumes"] == ["box.qcow2"]
