# SPDX-License-Identifier: LGPL-2.1-or-later
"""Transient domains, events, and what a killed keeper leaves."""

import contextlib
import os
import random
import signal
import threading
from pathlib import Path

import pytest

from tests.keeper.conftest import TestPool
from tests.keeper.domains.requests import Machines, any_uuid, contents
from tests.keeper.requests import claim_of, delete
from tests.support.libvirt_host import LibvirtHost
from tests.support.machine_host import machine_host
from tests.support.raw_keeper import raw_keeper
from tests.support.soak import FACTOR
from tests.support.waiting import stop
from virtlayer.protocol.host_id import host_id


def test_transient_machine_is_paused_until_started_and_then_disappears(
    machines: Machines, host: LibvirtHost
) -> None:
    own = machines.made(b"a seed", name="brief", ephemeral=True, has_seed=True)
    [known] = machines.list()
    assert (known["state"], known["ephemeral"]) == ("created", True)
    assert machines.state(own, "start") == "running"
    host.virsh("suspend", "brief")
    assert machines.list()[0]["state"] == "paused"
    assert machines.state(own, "start") == "running"
    assert machines.control(own, "remove").error == "InUse"
    assert machines.state(own, "destroy") is None
    assert machines.list() == []
    assert machines.control(own, "start").error == "DomainNotFound"
    # Its files are there until it is removed.
    assert machines.own_files == {f"seed-{own}.iso"}
    assert machines.state(own, "remove") is None
    assert (machines.own_files, machines.notes) == (set(), set())


def test_list_waits_for_a_change(machines: Machines, host: LibvirtHost) -> None:
    machines.made(name="watched")
    done = machines.keeper.get("list-domains", since=None, name=None)
    timer = threading.Timer(0.1, lambda: host.virsh("undefine", "watched"))
    timer.start()
    answered = done
    while answered["domains"]:
        # libvirt's event about the definition can come after the first list.
        since = answered["generation"]
        answered = machines.keeper.get("list-domains", since=since, name=None)
        assert answered["generation"] != since
    timer.join()


def test_list_goes_on_after_a_restart_of_libvirtd() -> None:
    with machine_host() as host, raw_keeper(host.uri, inside=host.as_owner()) as keeper:
        path = host.start_pool("default")
        pool = TestPool("default", keeper.get("find-pool", name="default")["uuid"], path)
        Machines(host, keeper, pool).made(name="stays")
        done = keeper.get("list-domains", since=None, name=None)
        timer = threading.Timer(0.1, host.restart)
        timer.start()
        answered = keeper.get("list-domains", since=done["generation"], name=None)
        timer.join()
        assert answered["generation"] != done["generation"]
        assert [one["name"] for one in answered["domains"]] == ["stays"]


def test_snapshots_prevent_removal(machines: Machines, host: LibvirtHost) -> None:
    own = machines.made(name="kept")
    host.virsh("snapshot-create-as", "kept", "before")
    reply = machines.control(own, "remove")
    assert (reply.error, "snapshot" in reply.text) == ("InUse", True)
    host.virsh("snapshot-delete", "kept", "before")
    assert machines.state(own, "remove") is None


def test_volumes_of_a_domain_are_in_use(machines: Machines) -> None:
    disk, boot = machines.disk(), machines.boot_volumes()
    own = machines.made(
        b"config",
        disk=disk,
        boot="own-initrd",
        has_config=True,
        has_streams=True,
        **boot,
    )
    for name in (disk, boot["kernel"], boot["initrd"]):
        done = delete(machines.keeper, machines.pool, name)
        assert (done["names"], done["error"]) == ([], "InUse"), name
    machines.state(own, "remove")
    names = [disk, boot["kernel"], boot["initrd"]]
    assert delete(machines.keeper, machines.pool, *names)["names"] == names


def test_domain_of_another_pool_is_not_removed(machines: Machines, host: LibvirtHost) -> None:
    own = machines.made(name="elsewhere")
    host.start_pool("another")
    other = machines.keeper.get("find-pool", name="another")["uuid"]
    reply = machines.keeper.ask("control-domain", uuid=own, pool=other, action="remove")
    assert reply.error == "Internal"
    assert [one["name"] for one in machines.list()] == ["elsewhere"]
    host.stop_pool("another")


def test_machine_of_another_host_is_not_removed(machines: Machines, pool: TestPool) -> None:
    own = machines.made(b"a seed", name="elsewhere", has_seed=True, ephemeral=True)
    assert machines.state(own, "destroy") is None
    note = pool.path / ".virtlayer/domains" / own
    name = note.readlink().name
    note.unlink()
    note.symlink_to(f"{'0' * 32}\n\n{name}")
    reply = machines.control(own, "remove")
    assert (reply.error, "another host" in reply.text) == ("DomainNotFound", True), reply
    assert machines.own_files == {f"seed-{own}.iso"}


@pytest.mark.root
@pytest.mark.parametrize("name", ["../../precious", "taken"])
def test_only_logs_of_the_machine_itself_are_deleted(
    machines: Machines, host: LibvirtHost, pool: TestPool, name: str
) -> None:
    machines.made(name="taken")
    own = any_uuid()
    logs = Path(f"/proc/{host.pid}/root/var/log/libvirt/qemu")
    log = logs / f"{name}.log"
    log.write_text("of something else")
    notes = pool.path / ".virtlayer/domains"
    (notes / own).symlink_to(f"{host_id()}\n\n{name}")
    try:
        machines.control(own, "remove")
        assert log.read_text() == "of something else"
    finally:
        log.unlink(missing_ok=True)


def test_files_of_a_killed_definition_are_swept(machines: Machines, host: LibvirtHost) -> None:
    kept, lost, running = machines.made(b"1", has_seed=True), any_uuid(), any_uuid()
    notes = machines.pool.path / ".virtlayer" / "domains"
    for uuid in (lost, running):
        # As if the keeper had been killed before libvirt knew the domain.
        (notes / uuid).symlink_to((notes / kept).readlink())
        (machines.pool.path / f"config-{uuid}.raw").write_bytes(b"secret")
    foreign = any_uuid()
    (notes / foreign).symlink_to(f"{'0' * 32}\nfar")
    (machines.pool.path / f"config-{foreign}.raw").write_bytes(b"of another host")
    with raw_keeper(host.uri, inside=host.as_owner()) as other:
        other.get("find-pool", name=machines.pool.name)
        claim_of(other, machines.pool, f"config-{running}.raw")
        machines.keeper.get("sweep", pool=machines.pool.uuid)
        assert machines.own_files == {
            f"seed-{kept}.iso",
            f"config-{running}.raw",
            f"config-{foreign}.raw",
        }
        assert machines.notes == {kept, running, foreign}


@pytest.mark.parametrize("after", ["files", "definition"])
def test_killed_keeper_leaves_all_or_nothing(
    machines: Machines, host: LibvirtHost, after: str
) -> None:
    """The keeper is killed while libvirtd does not answer, or right after its answer."""
    own = any_uuid()
    request = machines.request(
        step="define", name="cut", uuid=own, disk=machines.volume(), has_seed=True
    )
    with raw_keeper(host.uri, inside=host.as_owner()) as killed:
        killed.get("find-pool", name=machines.pool.name)
        request["claim"] = claim_of(killed, machines.pool)
        if after == "files":
            stop(host.pid)
        try:
            with contents(b"a seed") as descriptors:
                killed.send({"id": 9, "ask": "define-domain", "with": request}, descriptors)
                if after == "definition":
                    killed.connection.recv(1 << 16)
            os.kill(killed.process.pid, signal.SIGKILL)
            killed.process.wait()
        finally:
            os.kill(host.pid, signal.SIGCONT)
    machines.keeper.get("sweep", pool=machines.pool.uuid)
    defined = [one["name"] for one in machines.list()] == ["cut"]
    assert defined == (after == "definition")
    assert machines.own_files == ({f"seed-{own}.iso"} if defined else set())
    assert bool(machines.notes) == defined


def test_keeper_killed_at_any_moment_leaves_all_or_nothing(
    machines: Machines, host: LibvirtHost
) -> None:
    moments = random.Random(1)  # noqa: S311 -- no secret
    disk = machines.disk()
    for number in range(4 * FACTOR):
        own = any_uuid()
        request = machines.request(
            step="define",
            name=f"cut-{number}",
            uuid=own,
            disk=disk,
            has_seed=True,
            ephemeral=bool(number % 2),
        )
        with raw_keeper(host.uri, inside=host.as_owner()) as killed, contents(b"seed") as files:
            killed.get("find-pool", name=machines.pool.name)
            request["claim"] = claim_of(killed, machines.pool)
            killed.send({"id": 9, "ask": "define-domain", "with": request}, files)
            # A definition takes 25 ms, an ephemeral machine is started in 400 ms.
            killed.connection.settimeout(moments.uniform(0.001, 0.5 if number % 2 else 0.03))
            with contextlib.suppress(TimeoutError):
                killed.connection.recv(1 << 16)
            os.kill(killed.process.pid, signal.SIGKILL)
            killed.process.wait()
        # libvirt finishes what it was asked for.
        host.virsh("list", "--all")
        machines.keeper.get("sweep", pool=machines.pool.uuid)
        found = [one["uuid"] for one in machines.list()]
        assert found in ([], [own])
        assert machines.own_files == {f"seed-{one}.iso" for one in found}
        assert machines.notes == set(found)
        machines.control(own, "destroy")
        assert machines.state(own, "remove") is None
        assert (machines.own_files, machines.notes) == (set(), set())
