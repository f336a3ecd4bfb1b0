# SPDX-License-Identifier: LGPL-2.1-or-later
"""Machines of other users on the system bus: what is seen of them, and who may control them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from dbus_next.signature import Variant

from tests.bus.users import User
from tests.support.defined_machines import METADATA, defined_machine
from tests.support.job_watch import plain
from tests.support.libvirt_host import LibvirtHost
from tests.support.shared_pool import SharedPool, rules_for, shared_pool
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.root
DEMO = {"name": Variant("s", "demo")}


@pytest.fixture
async def shared(host: LibvirtHost, tmp_path: Path) -> AsyncIterator[SharedPool]:
    """Games may only look; news may do everything."""
    actions = ("pull", "create-volume", "manage-domain", "remove-domain", "read-details")
    async with shared_pool(host, tmp_path, rules_for("news", *actions)) as pool:
        yield pool


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine of an image of the user news.

    Attributes:
        name: Its name.
        uuid: Its UUID.
        digest: The digest of its image.
    """

    name: str
    uuid: str
    digest: str


@contextlib.contextmanager
def machine_of(shared: SharedPool, name: str, pulled: dict[str, Any]) -> Iterator[Machine]:
    """A machine with a volume that CreateVolume has made."""
    metadata = METADATA.format(
        image="demo",
        digest=pulled["digest"],
        pool=shared.host.virsh("pool-uuid", shared.pool).strip(),
        volume="web.qcow2",
    )
    disk = shared.path / "web.qcow2"
    with defined_machine(shared.host, name, disk, metadata=metadata) as uuid:
        yield Machine(name, uuid, pulled["digest"])


@pytest.fixture
async def web(shared: SharedPool) -> AsyncIterator[Machine]:
    """A stopped machine."""
    pulled = await shared.pull(shared.news, shared.store("demo:1", "base"), **DEMO)
    create = ("CreateVolume", "sssa{sv}", shared.pool, "demo", "web.qcow2")
    await shared.done(shared.news, *create, {})
    with machine_of(shared, "web", pulled) as machine:
        yield machine


async def states(who: User, name: str) -> list[str]:
    """The states of a machine that were signalled."""
    await who.ask("ListDomains")
    return [
        one.body[1] for one in who.signals if one.member == "DomainChanged" and one.body[0] == name
    ]


async def until(who: User, name: str, state: str) -> None:
    """Wait until a state of a machine is signalled."""
    async with asyncio.timeout(PATIENCE):
        while state not in await states(who, name):
            await asyncio.sleep(0.02)


async def failure(
    shared: SharedPool, member: str, name: str, **options: Variant
) -> tuple[str, str]:
    """Run a job about a machine that fails; return the error and its message."""
    job = await shared.run(shared.news, member, "sa{sv}", name, options)
    assert job["State"] == "failed", job
    return str(job["Error"]).rpartition(".")[2], str(job["Message"])


async def test_all_users_see_states_and_the_owner_sees_details(
    shared: SharedPool, web: Machine
) -> None:
    row = [web.name, web.uuid, "stopped", shared.pool, "demo"]
    for who in (shared.games, shared.news):
        assert await who.ask("ListDomains") == [row]
    details = plain(await shared.news.ask("DescribeDomain", "s", "web"))
    assert details == {
        "name": "web",
        "uuid": web.uuid,
        "state": "stopped",
        "pool": shared.pool,
        "image": "demo",
        "digest": web.digest,
        "volume": "web.qcow2",
        "type": "qemu",
        "boot": "own-initrd",
        "streams": False,
        "memory": 64 * 2**20,
        "vcpus": 1,
        "ephemeral": False,
        "autostart": False,
        "addresses": [],
        "ports": [],
    }
    seen = plain(await shared.games.ask("DescribeDomain", "s", "web"))
    assert seen == details | {"digest": ""}


async def test_changes_by_other_programs_are_signalled(shared: SharedPool, web: Machine) -> None:
    games = shared.games
    await games.listen()
    shared.host.virsh("start", "web", "--paused")
    await until(games, "web", "paused")
    shared.host.virsh("destroy", "web")
    await until(games, "web", "stopped")
    shared.host.virsh("undefine", "web")
    await until(games, "web", "removed")
    assert (await states(games, "web"))[-3:] == ["paused", "stopped", "removed"]
    assert web.name not in [row[0] for row in await games.ask("ListDomains")]


async def test_a_domain_of_another_program_is_not_found(shared: SharedPool, web: Machine) -> None:
    with defined_machine(shared.host, "other", shared.path / "web.qcow2"):
        assert [row[0] for row in await shared.news.ask("ListDomains")] == [web.name]
        error, text = await shared.news.refused("DescribeDomain", "s", "other")
        assert (error, '"other"' in text) == ("DomainNotFound", True)
        for member in ("StartDomain", "StopDomain", "RemoveDomain"):
            error, text = await failure(shared, member, "other")
            assert (error, '"other"' in text) == ("DomainNotFound", True)
        assert "other" in shared.host.virsh("list", "--all", "--name").split()


async def test_a_machine_that_runs_is_removed_only_by_force(
    shared: SharedPool, web: Machine
) -> None:
    shared.host.virsh("start", web.name, "--paused")
    error, text = await failure(shared, "RemoveDomain", "web")
    assert (error, "--force" in text) == ("InUse", True)
    force = {"force": Variant("b", True)}
    await shared.done(shared.news, "RemoveDomain", "sa{sv}", "web", force)
    assert await shared.news.ask("ListDomains") == []
    assert "web" not in shared.host.virsh("list", "--all", "--name").split()


async def test_a_machine_that_does_not_stop_is_stopped_by_force(
    shared: SharedPool, web: Machine
) -> None:
    shared.host.virsh("start", web.name, "--paused")
    at_once = {"timeout": Variant("u", 0)}
    for forced in (True, False):  # the second time, it does not run
        result = await shared.done(shared.news, "StopDomain", "sa{sv}", "web", at_once)
        assert result == {"forced": forced}
    [row] = await shared.news.ask("ListDomains")
    assert row[2] == "stopped"


async def test_a_user_without_the_rights_controls_no_machine(
    shared: SharedPool, web: Machine
) -> None:
    for member, action in (
        ("StartDomain", "manage-domain"),
        ("StopDomain", "manage-domain"),
        ("RemoveDomain", "remove-domain"),
    ):
        error, text = await shared.games.refused(member, "sa{sv}", web.name, {})
        assert (error, f"org.virtlayer1.{action}" in text) == ("NotAuthorized", True)
    kinds = {row[2] for row in await shared.news.ask("ListJobs")}
    assert kinds == {"pull", "create-volume"}
