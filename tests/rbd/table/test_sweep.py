# SPDX-License-Identifier: LGPL-2.1-or-later
"""The removal of what dead jobs left in an RBD pool."""

from typing import Any

from tests.rbd.table.conftest import MakeHost
from tests.support.rbd_host_process import made_claim, taken_lock
from virtlayer.protocol.rbd_names import unfinished_name
from virtlayer.rbd import keys
from virtlayer.rbd.binding import rbd
from virtlayer.rbd.process_entry import ProcessEntry
from virtlayer.rbd.sweep import sweep
from virtlayer.rbd.table import PoolTable

DEAD = "d" * 32
ANOTHER = "e" * 32


def create(images: Any, name: str, parent: str | None = None) -> str:
    if parent is None:
        rbd.RBD().create(images, name, 2**20)
        return name
    with rbd.Image(images, parent) as image:
        image.create_snap("virtlayer")
    rbd.RBD().clone(images, parent, "virtlayer", images, name, clone_format=2)
    return name


def test_nothing_is_made_in_an_unused_pool(
    table: PoolTable, images: Any, new_host: MakeHost
) -> None:
    assert sweep(new_host(), images) == 0
    assert not table.is_used()


def test_images_of_dead_claims_are_removed(images: Any, new_host: MakeHost) -> None:
    claim = made_claim(new_host(), [])
    kept = {
        create(images, unfinished_name(claim.name, "1")),
        create(images, "layer"),
        create(images, "virtlayer-unfinished-x"),
    }
    # The name of a parent may come first, or last.
    middle = create(images, unfinished_name(DEAD, "2"), create(images, unfinished_name(DEAD, "1")))
    create(images, unfinished_name(DEAD, "0"), middle)
    create(images, unfinished_name(ANOTHER, "1"))
    assert sweep(new_host(), images) == 2
    assert set(rbd.RBD().list(images)) == kept
    assert sweep(new_host(), images) == 0
    claim.end()
    assert sweep(new_host(), images) == 1


def test_image_in_use_is_removed_later(images: Any, new_host: MakeHost) -> None:
    used = create(images, unfinished_name(DEAD, "1"))
    parent = create(images, unfinished_name(ANOTHER, "1"))
    child = create(images, "child", parent)
    with rbd.Image(images, used):
        assert sweep(new_host(), images) == 0
        with rbd.Image(images, parent) as image:
            assert [snapshot["name"] for snapshot in image.list_snaps()] == ["virtlayer"]
        rbd.RBD().remove(images, child)
        assert sweep(new_host(), images) == 1
    assert sweep(new_host(), images) == 1
    assert rbd.RBD().list(images) == []


def test_image_with_a_snapshot_of_another_program_stays(images: Any, new_host: MakeHost) -> None:
    name = create(images, unfinished_name(DEAD, "1"))
    with rbd.Image(images, name) as image:
        image.create_snap("backup")
    assert sweep(new_host(), images) == 0
    with rbd.Image(images, name) as image:
        assert [snapshot["name"] for snapshot in image.list_snaps()] == ["backup"]
        image.remove_snap("backup")
    assert sweep(new_host(), images) == 1


def test_image_that_another_host_deletes_stays(images: Any, new_host: MakeHost) -> None:
    lock = taken_lock(new_host())
    create(images, unfinished_name(lock.name, "deleted-1"))
    assert sweep(new_host(), images) == 0
    lock.release()
    assert sweep(new_host(), images) == 1


def test_leases_and_entries_of_dead_processes_are_removed(
    table: PoolTable, images: Any, new_host: MakeHost
) -> None:
    here = new_host()
    claim = made_claim(here, [])
    mine = {key for key, _ in table.scan("")}
    table.ioctx.lock_exclusive(f"leases-{DEAD[0]}", DEAD, "", "")
    table.ioctx.unlock(f"leases-{DEAD[0]}", DEAD, "")
    assert here.lease.locks.processes() == {here.lease.process, DEAD}
    entry = ProcessEntry(("127.0.0.1:0/1",), "another", 1).encoded()
    held = f"{ANOTHER} {DEAD}".encode()
    table.change(
        {},
        {
            keys.process_key(ANOTHER): entry,
            f"{keys.claims_of(ANOTHER)}{DEAD} 1": b"x\n",
            keys.BUILDS + "x": held,
            keys.PLACINGS + "x": held,
            keys.LOCK: held,
        },
    )
    assert sweep(new_host(), images) == 1
    assert {key for key, _ in table.scan("")} == mine
    assert here.lease.locks.processes() == {here.lease.process}
    claim.end()
